"""Questions that only the destination can answer: values of the source are put into a temporary table there.

That is for what engines do not share: the order and the case of texts, patterns, arithmetic, parts of dates, functions.
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
from .route import Route
from .source_view import ROWS, View

# As many rows of a table are put there at most: a server takes them in about a second.
MOST_TRIED = 100_000
PROBED = View(f"{PROBE} {ROWS}", (), (NUMBER,))


@dataclass(frozen=True)
class TrialRefusal:
    """The rows that a constraint refuses, by their numbers, each with those of the rows that are in its way.

    ``every`` has all that are to be set aside, or all pairs; ``rows`` counts the former. ``there`` has for each example
    the key of the destination's own row that is in its way, if it is one of these.
    """

    rows: int
    examples: Sequence[tuple[int, ...]]
    every: Sequence[tuple[int, ...]]
    there: Sequence[Row] = ()


@dataclass(frozen=True)
class Trial:
    """A question to the destination about one table's rows.

    ``what`` is the constraint in words, and ``columns`` are those that it reads. ``ask`` asks for rows that it refuses,
    and ``describe`` makes a finding of their number, of keys of examples, and of all keys. ``restriction``: only these
    rows have to be tried. ``otherwise`` is what is known without a trial.
    """

    what: str
    columns: tuple[str, ...]
    ask: Callable[[Engine, View], TrialRefusal]
    describe: Callable[[int, Sequence[Row], Callable[[Engine], Iterator[Row]]], Finding] = field(compare=False)
    restriction: Restriction | None = None
    otherwise: Finding | None = None


def is_answerable(route: Route, columns: Sequence[str]) -> bool:
    """Return whether these columns of the destination are filled from the source, so that rows can be tried."""
    return {conversion.column.name for conversion in route.conversions}.issuperset(columns)


def unasked(route: Route, what: str, which: str = "rows") -> Finding:
    """Note that nothing is known of a constraint before rows are loaded."""
    return Finding(
        route.table.label,
        f"whether {which} break the {what} of {route.dest.alias!r} can't be asked of {route.source.alias!r}",
        "Each row is checked while it is loaded.",
        stops=False,
    )


def run_trials(route: Route, trials: Sequence[Trial]) -> Iterator[Finding]:
    """Put the rows of a table to the destination and give what it says of them."""
    for _, group in groupby(trials, key=lambda trial: trial.restriction):
        yield from _answers(route, list(group))


def _answers(route: Route, trials: Sequence[Trial]) -> Iterator[Finding]:
    dest, stored = route.dest, route.dest.catalogue.stored_columns(route.table.name)
    names = {name for trial in trials for name in trial.columns}
    conversions = [conversion for conversion in route.conversions if conversion.column.name in names]
    columns = [stored[conversion.column.name] for conversion in conversions]
    found: list[Finding] = []
    answered: set[int] = set()
    try:
        with dest.constraints.probe(route.table.name, columns):
            rows = _Rows(route, conversions, trials[0].restriction)
            rows.fill()
            for number, trial in enumerate(trials):
                with contextlib.suppress(Error):  # it cannot be evaluated outside of its table
                    found += list(_answer(route, trial, rows))
                    answered.add(number)
    except Error:  # no temporary table may be made there
        route.source.recover()
    yield from found
    for number, trial in enumerate(trials):
        if number not in answered:
            yield trial.otherwise or unasked(route, trial.what)


def _answer(route: Route, trial: Trial, rows: _Rows) -> Iterator[Finding]:
    refused = trial.ask(route.dest, PROBED)
    if refused.rows:
        examples = [rows.keys_of(numbers) for numbers in refused.examples]
        if refused.there:
            examples = [(*own, *there) for own, there in zip(examples, refused.there, strict=True)]
        every = [rows.keys_of(numbers) for numbers in refused.every]
        yield trial.describe(refused.rows, examples, lambda engine: iter(every))
    if not rows.are_all and trial.restriction is None:
        yield unasked(route, trial.what, f"rows after the first {MOST_TRIED:,}")


class _Rows:
    """Rows of the source in the probe, numbered in the order of their keys."""

    def __init__(self, route: Route, conversions: Sequence[Conversion], restriction: Restriction | None) -> None:
        self._route, self._conversions = route, conversions
        self._restriction = _both(restriction, route.restriction)
        self._targets = [Target(NUMBER, Kind.INTEGER), *(conversion.target for conversion in conversions)]
        self._keys: list[Row] = []
        self.are_all = True

    def keys_of(self, numbers: Sequence[int]) -> Row:
        """Return the keys of some rows, one after the other."""
        return tuple(value for number in numbers for value in self._keys[number])

    def fill(self) -> None:
        route, width = self._route, len(self._conversions)
        names = [*(conversion.column.name for conversion in self._conversions), *route.table.key]
        expressions = [conversion.expression for conversion in self._conversions]
        expressions += [route.source.quote(name) for name in route.table.key]
        reader = RowReader(route.source, route.table, names, expressions, self._restriction)
        with closing(reader.rows(Bounds())) as batches:
            for batch in batches:
                room = MOST_TRIED - len(self._keys)
                self._take([(row[:width], row[width:]) for row in batch[:room]])
                if len(batch) > room:
                    self.are_all = False
                    return

    def _take(self, pairs: Sequence[tuple[Row, Row]]) -> None:
        rows = []
        for values, key in pairs:
            if (converted := self._converted(values)) is not None:
                rows.append((len(self._keys), *converted))
            self._keys.append(key)
        if rows and not self._is_written(rows):
            for row in rows:  # another finding is about one that does not fit
                self._is_written([row])

    def _converted(self, values: Row) -> Row | None:
        try:
            return tuple(
                value if value is None or conversion.convert is None else conversion.convert(value)
                for conversion, value in zip(self._conversions, values, strict=True)
            )
        except Exception:  # another finding is about that
            return None

    def _is_written(self, rows: Sequence[Row]) -> bool:
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


def _both(one: Restriction | None, other: Restriction | None) -> Restriction | None:
    if one is None or other is None:
        return one or other
    return Restriction(f"({one.sql}) AND ({other.sql})", (*one.params, *other.params))


def refused_by(condition: str) -> Callable[[Engine, View], TrialRefusal]:
    """Return a question for rows that a condition, in the destination's own SQL, is false of, or fails for."""

    def ask(dest: Engine, view: View) -> TrialRefusal:
        last = dest.fetch_value(f"SELECT MAX({NUMBER}) FROM {view.sql}")
        numbers = [] if last is None else list(_false(dest, view, condition.replace("%", "%%"), 0, int(last) + 1))
        every = [(number,) for number in numbers]
        return TrialRefusal(len(every), every[:3], every)

    return ask


def _false(dest: Engine, view: View, condition: str, start: int, stop: int) -> Iterator[int]:
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
        yield from _false(dest, view, condition, start, middle)
        yield from _false(dest, view, condition, middle, stop)
        return
    yield from (int(number) for (number,) in rows)
