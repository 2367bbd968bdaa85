"""The source's values held against what the destination's columns can hold, before the first write.

Of a table's first rows each is looked at. If there are more, a query asks whether any value is beyond a limit or
suspicious, and ends where it finds one; only then does another one count them all, and more of them name examples. A
large table is asked about in two halves, for two sessions.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, repeat
from typing import Any

from django.db import DatabaseError
from django.db.models import UniqueConstraint

from ...console.wording import plural
from ..chunks import Bounds, Restriction, conditions, halves, key_text
from ..engines.base.engine import Engine
from ..engines.base.lines import LineField
from ..engines.base.session import Row
from ..engines.base.values import Unreadable, Unstorable
from ..findings import Cause, Finding, FoundRows
from ..row_reader import RowReader
from ..tables import Column, Kind, StoredColumn, Table
from .columns import Conversion, Way
from .parallel_queries import ParallelQueries
from .route import Route

_Stored = Mapping[str, StoredColumn]

EXAMPLES = 3
FIRST_ROWS = 500
FAILED, CORRECT = "its conversion by the field failed", "Correct these values in the source."


@dataclass(frozen=True)
class _Question:
    column: Column
    condition: str
    rough: str
    reason: str
    advice: str


@dataclass(frozen=True)
class Answer:
    """What was found in a table's values, whether that is nothing at all, and how little renders them in that case."""

    findings: tuple[Finding, ...] = ()
    is_clean: bool = True
    fields: tuple[LineField, ...] | None = None


def check_values(sessions: ParallelQueries, route: Route, stored: _Stored, rows: int) -> Callable[[], Answer]:
    """Ask for the values of a table that its destination cannot hold or its source cannot give faithfully.

    ``rows``: how many the table has. What this returns gives the answer.
    """
    questions = list(_questions(route, stored))
    doubts = dict(_doubts(route, stored))
    counted: Callable[[], Mapping[str, int]] | Answer
    unmeant = [_unmeant_finding(route, conversion) for conversion in _read_otherwise(route, stored)] if rows else []
    try:
        counted = _count(sessions, route, questions, list(doubts.values()), rows)
    except DatabaseError as error:
        counted = _unanswered(route, error)

    def answer() -> Answer:
        if isinstance(counted, Answer):
            return counted
        try:
            counts = counted()
        except DatabaseError as error:
            return _unanswered(route, error)
        findings = tuple(found for found in unmeant if found is not None) + tuple(
            _finding(route, question, counts[question.condition])
            for question in questions
            if counts[question.condition]
        )
        if route.fields is None:
            return Answer(findings, is_clean=not findings)
        raised = {field for field, condition in doubts.items() if counts[condition]}
        fields = tuple(field for field in map(_cheapest, route.fields, repeat(raised)) if field is not None)
        is_clean = not findings and len(fields) == len(route.fields)
        return Answer(findings, is_clean, fields if is_clean else None)

    return answer


def _unanswered(route: Route, error: DatabaseError) -> Answer:
    """Let the rows be read with care, one of which the source cannot even be asked about; raise any other error."""
    if not route.source.is_about_rows(error):
        raise error
    route.source.recover()
    fault = route.source.fault(error, route.table.name)
    text = f"its values cannot be checked before the copy: {fault.message} [{fault.code}]"
    note = Finding(route.table.label, text, "A row that the source cannot give is named when it is read.", stops=False)
    return Answer((note,), is_clean=False)


def _cheapest(field: LineField, raised: Collection[LineField]) -> LineField | None:
    """Choose the cheapest way to render a column that is right for all of its values."""
    return next((way for way in (field.cheaper, field) if way is not None and way not in raised), None)


