"""Rows of the source that a unique index of the destination rejects as duplicates, found before the first write."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

from django.db import DatabaseError, transaction

from ...console.wording import plural
from ..chunks import Restriction
from ..engines.base.engine import Engine
from ..engines.base.session import Row
from ..findings import Cause, Finding, FoundRows
from ..primary_keys import key_text
from .columns import Stored
from .constraint_sql import Sql
from .destination_trials import MOST_TRIED, Trial, TrialResult, can_be_tried, not_checked
from .source_view import View, view_of
from .table_route import Route
from .unique_rules import IndexSql, UniqueRule

EXAMPLES = 3


def check_unique(
    route: Route, engine: Engine, rules: Sequence[UniqueRule | str], rows: int
) -> Iterator[Finding | Trial]:
    """Find rows that break rules, by queries in a session of the source; ``rows``: how many the table has.

    Yield a trial in the destination for a rule that isn't certain to mean the same in the source. A rule that is only
    the name of an index is reported as unchecked.
    """
    in_session = replace(route, source=engine)
    for rule in rules:
        if isinstance(rule, str):
            yield not_checked(route, f"unique index {rule}")
            continue
        trial = _trial(route, rule)
        if trial is not None and (rows <= MOST_TRIED or not rule.parts):
            yield trial
            continue
        try:
            found = find_repeated(in_session, engine, rule)
        except DatabaseError:
            yield trial or not_checked(route, f"unique index {rule.name}")
            continue
        if found is not None and trial is not None and found.restriction is not None:
            yield replace(trial, restriction=found.restriction, fallback=_finding(route, found))
        elif found is not None:
            yield _finding(route, found)


@dataclass(frozen=True)
class Repeated:
    """Rows that repeat an earlier one, as pairs of primary keys: the key of the repeating row, then of the earlier one.

    ``pairs`` are a few of them; ``keys`` reads all from the source, in its own values. ``restriction`` restricts the
    table to all rows of these pairs; ``None`` if it has no primary key.
    """

    rule: UniqueRule
    rows: int
    pairs: Sequence[Row]
    keys: Callable[[Engine], Iterator[Row]]
    restriction: Restriction | None = None


def find_repeated(route: Route, engine: Engine, rule: UniqueRule) -> Repeated | None:
    """Find rows that break a rule, in the order in which they are loaded.

    Raises :exc:`django.db.DatabaseError` if the source can't evaluate the rule.
    """
    view = view_of(replace(route, dest_stored=rule.dest_stored), engine, rule.columns)
    groups = ", ".join(part.text for part in rule.parts)
    where, where_params = _where(rule, engine, route.stored)
    params = (*view.params, *where_params, *(param for part in rule.parts for param in part.params))
    with engine.tentatively():
        query = f"SELECT 1 FROM {view.sql}{where} GROUP BY {groups} HAVING COUNT(*) > 1 LIMIT 1"
        if not engine.fetch_all(query, params):
            return None
        numbered = _numbered(view, where, groups)
        rows = engine.fetch_value(f"SELECT COUNT(*) FROM ({numbered}) numbered WHERE nth > 1", params)
        pairs = _pairs(engine, view, numbered, params)
    every = partial(_all_pairs, view, numbered, params)
    return Repeated(rule, int(rows), pairs, every, _both_of(route, view, numbered, params))


def _both_of(route: Route, view: View, numbered: str, params: Sequence[object]) -> Restriction | None:
    """Restrict a table to both rows of each pair."""
    if not view.key:
        return None
    names = ", ".join(route.source.quote(name) for name in route.table.key)
    kinds = (view.key, [f"first_{name}" for name in view.key])
    found = " UNION ".join(f"SELECT {', '.join(key)} FROM ({numbered}) numbered WHERE nth > 1" for key in kinds)
    return Restriction(f"({names}) IN ({found})", (*params, *params))


def _is_never_null(rule: UniqueRule, engine: Engine, stored: Stored) -> bool:
    """Whether the parts are plain columns without NULL; an expression may be NULL for any values."""
    columns = {engine.quote(column.name) for column in rule.columns if not stored[column.name].nullable}
    return rule.condition is None and columns.issuperset(part.text for part in rule.parts)


def _where(rule: UniqueRule, engine: Engine, stored: Stored) -> tuple[str, tuple[object, ...]]:
    tests: list[str] = []
    params: tuple[object, ...] = ()
    if rule.condition is not None:
        tests.append(f"({rule.condition.text})")
        params += rule.condition.params
    if rule.nulls_distinct and not _is_never_null(rule, engine, stored):
        for part in rule.parts:
            tests.append(f"{part.text} IS NOT NULL")
            params += part.params
    return (f" WHERE {' AND '.join(tests)}" if tests else ""), params


def _numbered(view: View, where: str, groups: str) -> str:
    """Return the query that numbers the rows of each group of equal ones, as ``nth``, with the key of the first."""
    ordering = ", ".join(view.key) or "1"
    firsts = "".join(f", FIRST_VALUE({name}) OVER same AS first_{name}" for name in view.key)
    names = "".join(f"{name}, " for name in view.key)
    window = f"WINDOW same AS (PARTITION BY {groups} ORDER BY {ordering})"
    return f"SELECT {names}ROW_NUMBER() OVER same AS nth{firsts} FROM {view.sql}{where} {window}"


def _pairs(engine: Engine, view: View, numbered: str, params: Sequence[object]) -> list[Row]:
    if not view.key:
        return []
    names = ", ".join([*view.key, *(f"first_{name}" for name in view.key)])
    with engine.reading_everything():
        return engine.fetch_all(
            f"SELECT {names} FROM ({numbered}) numbered WHERE nth > 1 ORDER BY {', '.join(view.key)} LIMIT {EXAMPLES}",
            params,
        )


def _all_pairs(view: View, numbered: str, params: Sequence[object], source: Engine) -> Iterator[Row]:
    names = ", ".join([*view.key, *(f"first_{name}" for name in view.key)]) or "1"
    with source.reading_everything():
        sql = f"SELECT {names} FROM ({numbered}) numbered WHERE nth > 1"
        yield from chain.from_iterable(source.stream(sql, params))


def _trial(route: Route, rule: UniqueRule) -> Trial | None:
    columns = tuple(column.name for column in rule.columns)
    if rule.dest_sql is None or not can_be_tried(route, columns):
        return None

    def describe(rows: int, pairs: Sequence[Row], every: Callable[[Engine], Iterator[Row]]) -> Finding:
        return _finding(route, Repeated(rule, rows, pairs, every))

    return Trial(f"unique index {rule.name}", columns, partial(_repeated_in_dest, rule), describe)


def _repeated_in_dest(rule: UniqueRule, dest: Engine, view: View) -> TrialResult:
    """Find rows that repeat an earlier one, among those copied into the destination's temporary table."""
    parts, condition = rule.dest_sql or IndexSql((), None)
    tests = [condition] if condition is not None else []
    tests += [Sql(f"{part.text} IS NOT NULL", part.params) for part in parts] if rule.nulls_distinct else []
    where = f" WHERE {' AND '.join(f'({test.text})' for test in tests)}" if tests else ""
    (number,) = view.key
    window = f"PARTITION BY {', '.join(part.text for part in parts)}"
    firsts = f"SELECT {number}, MIN({number}) OVER ({window}) AS earliest FROM {view.sql}{where}"
    params = [param for sql in (*parts, *tests) for param in sql.params]
    sql = f"SELECT {number}, earliest FROM ({firsts}) firsts WHERE {number} > earliest ORDER BY {number}"
    with transaction.atomic(using=dest.alias):
        pairs = [(int(later), int(first)) for later, first in dest.fetch_all(sql, params)]
    return TrialResult(len(pairs), pairs[:EXAMPLES], pairs)


def _finding(route: Route, found: Repeated) -> Finding:
    rule, table, width = found.rule, route.table, len(route.table.key)
    shown = [(key_text(table, pair[:width]), key_text(table, pair[width:])) for pair in found.pairs if pair]
    examples = ", ".join(f"{later} repeats {first}" for later, first in shown)
    named = f" (for example primary key {examples})" if examples else ""
    has = "has" if found.rows == 1 else "have"
    reason, advice = (
        f" {has} the same values as another, which {rule.name} of {route.dest.alias!r} allows only once",
        "Correct or delete one row of each pair in the source.",
    )
    if rule.is_folded:
        collation = route.dest.features.names_collation
        example = f" ({collation})" if collation else ""
        reason, advice = (
            ": unique texts differ only in case or in spaces at the end, which the destination's collation ignores",
            f"Give the field a db_collation that distinguishes them{example}, or change the texts.",
        )
    text = f"{plural(found.rows, 'row')}{reason}{named}"
    rows = FoundRows(route.table.name, Cause.REPEATED, found.keys)
    return Finding(f"{route.table.label}.{', '.join(rule.fields)}", text, advice, is_about_rows=True, rows=rows)
