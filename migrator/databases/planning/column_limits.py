"""The source's values compared with what the destination's columns can hold, before the first write.

The first rows of a table are all checked. If the table has more, a query asks whether any value is beyond a limit or
suspicious, and stops at the first; only if there is one do further queries count them all and name examples. A large
table is queried in parts, one for each session.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Any

from django.db import DatabaseError

from ...console.wording import plural
from ..chunks import Bounds, Restriction, parts_of, where_clause
from ..engines.base.engine import Engine
from ..engines.base.server_lines import LineField
from ..engines.base.session import Row
from ..engines.base.values import Unreadable, Unstorable
from ..findings import Cause, Finding, FoundRows
from ..primary_keys import key_text
from ..row_reader import RowReader
from ..tables import Column, Kind, StoredColumn
from .columns import Conversion, Way
from .parallel_queries import ParallelQueries, completed, deferred
from .table_route import Route
from .transports import TextStream, Transport, settle

_Stored = Mapping[str, StoredColumn]
_Counts = Mapping[str, int]  # how many rows meet a condition, by condition

EXAMPLES = 3
FIRST_ROWS = 500
FAILED, CORRECT = "its conversion by the field failed", "Correct these values in the source."


@dataclass(frozen=True)
class _ValueCheck:
    """A condition that finds bad values of a column; ``cheap_condition`` finds at least the same values."""

    column: Column
    condition: str
    cheap_condition: str
    reason: str
    advice: str


@dataclass(frozen=True)
class Answer:
    """What was found in a table's values, and the cheapest transport that is right for all of them."""

    findings: tuple[Finding, ...]
    transport: Transport


def check_values(sessions: ParallelQueries, route: Route, stored: _Stored, rows: int) -> Future[Answer]:
    """Queue queries for a table's values that the destination can't hold or the source can't return unchanged.

    ``stored``: the source's columns, by name. ``rows``: how many rows the source's table has.
    """
    checks = list(_value_checks(route, stored))
    unsafe = dict(_unsafe_conditions(route, stored))
    misread = [_misread_finding(route, conversion) for conversion in _read_otherwise(route, stored)] if rows else []
    known = tuple(finding for finding in misread if finding is not None)
    try:
        counted = _count(sessions, route, checks, list(unsafe.values()), rows)
    except DatabaseError as error:
        return completed(_unanswered(route, error))

    def answer() -> Answer:
        try:
            counts = counted.result()
        except DatabaseError as error:
            return _unanswered(route, error)
        findings = known + tuple(
            _finding(route, check, counts[check.condition]) for check in checks if counts[check.condition]
        )
        wrong = [field for field, condition in unsafe.items() if counts[condition]]
        return Answer(findings, settle(route.transport, route.conversions, is_clean=not findings, unsafe=wrong))

    return deferred(answer)


def _unanswered(route: Route, error: DatabaseError) -> Answer:
    """Have the rows read one by one if the error is about a row of the source; raise any other error."""
    if not route.source.is_about_rows(error):
        raise error
    route.source.recover()
    fault = route.source.fault(error, route.table.name)
    text = f"its values can't be checked before the copy: {fault.message} [{fault.code}]"
    note = Finding(
        route.table.label, text, "A row that the source can't return is reported when it is read.", stops=False
    )
    return Answer((note,), settle(route.transport, route.conversions, is_clean=False, unsafe=()))


# -- what is checked -------------------------------------------------------------------------------------------------


def _value_checks(route: Route, stored: _Stored) -> Iterator[_ValueCheck]:
    for conversion in route.conversions:
        if conversion.way is Way.RAW:
            continue
        column, own = conversion.column, stored[conversion.column.name]
        checks = route.source.values.source_checks(column, own) if conversion.way is Way.PROVEN else []
        for check in checks:
            cheap = check.condition if check.cheap_condition is None else check.cheap_condition
            condition, cheap = _unless_null(route, own, check.condition), _unless_null(route, own, cheap)
            yield _ValueCheck(column, condition, cheap, check.reason, check.advice)
        for limit in conversion.limits:
            beyond = route.source.values.violation(limit, route.source.quote(column.name), own)
            # A source's check of the same values has the better advice.
            if beyond and beyond not in [check.condition for check in checks]:
                condition = _unless_null(route, own, beyond)
                yield _ValueCheck(column, condition, condition, limit.reason, limit.advice)