def _questions(route: Route, stored: _Stored) -> Iterator[_Question]:
    for conversion in route.conversions:
        if conversion.way is Way.RAW:
            continue
        column, own = conversion.column, stored[conversion.column.name]
        for suspicion in route.source.values.suspicions(column, own) if conversion.way is Way.PROVEN else ():
            condition = _of_values(route, own, suspicion.condition)
            rough = condition if suspicion.rough is None else _of_values(route, own, suspicion.rough)
            yield _Question(column, condition, rough, suspicion.reason, suspicion.advice)
        for limit in conversion.limits:
            beyond = route.source.values.violation(limit, route.source.quote(column.name), own)
            if beyond:
                condition = _of_values(route, own, beyond)
                yield _Question(column, condition, condition, limit.reason, limit.advice)


def _of_values(route: Route, own: StoredColumn, condition: str) -> str:
    return f"{route.source.quote(own.name)} IS NOT NULL AND ({condition})" if own.nullable else condition


def _read_otherwise(route: Route, stored: _Stored) -> Iterator[Conversion]:
    """Yield the columns of Django's own fields whose type in the source is not the one that Django gives them.

    Without booleans that are stored as bits, of which no value could be corrected.
    """
    values = route.source.values
    for conversion in route.conversions:
        column = conversion.column
        if column.kind is Kind.BOOLEAN and values.is_bits(stored[column.name]):
            continue
        is_own = column.kind is not Kind.OTHER and not values.stores(column.kind, stored[column.name])
        if conversion.way is Way.FIELD and is_own:
            yield conversion


def _unmeant_finding(route: Route, conversion: Conversion) -> Finding | None:
    """Read all values of a column, and find those that are no values of its field; only its own converters can tell."""
    table, reason, advice, count = route.table, "", "", 0
    examples: list[str] = []
    for error, key in _unmeant(route, conversion, route.source):
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
        return (key for _, key in _unmeant(route, conversion, source))

    rows = FoundRows(table.name, Cause.VALUE, keys)
    return Finding(f"{table.label}.{conversion.column.attname}", text, advice, is_about_rows=True, rows=rows)


def _unmeant(route: Route, conversion: Conversion, source: Engine) -> Iterator[tuple[Exception, Row]]:
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


def _doubts(route: Route, stored: _Stored) -> Iterator[tuple[LineField, str]]:
    for conversion, field in zip(route.conversions, route.fields or (), strict=route.fields is not None):
        for way in (field, field.cheaper):
            if way is not None and way.doubt is not None:
                yield way, _of_values(route, stored[conversion.column.name], way.doubt)


