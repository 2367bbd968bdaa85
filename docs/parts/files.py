"""Documents that lie elsewhere in the repository, and the table of versions."""

from __future__ import annotations

import re
from pathlib import Path

from tests.matrix.cells import read_cells, read_results
from tests.matrix.table import render

ROOT = Path(__file__).resolve().parent.parent.parent
# Where a document of the repository is a page: its path from `docs/reference/generated/`'s pages is absolute.
_PAGES = {
    "FAULTS.md": "/reference/faults.md",
    "CONTRIBUTING.md": "/contributing.md",
    "CHANGELOG.md": "/releases/changelog.md",
}
_TEST = re.compile(r"`([\w/]+\.py)::(test_\w+)`")


def document(name: str) -> str:
    """Return a document with its links turned into links to pages."""
    text = (ROOT / name).read_text(encoding="utf-8")
    for path, page in _PAGES.items():
        text = text.replace(f"]({path})", f"]({page})")
    return text.replace("](docs/", "](/")


def faults() -> str:
    """Return the table of faults; of each test only its name, because the tables are wide."""
    return _TEST.sub(lambda found: f"`{found[2]}`", document("FAULTS.md"))


def versions() -> str:
    """Return a table of the versions that the tests ran on."""
    return render(read_cells(), read_results())
