"""Constraints that only the destination can evaluate: rows of the source are copied into a temporary table there.

Engines differ in collations, patterns, arithmetic, parts of dates, and functions.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from django.db import Error, transaction

from ..chunks import Bounds, Restriction
from ..engines.base.constraints import NUMBER, PROBE
from ..engines.base.engine import Engine
from ..engines.base.errors import Severity
from ..engines.base.loading import Target
from ..engines.base.session import Row
from ..engines.base.values import Unstorable
from ..findings import Finding
from ..row_reader import RowReader
from ..tables import Kind
from .columns import Conversion
from .source_view import ROWS, View
from .table_route import Route

# At most so many rows of a table are copied there: a server loads them in about a second.
MOST_TRIED = 100_000
EXAMPLES = 3
PROBED = View(f"{PROBE} {ROWS}", (), (NUMBER,))


@dataclass(frozen=True)
class TrialResult:
    """The rows that a constraint rejects, by their numbers, each with the numbers of the rows that it conflicts with.

    ``rows``: how many are rejected. ``examples``: a few. ``every``: all of them, or all pairs of rows in conflict.
    ``dest_keys``: for each example, the primary key of the destination's own row that it conflicts with, if it does.
    """

    rows: int
    examples: Sequence[tuple[int, ...]]
    every: Sequence[tuple[int, ...]]
    dest_keys: Sequence[Row] = ()


@dataclass(frozen=True)
class Trial:
    """A constraint to be checked in the destination, on rows of one table.

    ``what``: the constraint in words. ``columns``: the columns that it reads. ``find`` finds the rows that it rejects,
    and ``describe`` makes a finding of their number, the keys of examples, and a function that reads all keys.
    ``restriction``: only these rows have to be tried. ``fallback``: what is known without a trial.
    """

    what: str
    columns: tuple[str, ...]
    find: Callable[[Engine, View], TrialResult]
    describe: Callable[[int, Sequence[Row], Callable[[Engine], Iterator[Row]]], Finding] = field(compare=False)
    restriction: Restriction | None = None
    fallback: Finding | None = None


def can_be_tried(route: Route, columns: Sequence[str]) -> bool:
    """Whether these columns of the destination are filled from the source, so that rows can be tried."""
    return {conversion.column.name for conversion in route.conversions}.issuperset(columns)


def not_checked(route: Route, what: str, which: str = "rows") -> Finding:
    """Return the note that a constraint can't be checked before rows are loaded."""
    return Finding(
        route.table.label,
        f"{which} can't be checked in {route.source.alias!r} against the {what} of {route.dest.alias!r}",
        "Each row is checked while it is loaded.",
        stops=False,
    )


def run_trials(route: Route, trials: Sequence[Trial]) -> Iterator[Finding]:
    """Run trials of one table: copy its rows into a temporary table of the destination, and yield the findings."""
    for _, group in groupby(trials, key=lambda trial: trial.restriction):
        yield from _run_group(route, list(group))


def _run_group(route: Route, trials: Sequence[Trial]) -> Iterator[Finding]:
    dest, stored = route.dest, route.dest.catalogue.stored_columns(route.table.name)
    names = {name for trial in trials for name in trial.columns}
    conversions = [conversion for conversion in route.conversions if conversion.column.name in names]
    columns = [stored[conversion.column.name] for conversion in conversions]
    found: list[Finding] = []
    answered: set[int] = set()
    try:
        with dest.constraints.probe(route.table.name, columns):
            rows = _ProbedRows(route, conversions, trials[0].restriction)
            rows.fill()
            for number, trial in enumerate(trials):
                with contextlib.suppress(Error):  # it can't be evaluated outside of its table
                    found += list(_run_one(route, trial, rows))
                    answered.add(number)
    except Error:  # no temporary table may be created there
        route.source.recover()
    yield from found
    for number, trial in enumerate(trials):
        if number not in answered:
            yield trial.fallback or not_checked(route, trial.what)


def _run_one(route: Route, trial: Trial, rows: _ProbedRows) -> Iterator[Finding]:
    rejected = trial.find(route.dest, PROBED)
    if rejected.rows:
        examples = [rows.keys_of(numbers) for numbers in rejected.examples]
        if rejected.dest_keys:
            examples = [(*own, *theirs) for own, theirs in zip(examples, rejected.dest_keys, strict=True)]
        every = [rows.keys_of(numbers) for numbers in rejected.every]
        yield trial.describe(rejected.rows, examples, lambda engine: iter(every))
    if not rows.are_all and trial.restriction is None:
        yield not_checked(route, trial.what, f"rows after the first {MOST_TRIED:,}")