def _unless_null(route: Route, own: StoredColumn, condition: str) -> str:
    return f"{route.source.quote(own.name)} IS NOT NULL AND ({condition})" if own.nullable else condition


def _unsafe_conditions(route: Route, stored: _Stored) -> Iterator[tuple[LineField, str]]:
    """Yield each way to render a column that isn't correct for all values, with the condition that finds the others."""
    if not isinstance(route.transport, TextStream):
        return
    for conversion, field in zip(route.conversions, route.transport.fields, strict=True):
        for way in (field, field.cheaper):
            if way is not None and way.unsafe_when is not None:
                yield way, _unless_null(route, stored[conversion.column.name], way.unsafe_when)


# -- values that only the field itself can read ----------------------------------------------------------------------


def _read_otherwise(route: Route, stored: _Stored) -> Iterator[Conversion]:
    """Yield the columns of Django's own fields whose type in the source isn't the type that Django gives them.

    Booleans stored as bits are left out: every value of theirs is valid.
    """
    values = route.source.values
    for conversion in route.conversions:
        column = conversion.column
        if column.kind is Kind.BOOLEAN and values.is_bits(stored[column.name]):
            continue
        is_own = column.kind is not Kind.OTHER and not values.stores(column.kind, stored[column.name])
        if conversion.way is Way.FIELD and is_own:
            yield conversion


def _misread_finding(route: Route, conversion: Conversion) -> Finding | None:
    """Read all values of a column and report those that its field can't convert; no query could find them."""
    table, reason, advice, count = route.table, "", "", 0
    examples: list[str] = []
    for error, key in _misread(route, conversion, route.source):
        count += 1
        reason, advice = (error.reason, error.advice) if isinstance(error, Unstorable) else (FAILED, CORRECT)
        if len(examples) < EXAMPLES and table.key:
            examples.append(key_text(table, key))
    if not count:
        return None
    text = f"{plural(count, 'value')}: {reason}"
    if examples:
        text += f" (for example primary key {', '.join(examples)})"

    def keys(source: Any) -> Iterator[Row]:
        return (key for _, key in _misread(route, conversion, source))

    rows = FoundRows(table.name, Cause.VALUE, keys)
    return Finding(f"{table.label}.{conversion.column.attname}", text, advice, is_about_rows=True, rows=rows)


def _misread(route: Route, conversion: Conversion, source: Engine) -> Iterator[tuple[Exception, Row]]:
    """Yield the error of each value that the field can't convert, with the primary key of its row."""
    table = route.table
    names = [*table.key, conversion.column.name]
    expressions = [*(source.quote(name) for name in table.key), conversion.expression]
    reader = RowReader(source, table, names, expressions, route.restriction)
    with closing(reader.rows(Bounds())) as batches:
        for *key, value in chain.from_iterable(batches):
            if value is None or conversion.convert is None or isinstance(value, Unreadable):
                continue
            try:
                conversion.convert(value)
            except Exception as error:  # a field's own, which may raise anything
                yield error, tuple(key)


def _count(
    sessions: ParallelQueries, route: Route, checks: Sequence[_ValueCheck], unsafe: Sequence[str], rows: int
) -> Future[_Counts]:
    """Count the rows that meet each condition, in up to three stages: the first rows, whether any other does, all rows.

    Conditions of ``unsafe`` that the first rows meet already aren't counted any further.
    """
    cheap = {check.condition: check.cheap_condition for check in checks} | {
        condition: condition for condition in unsafe
    }
    if not rows:
        return completed(dict.fromkeys(cheap, 0))
    counts, is_whole_table = _count_first(route, list(cheap))
    if is_whole_table:
        return completed(counts)
    if any(counts[check.condition] for check in checks):
        return deferred(partial(_count_all, route, list(cheap)))
    unseen = list(dict.fromkeys(cheap[condition] for condition in cheap if not counts[condition]))
    if not unseen:
        return completed(counts)
    asked = _ask_whether_any(sessions, route, unseen, rows)
    return deferred(lambda: _count_all(route, list(cheap)) if _is_any_found(asked) else counts)