def _count(
    sessions: ParallelQueries, route: Route, questions: Sequence[_Question], doubts: Sequence[str], rows: int
) -> Callable[[], Mapping[str, int]]:
    """Ask for how many rows each condition is true; of doubts that the first rows raise, no others are counted."""
    rough = {question.condition: question.rough for question in questions} | {doubt: doubt for doubt in doubts}
    if not rows:
        return lambda: dict.fromkeys(rough, 0)
    first = _select(route, [f"({condition})" for condition in rough], end=f" LIMIT {FIRST_ROWS}") if rough else []
    counts = {condition: sum(bool(row[n]) for row in first) for n, condition in enumerate(rough)}
    if len(first) < FIRST_ROWS:
        return lambda: counts
    if any(counts[question.condition] for question in questions):
        return lambda: _count_all(route, rough)
    unseen = dict.fromkeys(rough[condition] for condition in rough if not counts[condition])
    if not unseen:
        return lambda: counts
    parts = halves(route.source, route.table.name, route.table.key) if sessions.should_halve(rows) else (Bounds(),)
    asked = [sessions.ask(partial(_is_any, route, list(unseen), part), rows // len(parts)) for part in parts]

    def counted() -> Mapping[str, int]:
        answers = [is_any() for is_any in asked]
        for error in answers:
            if isinstance(error, DatabaseError):
                raise error
        return _count_all(route, rough) if any(answers) else counts

    return counted


def _is_any(route: Route, unseen: Sequence[str], part: Bounds, engine: Engine) -> bool | DatabaseError:
    """Tell whether any row meets a condition; an error about a row is this question's, and no other's."""
    # One that is unknown hides no other, and many of them are no deep expression.
    cases = " ".join(f"WHEN {condition} THEN 1" for condition in unseen)
    try:
        return bool(_select(replace(route, source=engine), ["1"], f"CASE {cases} END = 1", " LIMIT 1", part))
    except DatabaseError as error:
        if not engine.is_about_rows(error):
            raise
        engine.recover()
        return error


def _count_all(route: Route, rough: Mapping[str, str]) -> Mapping[str, int]:
    sums = _select(route, [f"SUM(CASE WHEN {condition} THEN 1 ELSE 0 END)" for condition in rough])
    # A table outside of the snapshot may have lost its rows meanwhile, and no rows have no sum.
    return {condition: int(count or 0) for condition, count in zip(rough, sums[0], strict=True)}


def _select(
    route: Route, expressions: Sequence[str], condition: str = "", end: str = "", part: Bounds | None = None
) -> list[Row]:
    where, params = conditions(route.source, route.table.key, part or Bounds(), route.restriction)
    if condition:
        where += f"{' AND' if where else ' WHERE'} ({condition})"
    sql = f"SELECT {', '.join(expressions)} FROM {route.source.quote(route.table.name)}{where}{end}"
    return route.source.fetch_all(sql, params)


def _finding(route: Route, question: _Question, count: int) -> Finding:
    source, table = route.source, route.table
    text = f"{plural(count, 'value')}: {question.reason}"
    if table.key:
        chosen = _chosen(route, question.condition, ())
        keys = RowReader(source, table, (), (), chosen).keys(Bounds(), EXAMPLES)
        text += f" (for example primary key {', '.join(key_text(table, key) for key in keys)})"
    rows = FoundRows(table.name, Cause.VALUE, partial(keys_of, route, f"({question.condition})", ()))
    return Finding(f"{table.label}.{question.column.attname}", text, question.advice, is_about_rows=True, rows=rows)


def keys_of(route: Route, condition: str, params: Sequence[Any], source: Engine) -> Iterator[Row]:
    """Read the primary keys of a table's chosen rows that meet a condition, in the source's own values."""
    table = route.table
    names = [source.quote(name) for name in table.key] or ["1"]
    reader = RowReader(source, table, table.key or ("1",), names, _chosen(route, condition, params))
    with source.reading_everything():
        yield from chain.from_iterable(reader.rows(Bounds()))


def _chosen(route: Route, condition: str, params: Sequence[Any]) -> Restriction:
    """Restrict a table to those of its chosen rows that meet a condition."""
    own = route.restriction
    sql = f"({condition})" + (f" AND ({own.sql})" if own else "")
    return Restriction(sql, (*params, *(own.params if own else ())))


def is_told_apart_by_case(column: Column, source_stored: _Stored, dest_stored: _Stored) -> bool:
    """Tell whether texts of a column are the same in the source whatever their case, and not so in the destination."""
    ignores_case = source_stored[column.name].ignores_case and not dest_stored[column.name].ignores_case
    return column.kind is Kind.TEXT and ignores_case


def told_apart_by_case(table: Table, source_stored: _Stored, dest_stored: _Stored) -> list[str]:
    """Name the unique texts of a table for which that is so."""
    names = [
        column.attname
        for columns in _unique_sets(table)
        for column in columns
        if is_told_apart_by_case(column, source_stored, dest_stored)
    ]
    return [f"{table.label}.{name}" for name in dict.fromkeys(names)]


def _unique_sets(table: Table) -> Iterator[Sequence[Column]]:
    meta = table.model._meta
    own = {column.attname: column for column in table.columns}
    by_name = {field.name: own[field.attname] for field in meta.local_concrete_fields if field.attname in own}
    for field in meta.local_concrete_fields:
        if field.unique and field.attname in own:
            yield [own[field.attname]]
    groups = [list(group) for group in meta.unique_together]
    groups += [
        list(constraint.fields)
        for constraint in meta.constraints
        if isinstance(constraint, UniqueConstraint) and constraint.fields and constraint.condition is None
    ]
    for group in groups:
        if all(name in by_name for name in group):
            yield [by_name[name] for name in group]
