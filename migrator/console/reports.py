"""What a command reports, as data: text or HTML for people, JSON for programs. It knows no database and no store."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import __version__
from .safe_text import visible

WRITTEN_BY = f"Written by migrator {__version__}."

Cell = str | int | float | None


class Mood(enum.Enum):
    """What a sentence means to the reader; it decides the colour."""

    GOOD = "good"
    NEUTRAL = "neutral"
    NOTE = "note"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True)
class Verdict:
    """What matters most: a word or two, such as ``DONE``, and a sentence. Readers see it first."""

    mood: Mood
    word: str
    sentence: str


@dataclass(frozen=True)
class Fact:
    """A labelled value, such as the source. ``full`` replaces it where there is room for all; it may be empty there."""

    label: str
    value: str
    full: str = ""
    mood: Mood = Mood.NEUTRAL


@dataclass(frozen=True)
class Point:
    """A sentence that the reader should know: a note, a warning, or a problem (``Mood.BAD``).

    ``stays``: it is shown even if there is hardly any room. ``statements`` are lines below it, to be copied.
    ``is_row``: a table of the report's ``row_grids`` has the same.
    """

    mood: Mood
    sentence: str
    stays: bool = False
    statements: tuple[str, ...] = ()
    is_row: bool = False


@dataclass(frozen=True)
class Figure:
    """One of the few numbers that readers look for first, such as the rows that were copied."""

    label: str
    value: str
    remark: str = ""
    mood: Mood = Mood.NEUTRAL


@dataclass(frozen=True)
class Check:
    """A check before the first write: its result, what is right if it passes, and what it found, with what to do."""

    mood: Mood
    result: str
    name: str
    found: tuple[str, ...] = ()


@dataclass(frozen=True)
class Assessment:
    """What is to be decided upon before a run: whether it can start, its checks, its worst tables, and the way back."""

    title: str
    verdict: Verdict
    checks: tuple[Check, ...]
    # The same checks as a table of ``details``, which pages leave out.
    grid: Grid
    worst: Grid | None = None
    way_back: tuple[str, ...] = ()


@dataclass(frozen=True)
class Grid:
    """A titled table. Numbers are aligned to the right, everything else to the left."""

    title: str
    headers: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    footer: tuple[Cell, ...] | None = None


@dataclass(frozen=True)
class Report:
    """What people read, and what programs read (``document``).

    People read the verdict first, then the facts, the short ``grids`` and the points, and at last what to do next.
    Files, HTML and ``-v 2`` have ``details``, which are whole tables, in place of ``grids``. The sentence of the
    verdict is also the error of a command whose exit code is not 0.
    """

    title: str
    verdict: Verdict
    facts: tuple[Fact, ...] = ()
    grids: tuple[Grid, ...] = ()
    points: tuple[Point, ...] = ()
    details: tuple[Grid, ...] = ()
    # Only for pages: numbers to begin with, and tables too wide for text, whose rows are points as well.
    figures: tuple[Figure, ...] = ()
    row_grids: tuple[Grid, ...] = ()
    # Seconds by what took them; they add up to the whole. And seconds by table, the slowest first.
    timings: Mapping[str, float] = field(default_factory=dict)
    slowest: Mapping[str, float] = field(default_factory=dict)
    # What to do next: commands, or sentences.
    next: tuple[str, ...] = ()
    document: Mapping[str, Any] = field(default_factory=dict)
    exit_code: int = 0
    # What was shown before, and belongs into a file, too.
    preface: Report | None = None
    # Of a plan.
    assessment: Assessment | None = None
    # Nothing was written because that was asked for.
    is_dry_run: bool = False


def record(item: object, *names: str) -> dict[str, Any]:
    """Return attributes of an object by their names, for a document."""
    return {name: getattr(item, name) for name in names}


def without_column(grid: Grid, header: str) -> Grid:
    """Return a grid without one of its columns."""
    position = grid.headers.index(header)

    def cut(row: tuple[Any, ...]) -> tuple[Any, ...]:
        return row[:position] + row[position + 1 :]

    return Grid(grid.title, cut(grid.headers), tuple(map(cut, grid.rows)), cut(grid.footer) if grid.footer else None)


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


def to_json(report: Report) -> str:
    """Format the report as one JSON document; times in it are ISO 8601 in UTC."""
    return _json(whole_document(report), indent=2)


def whole_document(report: Report) -> dict[str, Any]:
    """Return what programs read of a report."""
    return _closed(report.document, report)


def _closed(document: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """Return a document with what each one ends with: the release that wrote it, and the exit code."""
    return {**document, "migrator_version": __version__, "exit_code": report.exit_code}


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
    lines.append(_closed({"part": "summary", **rest}, report))
    return "\n".join(map(_json, lines))


def _records(value: Any) -> list[dict[str, Any]]:
    """Return a list of records unchanged, and an empty one for anything else."""
    return value if isinstance(value, list) and all(isinstance(record, dict) for record in value) else []
