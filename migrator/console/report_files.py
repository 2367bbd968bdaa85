"""Reports in files."""

from __future__ import annotations

from pathlib import Path

from ..errors import UsageError
from .private_files import check_report, replace_private
from .provenance import Provenance
from .report_html import to_html
from .report_text import to_full_text
from .reports import Report, to_json, to_json_lines
from .wording import listed

FORMS = {
    "": to_full_text,
    ".txt": to_full_text,
    ".json": to_json,
    ".jsonl": to_json_lines,
}
PAGES = (".html", ".htm")


def check_form(path: Path) -> None:
    """Raise :exc:`UsageError` if a report's suffix names no format."""
    if path.suffix.lower() not in (*FORMS, *PAGES):
        known = listed([*filter(None, FORMS), *PAGES]).replace(" and ", " or ")
        raise UsageError(f"--report {str(path)!r}: its suffix decides the format, and has to be {known}.")


def write_report(report: Report, path: Path, provenance: Provenance | None = None) -> None:
    """Write the report to a file, in the format that its suffix names.

    Pages say who ran which command, too.

    Raises :exc:`migrator.errors.MigratorError` if the file cannot be written.
    """
    suffix = path.suffix.lower()
    text = to_html(report, provenance) if suffix in PAGES else FORMS[suffix](report)
    check_report(path)
    replace_private(path, text if text.endswith("\n") else text + "\n")