class _ProbedRows:
    """Rows of the source in the temporary table, numbered in the order of their keys."""

    def __init__(self, route: Route, conversions: Sequence[Conversion], restriction: Restriction | None) -> None:
        self._route, self._conversions = route, conversions
        self._restriction = restriction.and_also(route.restriction) if restriction else route.restriction
        self._targets = [Target(NUMBER, Kind.INTEGER), *(conversion.target for conversion in conversions)]
        self._keys: list[Row] = []
        self.are_all = True

    def keys_of(self, numbers: Sequence[int]) -> Row:
        """Return the primary keys of rows by their numbers, one after the other, in one flat row."""
        return tuple(value for number in numbers for value in self._keys[number])

    def fill(self) -> None:
        """Copy the first ``MOST_TRIED`` rows; values that can't be converted leave a gap in the numbers."""
        route, width = self._route, len(self._conversions)
        names = [*(conversion.column.name for conversion in self._conversions), *route.table.key]
        expressions = [conversion.expression for conversion in self._conversions]
        expressions += [route.source.quote(name) for name in route.table.key]
        reader = RowReader(route.source, route.table, names, expressions, self._restriction)
        with closing(reader.rows(Bounds())) as batches:
            for batch in batches:
                room = MOST_TRIED - len(self._keys)
                self._insert([(row[:width], row[width:]) for row in batch[:room]])
                if len(batch) > room:
                    self.are_all = False
                    return

    def _insert(self, pairs: Sequence[tuple[Row, Row]]) -> None:
        rows = []
        for values, key in pairs:
            if (converted := converted_row(self._conversions, values)) is not None:
                rows.append((len(self._keys), *converted))
            self._keys.append(key)
        if rows and not self._insert_all(rows):
            for row in rows:  # one by one; another finding reports the row that doesn't fit
                self._insert_all([row])

    def _insert_all(self, rows: Sequence[Row]) -> bool:
        """Insert rows in one transaction; return ``False`` if the destination can't store one of them."""
        dest = self._route.dest
        try:
            with transaction.atomic(using=dest.alias):
                writer = dest.row_writer(PROBE, self._targets)
                writer.write(rows)
                writer.finish()
        except Unstorable:
            return False
        except Error as error:
            if dest.severity(error) is not Severity.DATA:
                raise
            return False
        return True


def converted_row(conversions: Sequence[Conversion], row: Row) -> Row | None:
    """Convert a row of the source to what the destination stores; ``None`` if a value can't be converted."""
    try:
        return tuple(
            value if value is None or conversion.convert is None else conversion.convert(value)
            for conversion, value in zip(conversions, row, strict=True)
        )
    except Exception:  # a field's own, which may raise anything; another finding reports the value
        return None


def rejected_by(condition: str) -> Callable[[Engine, View], TrialResult]:
    """Return a function that finds rows for which a condition, in the destination's own SQL, is false or fails."""

    def find(dest: Engine, view: View) -> TrialResult:
        last = dest.fetch_value(f"SELECT MAX({NUMBER}) FROM {view.sql}")
        numbers = [] if last is None else list(_failing(dest, view, condition.replace("%", "%%"), 0, int(last) + 1))
        every = [(number,) for number in numbers]
        return TrialResult(len(every), every[:EXAMPLES], every)

    return find


def _failing(dest: Engine, view: View, condition: str, start: int, stop: int) -> Iterator[int]:
    """Yield the rows from ``start`` up to ``stop`` that fail, halving the range if evaluating it raises an error."""
    case = f"CASE WHEN {NUMBER} >= {start} AND {NUMBER} < {stop} AND NOT ({condition}) THEN 1 END"
    try:
        with transaction.atomic(using=dest.alias):
            rows: list[Any] = dest.fetch_all(f"SELECT {NUMBER} FROM {view.sql} WHERE {case} = 1 ORDER BY {NUMBER}")
    except Error as error:
        if dest.severity(error) is not Severity.DATA:
            raise
        if stop - start == 1:
            yield start
            return
        middle = (start + stop) // 2
        yield from _failing(dest, view, condition, start, middle)
        yield from _failing(dest, view, condition, middle, stop)
        return
    yield from (int(number) for (number,) in rows)
