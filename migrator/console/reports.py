"""Reports as text, JSON or HTML. They know no database and no store."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

from .private_files import check_report, replace_private
from .safe_text import visible, visible_lines
from .wrapping import wrapped

Cell = str | int | float | None
_NARROWEST = 12  # columns that a text needs to be readable
_PARTS = re.compile(r"\s+|[^\s._]+[._]?|[._]")

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
    """What people read (``heading``, ``grids``, ``lines``) and what programs read (``document``)."""

    heading: str
    grids: tuple[Grid, ...]
    lines: tuple[str, ...]
    document: Mapping[str, Any] = field(default_factory=dict)
    exit_code: int = 0
    # What was shown before, and belongs into a file, too.
    preface: Report | None = None


def record(item: object, *names: str) -> dict[str, Any]:
    """Return attributes of an object by their names, for a document."""
    return {name: getattr(item, name) for name in names}


def totals(rows: Sequence[Sequence[Cell]]) -> list[Cell]:
    """Add up the columns of rows, without the first column; one that holds text has an empty total."""
    return [_total(cells) for cells in list(zip(*rows, strict=True))[1:]]


def _total(cells: Sequence[Cell]) -> Cell:
    numbers = [cell or 0 for cell in cells if not isinstance(cell, str)]
    return sum(numbers) if len(numbers) == len(cells) else ""


def cell_text(value: Cell) -> str:
    """Format one value for people: thousands grouped, seconds and ratios to one decimal."""
    if value is None:
        return "-"
    if isinstance(value, bool | str):
        return visible(str(value))
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def _is_numeric(grid: Grid, column: int) -> bool:
    values = [row[column] for row in grid.rows if row[column] is not None]
    return bool(values) and all(isinstance(value, int | float) for value in values)


def grid_text(grid: Grid, width: int | None = None) -> str:
    """Format a grid in aligned columns, within ``width`` characters if possible."""
    body: list[Sequence[Cell]] = [*grid.rows, *([grid.footer] if grid.footer else [])]
    texts = [[cell_text(value) for value in row] for row in body]
    right = [_is_numeric(grid, i) for i in range(len(grid.headers))]
    widths = _widths(grid.headers, texts, right, width)

    def lines_of(cells: Sequence[str]) -> Iterator[str]:
        for parts in zip_longest(*map(_folded, cells, widths), fillvalue=""):
            aligned = (
                part.rjust(size) if to_right else part.ljust(size)
                for part, size, to_right in zip(parts, widths, right, strict=True)
            )
            yield ("  " + "  ".join(aligned)).rstrip()

    rule = "  " + "  ".join("-" * size for size in widths)
    lines = [visible(grid.title)] if grid.title else []
    lines += [*lines_of(grid.headers), rule]
    for row in texts[: len(grid.rows)]:
        lines += lines_of(row)
    if grid.footer:
        lines += [rule, *lines_of(texts[-1])]
    return "\n".join(lines)


def _widths(
    headers: Sequence[str], texts: Sequence[Sequence[str]], right: Sequence[bool], width: int | None
) -> list[int]:
    """Return how wide columns are: as their widest cell, or less so that the grid fits into ``width``.

    Headers over numbers are folded first, then the widest texts; numbers never are.
    """
    cells = [max((len(row[i]) for row in texts), default=0) for i in range(len(headers))]
    widths = [max(len(head), size) for head, size in zip(headers, cells, strict=True)]
    words = [max(map(len, head.split()), default=0) for head in headers]
    least = [
        max(word, size if to_right else min(size, _NARROWEST))
        for word, size, to_right in zip(words, cells, right, strict=True)
    ]
    excess = 0 if width is None else sum(widths) + 2 * len(widths) - width
    for is_number in (True, False):
        while excess > 0:
            foldable = [i for i, size in enumerate(widths) if right[i] == is_number and size > least[i]]
            if not foldable:
                break
            widths[max(foldable, key=widths.__getitem__)] -= 1
            excess -= 1
    return widths


def _folded(text: str, width: int) -> list[str]:
    """Break a cell at spaces, dots and underscores, and within a part only if the part is too long."""
    if len(text) <= width:
        return [text]
    lines = [""]
    for part in _PARTS.findall(text):
        if len(lines[-1]) + len(part.rstrip()) > width:
            lines.append("")
            part = part.lstrip()
        while len(part.rstrip()) > width:
            lines[-1:] = [part[:width], ""]
            part = part[width:]
        lines[-1] += part
    return [line.rstrip() for line in lines if line] or [""]


def to_text(report: Report, width: int | None = None) -> str:
    """Format the report for a terminal of ``width`` columns, or for a file, whose lines are not wrapped."""
    heading = wrapped(visible_lines(report.heading), width, breaks_indented=True)
    prose = "\n".join(wrapped(visible(line), width) for line in report.lines)
    blocks = [heading, *(grid_text(grid, width) for grid in report.grids), prose]
    return "\n\n".join(block for block in blocks if block)


def to_json(report: Report) -> str:
    """Format the report as one JSON document; times in it are ISO 8601 in UTC."""
    return _json({**report.document, "exit_code": report.exit_code}, indent=2)


def _json(value: Any, indent: int | None = None) -> str:
    """Format a value as JSON in ASCII without control characters, including DEL, which JSON does not escape."""
    return json.dumps(value, indent=indent, default=str).replace("\x7f", "\\u007f")


def to_json_lines(report: Report) -> str:
    """Format the report as JSON lines: one for each record of the document's lists, and the rest in the last one.

    ``part`` says what a line is: the list's name, or ``summary``.
    """
    lists = {name: value for name, value in report.document.items() if isinstance(value, list)}
    lines: list[dict[str, Any]] = [{"part": name, **record} for name in lists for record in _records(lists[name])]
    rest = {name: value for name, value in report.document.items() if not _records(lists.get(name))}
    lines.append({"part": "summary", **rest, "exit_code": report.exit_code})
    return "\n".join(map(_json, lines))


def _records(value: Any) -> list[dict[str, Any]]:
    """Return a list of records unchanged, and an empty one for anything else."""
    return value if isinstance(value, list) and all(isinstance(record, dict) for record in value) else []


def to_full_text(report: Report) -> str:
    """Format the report with its preface."""
    return "\n\n".join(to_text(part) for part in (report.preface, report) if part)


def to_html(report: Report) -> str:
    """Format the report, with its preface, as one HTML page that needs no other file."""
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
    """Write the report to a file, in the format that its suffix names: ``.json``, ``.jsonl``, ``.html`` or text.

    Raises :exc:`migrator.errors.MigratorError` if the file cannot be written.
    """
    forms = {".json": to_json, ".jsonl": to_json_lines, ".html": to_html, ".htm": to_html}
    text = forms.get(path.suffix.lower(), to_full_text)(report)
    check_report(path)
    replace_private(path, text if text.endswith("\n") else text + "\n")