def _count_first(route: Route, unsafe: Sequence[str]) -> tuple[_Counts, bool]:
    """Count among the first rows; also return whether these are all rows, or nothing is to be counted."""
    end = f" LIMIT {FIRST_ROWS}"
    first = _select(route, [f"({condition})" for condition in unsafe], end=end) if unsafe else []
    counts = {condition: sum(bool(row[n]) for row in first) for n, condition in enumerate(unsafe)}
    return counts, len(first) < FIRST_ROWS


def _ask_whether_any(
    sessions: ParallelQueries, route: Route, unseen: Sequence[str], rows: int
) -> list[Future[bool | DatabaseError]]:
    """Queue the query whether any row meets a condition, for each part of a large table."""
    parts = parts_of(route.source, route.table.name, route.table.key, sessions.parts(rows))
    return [sessions.ask(partial(_is_any, route, unseen, part), rows // len(parts)) for part in parts]


def _is_any_found(asked: Sequence[Future[bool | DatabaseError]]) -> bool:
    answers = [future.result() for future in asked]
    for error in answers:
        if isinstance(error, DatabaseError):
            raise error
    return any(answers)


def _is_any(route: Route, unseen: Sequence[str], part: Bounds, engine: Engine) -> bool | DatabaseError:
    """Whether any row meets a condition. An error about a row is returned: it concerns this table's queries alone."""
    # With CASE, a condition that is NULL doesn't hide the others, and many conditions don't nest.
    cases = " ".join(f"WHEN {condition} THEN 1" for condition in unseen)
    try:
        return bool(_select(replace(route, source=engine), ["1"], f"CASE {cases} END = 1", " LIMIT 1", part))
    except DatabaseError as error:
        if not engine.is_about_rows(error):
            raise
        engine.recover()
        return error


def _count_all(route: Route, unsafe: Sequence[str]) -> _Counts:
    sums = _select(route, [f"SUM(CASE WHEN {condition} THEN 1 ELSE 0 END)" for condition in unsafe])
    # A table outside of the snapshot may have become empty, and SUM over no rows is NULL.
    return {condition: int(count or 0) for condition, count in zip(unsafe, sums[0], strict=True)}


def _select(
    route: Route, expressions: Sequence[str], condition: str = "", end: str = "", part: Bounds | None = None
) -> list[Row]:
    where, params = where_clause(route.source, route.table.key, part or Bounds(), route.restriction)
    if condition:
        where += f"{' AND' if where else ' WHERE'} ({condition})"
    sql = f"SELECT {', '.join(expressions)} FROM {route.source.quote(route.table.name)}{where}{end}"
    return route.source.fetch_all(sql, params)


# -- findings ----------------------------------------------------------------------------------------------------------


def _finding(route: Route, check: _ValueCheck, count: int) -> Finding:
    source, table = route.source, route.table
    text = f"{plural(count, 'value')}: {check.reason}"
    if table.key:
        chosen = Restriction(check.condition, ()).and_also(route.restriction)
        keys = RowReader(source, table, (), (), chosen).keys(Bounds(), EXAMPLES)
        text += f" (for example primary key {', '.join(key_text(table, key) for key in keys)})"
    rows = FoundRows(table.name, Cause.VALUE, partial(_keys_of, route, check.condition))
    return Finding(f"{table.label}.{check.column.attname}", text, check.advice, is_about_rows=True, rows=rows)


def _keys_of(route: Route, condition: str, source: Engine) -> Iterator[Row]:
    """Read the primary keys of a table's chosen rows that meet a condition, in the source's own values."""
    table = route.table
    names = [source.quote(name) for name in table.key] or ["1"]
    chosen = Restriction(condition, ()).and_also(route.restriction)
    reader = RowReader(source, table, table.key or ("1",), names, chosen)
    with source.reading_everything():
        yield from chain.from_iterable(reader.rows(Bounds()))
