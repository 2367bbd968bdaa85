"""Reports as text for a terminal or a file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from django.core.management.color import Style, no_style

from .reports import WRITTEN_BY, Cell, Fact, Grid, Mood, Point, Report, cell_text
from .safe_text import visible
from .wording import listed, plural, seconds_text
from .wrapping import hanging, instruction

SHORT = 20  # lines of a report that is not full, unless it holds more that must not be left out
_FEWEST_POINTS = 3
_SHOWN_SECONDS = 0.05
_NARROWEST = 12  # columns that a text needs to be readable
_PARTS = re.compile(r"\s+|[^\s._]+[._]?|[._]")
# The most serious first.
_NOUNS = {Mood.BAD: "problem", Mood.WARNING: "warning", Mood.NOTE: "note"}
# Names of Django's styles.
_STYLES = {Mood.GOOD: "SUCCESS", Mood.NEUTRAL: "MIGRATE_HEADING", Mood.WARNING: "WARNING", Mood.BAD: "ERROR"}


def to_text(report: Report, width: int | None = None, style: Style | None = None, *, is_full: bool = False) -> str:
    """Format the report for a terminal of ``width`` columns, or for a file, whose lines are not wrapped.

    It has about ``SHORT`` lines unless it ``is_full``: then it has whole tables and all points.
    """
    return _Writer(width, style or no_style(), is_full=is_full).text(report)


def to_full_text(report: Report) -> str:
    """Format the report with whole tables and all points, then its preface, and the release that wrote it."""
    parts = (to_text(part, is_full=True) for part in (report, report.preface) if part)
    return "\n\n".join([*parts, WRITTEN_BY])


class _Writer:
    def __init__(self, width: int | None, style: Style, *, is_full: bool) -> None:
        self._width, self._style, self._is_full = width, style, is_full

    def text(self, report: Report) -> str:
        head = "\n".join([self._verdict(report), *self._facts(report)])
        grids = [grid_text(grid, self._width) for grid in (report.details if self._is_full else report.grids)]
        following = list(self._next(report.next))
        used = sum(text.count("\n") + 1 for text in (head, *grids, *following)) + (len(grids) + 1 if grids else 0)
        ending = "\n".join([*self._points(report.points, SHORT - used), *following])
        return ("\n\n" if grids else "\n").join(filter(None, [head, *grids, ending]))

    def _verdict(self, report: Report) -> str:
        word = visible(report.verdict.word)
        text = hanging(f"{word}  ", visible(report.verdict.sentence), self._width, indent=2)
        return self._painted(report.verdict.mood, word) + text.removeprefix(word)

    def _facts(self, report: Report) -> Iterator[str]:
        facts = [(fact, (self._is_full and fact.full) or fact.value) for fact in report.facts]
        if report.timings:
            facts.append((Fact("time", ""), _time_text(report)))
        shown = [(fact, value) for fact, value in facts if value]
        size = max((len(fact.label) for fact, _ in shown), default=0)
        for fact, value in shown:
            start = f"  {visible(fact.label).ljust(size)}  "
            text = hanging(start, visible(value), self._width).removeprefix(start)
            yield start + (text if fact.mood is Mood.NEUTRAL else self._painted(fact.mood, text))

    def _points(self, points: Sequence[Point], room: int) -> Iterator[str]:
        """Yield points, the most serious first; those that there is no room for are only counted."""
        sorted_points = sorted(points, key=lambda point: list(_NOUNS).index(point.mood))
        texts = [self._point(point) for point in sorted_points]
        shows_all = self._is_full or sum(text.count("\n") + 1 for text in texts) <= room
        left_out = dict.fromkeys(_NOUNS, 0)
        for number, (point, text) in enumerate(zip(sorted_points, texts, strict=True)):
            room -= text.count("\n") + 1
            if shows_all or point.stays or number < _FEWEST_POINTS or room > 0:
                yield self._painted(point.mood, text)
            else:
                left_out[point.mood] += 1
        if counts := [plural(count, f"more {_NOUNS[mood]}") for mood, count in left_out.items() if count]:
            yield f"{listed(counts)}; -v 2 lists everything."

    def _point(self, point: Point) -> str:
        start = "Note: " if point.mood is Mood.NOTE else ""
        sentence = hanging("", f"{start}{visible(point.sentence)}", self._width, indent=2)
        return "\n".join([sentence, *(f"    {visible(line)}" for line in point.statements)])

    def _next(self, steps: Sequence[str]) -> Iterator[str]:
        for number, step in enumerate(map(visible, steps)):
            start = "Next: " if number == 0 else "      "
            lines = instruction(start, step, self._width).removeprefix(start).split("\n")
            yield start + "\n".join(map(self._style.MIGRATE_LABEL, lines))

    def _painted(self, mood: Mood, text: str) -> str:
        """Colour each line of a text by what it means."""
        if mood not in _STYLES:
            return text
        paint = getattr(self._style, _STYLES[mood])
        return "\n".join(paint(line) for line in text.split("\n"))


def _time_text(report: Report) -> str:
    shown = {label: seconds for label, seconds in report.timings.items() if seconds >= _SHOWN_SECONDS}
    parts = [f"{label} {seconds_text(seconds)}" for label, seconds in shown.items()]
    total = seconds_text(sum(report.timings.values()))
    return f"{total}: {', '.join(parts)}" if len(parts) > 1 else total


def is_numeric(grid: Grid, column: int) -> bool:
    """Whether a column holds numbers, and nothing else except gaps."""
    values = [row[column] for row in grid.rows if row[column] is not None]
    return bool(values) and all(isinstance(value, int | float) for value in values)


def grid_text(grid: Grid, width: int | None = None) -> str:
    """Format a grid in aligned columns, within ``width`` characters if possible."""
    body: list[Sequence[Cell]] = [*grid.rows, *([grid.footer] if grid.footer else [])]
    texts = [[cell_text(value) for value in row] for row in body]
    right = [is_numeric(grid, i) for i in range(len(grid.headers))]
    headers = [visible(header) for header in grid.headers]
    widths = _widths(headers, texts, right, width)

    def lines_of(cells: Sequence[str]) -> Iterator[str]:
        for parts in zip_longest(*map(_folded, cells, widths), fillvalue=""):
            aligned = (
                part.rjust(size) if to_right else part.ljust(size)
                for part, size, to_right in zip(parts, widths, right, strict=True)
            )
            yield ("  " + "  ".join(aligned)).rstrip()

    rule = "  " + "  ".join("-" * size for size in widths)
    lines = [visible(grid.title)] if grid.title else []
    lines += [*lines_of(headers), rule]
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
