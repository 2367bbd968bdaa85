"""Reports in files."""

from __future__ import annotations

from pathlib import Path

from ..errors import UsageError
from .private_files import check_report, replace_private
from .report_html import to_html
from .report_text import to_full_text
from .reports import Report, to_json, to_json_lines
from .wording import listed

FORMS = {
    "": to_full_text,
    ".txt": to_full_text,
    ".json": to_json,
    ".jsonl": to_json_lines,
    ".html": to_html,
    ".htm": to_html,
}


def check_form(path: Path) -> None:
    """Raise :exc:`UsageError` if a report's suffix names no format."""
    if path.suffix.lower() not in FORMS:
        known = listed(list(filter(None, FORMS))).replace(" and ", " or ")
        raise UsageError(f"--report {str(path)!r}: its suffix decides the format, and has to be {known}.")


def write_report(report: Report, path: Path) -> None:
    """Write the report to a file, in the format that its suffix names.

    Raises :exc:`migrator.errors.MigratorError` if the file cannot be written.
    """
    text = FORMS[path.suffix.lower()](report)
    check_report(path)
    replace_private(path, text if text.endswith("\n") else text + "\n")
