"""Reports as text for a terminal or a file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from .reports import WRITTEN_BY, Cell, Grid, Report, cell_text
from .safe_text import visible, visible_lines
from .wrapping import wrapped

_NARROWEST = 12  # columns that a text needs to be readable
_PARTS = re.compile(r"\s+|[^\s._]+[._]?|[._]")


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
    heading = wrapped(visible_lines(report.title), width, breaks_indented=True)
    prose = "\n".join(wrapped(visible(line), width) for line in report.lines)
    blocks = [heading, *(grid_text(grid, width) for grid in report.grids), prose]
    return "\n\n".join(block for block in blocks if block)


def to_full_text(report: Report) -> str:
    """Format the report with its preface, and the release that wrote it."""
    return "\n\n".join([*(to_text(part) for part in (report.preface, report) if part), WRITTEN_BY])
