"""The generated parts of the documentation: a name, and the function that returns its Markdown.

``docs/conf.py`` writes them into ``docs/reference/generated/`` before each build; pages include them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from tests.matrix.cells import read_cells, read_results
from tests.matrix.table import render

from .parts import commands

DOCS = Path(__file__).resolve().parent
GENERATED = DOCS / "reference" / "generated"

PARTS: Mapping[str, Callable[[], str]] = {
    **{command: partial(commands.options, command) for command in commands.COMMANDS},
    "versions": lambda: render(read_cells(), read_results()),
}


def write() -> None:
    """Write every part whose text has changed."""
    GENERATED.mkdir(exist_ok=True)
    for name, part in PARTS.items():
        path, text = GENERATED / f"{name}.md", part()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
