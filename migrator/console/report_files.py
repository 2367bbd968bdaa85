"""Reports in files."""

from __future__ import annotations

from pathlib import Path

from .private_files import check_report, replace_private
from .report_html import to_html
from .report_text import to_full_text
from .reports import Report, to_json, to_json_lines


def write_report(report: Report, path: Path) -> None:
    """Write the report to a file, in the format that its suffix names: ``.json``, ``.jsonl``, ``.html`` or text.

    Raises :exc:`migrator.errors.MigratorError` if the file cannot be written.
    """
    forms = {".json": to_json, ".jsonl": to_json_lines, ".html": to_html, ".htm": to_html}
    text = forms.get(path.suffix.lower(), to_full_text)(report)
    check_report(path)
    replace_private(path, text if text.endswith("\n") else text + "\n")
