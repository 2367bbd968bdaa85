"""What a run has to say, as text, JSON or HTML. Knows no database and no store."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .files import check_report, replace_private
from .terminal import visible, visible_lines

Cell = str | int | float | None

STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem}"
    "table{border-collapse:collapse;margin:1rem 0}th,td{padding:.2rem .7rem;border-bottom:1px solid #ddd}"
    "th{text-align:left}td.number{text-align:right;font-variant-numeric:tabular-nums}"
    "tfoot td{font-weight:600}"
)


@dataclass(frozen=True)
class Grid:
    """A titled table. Numbers are aligned to the right, everything else to the left."""

    title: str
    headers: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    footer: tuple[Cell, ...] | None = None


@dataclass(frozen=True)
class Report:
    """What is told to people (``heading``, ``grids``, ``lines``) and to programs (``document``)."""

    heading: str
    grids: tuple[Grid, ...]
    lines: tuple[str, ...]
    document: Mapping[str, Any] = field(default_factory=dict)
    exit_code: int = 0
    # What was shown earlier on, and belongs into a file all the same.
    preface: Report | None = None


def cell_text(value: Cell) -> str:
    """Render one value for people: thousands grouped, seconds and ratios to one decimal."""
    if value is None:
        return "-"
    if isinstance(value, bool | str):
        return visible(str(value))
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def _is_numeric(grid: Grid, column: int) -> bool:
    values = [row[column] for row in grid.rows if row[column] is not None]
    return bool(values) and all(isinstance(value, int | float) for value in values)


def grid_text(grid: Grid) -> str:
    """Render a grid in aligned columns."""
    body: list[Sequence[Cell]] = [*grid.rows, *([grid.footer] if grid.footer else [])]
    texts = [[cell_text(value) for value in row] for row in body]
    widths = [max([len(head), *(len(row[i]) for row in texts)]) for i, head in enumerate(grid.headers)]
    right = [_is_numeric(grid, i) for i in range(len(grid.headers))]

    def line(cells: Sequence[str]) -> str:
        parts = (
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(cells, widths, right, strict=True)
        )
        return ("  " + "  ".join(parts)).rstrip()

    rule = "  " + "  ".join("-" * width for width in widths)
    lines = [visible(grid.title)] if grid.title else []
    lines += [line(grid.headers), rule, *(line(row) for row in texts[: len(grid.rows)])]
    if grid.footer:
        lines += [rule, line(texts[-1])]
    return "\n".join(lines)


def to_text(report: Report) -> str:
    """Render the report for a terminal."""
    blocks = [visible_lines(report.heading), *(grid_text(grid) for grid in report.grids)]
    if report.lines:
        blocks.append("\n".join(map(visible, report.lines)))
    return "\n\n".join(block for block in blocks if block)


def to_json(report: Report) -> str:
    """Render the report as one JSON document; times in it are ISO 8601 in UTC."""
    return _json({**report.document, "exit_code": report.exit_code}, indent=2)


def _json(value: Any, indent: int | None = None) -> str:
    """Write a value as JSON in ASCII without any control, also without DEL, which JSON leaves as it is."""
    return json.dumps(value, indent=indent, default=str).replace("\x7f", "\\u007f")


def to_json_lines(report: Report) -> str:
    """Render the report as JSON lines: one for each record of the document's lists, and the rest in the last one.

    ``part`` tells what a line is: the list's name, or ``summary``.
    """
    lists = {name: value for name, value in report.document.items() if isinstance(value, list)}
    lines: list[dict[str, Any]] = [{"part": name, **record} for name in lists for record in _records(lists[name])]
    rest = {name: value for name, value in report.document.items() if not _records(lists.get(name))}
    lines.append({"part": "summary", **rest, "exit_code": report.exit_code})
    return "\n".join(map(_json, lines))


def _records(value: Any) -> list[dict[str, Any]]:
    """Return a list of records as it is, and of anything else an empty one."""
    return value if isinstance(value, list) and all(isinstance(record, dict) for record in value) else []


def to_full_text(report: Report) -> str:
    """Render the report with its preface."""
    return "\n\n".join(to_text(part) for part in (report.preface, report) if part)


def to_html(report: Report) -> str:
    """Render the report, with its preface, as one HTML page that needs no other file."""
    title = html.escape(visible(report.heading.split("\n")[0]))
    parts = [part for shown in (report.preface, report) if shown for part in _html_parts(shown)]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _html_parts(report: Report) -> list[str]:
    def cells(row: Sequence[Cell]) -> str:
        return "".join(
            f'<td class="number">{cell_text(value)}</td>'
            if isinstance(value, int | float)
            else f"<td>{html.escape(cell_text(value))}</td>"
            for value in row
        )

    title, *rest = map(html.escape, visible_lines(report.heading).split("\n"))
    parts = [f"<h1>{title}</h1>", *(f"<p>{line}</p>" for line in rest if line.strip())]
    for grid in report.grids:
        heads = "".join(f"<th>{html.escape(head)}</th>" for head in grid.headers)
        rows = "".join(f"<tr>{cells(row)}</tr>" for row in grid.rows)
        foot = f"<tfoot><tr>{cells(grid.footer)}</tr></tfoot>" if grid.footer else ""
        parts.append(f"<h2>{html.escape(grid.title)}</h2><table><thead><tr>{heads}</tr></thead>")
        parts.append(f"<tbody>{rows}</tbody>{foot}</table>")
    parts += [f"<p>{html.escape(visible(line))}</p>" for line in report.lines]
    return parts


def write_report(report: Report, path: Path) -> None:
    """Write the report to a file, in the form its suffix names: ``.json``, ``.jsonl``, ``.html`` or text.

    Raises :exc:`migrator.errors.MigratorError` where the file cannot be written.
    """
    forms = {".json": to_json, ".jsonl": to_json_lines, ".html": to_html, ".htm": to_html}
    text = forms.get(path.suffix.lower(), to_full_text)(report)
    check_report(path)
    replace_private(path, text if text.endswith("\n") else text + "\n")
