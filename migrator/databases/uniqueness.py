"""Rows of the source that a unique index of the destination allows only once, asked for before the first write."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

from django.db import DatabaseError
from django.db.models import BaseConstraint, Model, Q, UniqueConstraint

from ..wording import plural
from .chunks import key_text
from .compiled import Sql, Uncompilable, condition_sql, constraints_of, expression_sql, fields_in, fields_of
from .engines.base.constraints import UniqueIndex
from .engines.base.engine import Engine
from .engines.base.session import Row
from .findings import Cause, Finding, FoundRows
from .route import Route
from .tables import Column, StoredColumn
from .view import View, is_folded, view_of

_Stored = Mapping[str, StoredColumn]

EXAMPLES = 3


@dataclass(frozen=True)
class UniqueRule:
    """A unique index of the destination as a question to the source.

    Two rows that ``condition`` is true of may not be equal in all ``parts``. ``is_folded``: the source enforces the
    same, but tells texts apart that the destination takes for equal. ``dest_stored`` has the columns as the index sees
    them.
    """

    name: str
    fields: tuple[str, ...]
    columns: tuple[Column, ...]
    parts: tuple[Sql, ...]
    condition: Sql | None
    nulls_distinct: bool
    is_folded: bool
    dest_stored: _Stored


def unique_rules(
    route: Route,
    source_stored: _Stored,
    dest_stored: _Stored,
    source_indexes: Sequence[UniqueIndex],
    dest_indexes: Sequence[UniqueIndex],
) -> Iterator[UniqueRule | str]:
    """Yield what the destination enforces and the source doesn't, or the name of an index that can't be asked about."""
    columns = {column.name: column for column in route.table.with_generated().columns if column.name in source_stored}
    seen = set()
    for index in dest_indexes:
        there = _as_seen_by(index, dest_stored)
        folded = {name for name in index.columns if name in columns and is_folded(columns[name], source_stored, there)}
        if is_enforced(index, source_indexes, source_stored, folded):
            continue
        if index.is_plain and not set(index.columns) <= columns.keys():
            yield index.name  # the database fills a column itself
            continue
        ignored = (index.ignores_case, index.ignores_spaces)
        asked = (index.columns, index.condition, index.definition if not index.is_plain else None, ignored)
        if asked not in seen:
            seen.add(asked)
            is_enforced_here = is_enforced(index, source_indexes, source_stored)
            yield _rule(route, columns, index, there, is_folded=is_enforced_here) or index.name


def _as_seen_by(index: UniqueIndex, stored: _Stored) -> _Stored:
    """Return columns with the index's collations in the place of their own."""
    loose = {
        name: replace(
            stored[name],
            ignores_ascii_case=stored[name].ignores_ascii_case or name in index.ignores_case,
            ignores_spaces=stored[name].ignores_spaces or name in index.ignores_spaces,
        )
        for name in index.ignores_case | index.ignores_spaces
        if name in stored
    }
    return {**stored, **loose}


def is_enforced(
    index: UniqueIndex, own: Sequence[UniqueIndex], stored: _Stored, folded: Collection[str | None] = ()
) -> bool:
    """Return whether rows that one of the source's ``own`` indexes allows are certain to be allowed by another.

    ``folded`` columns hold texts that are equal only to the latter.
    """
    return any(
        mine.covers_children
        and not set(folded).intersection(mine.columns) - _as_loose(mine, index)
        and (_implies(mine, index, stored) or _is_same(mine, index))
        for mine in own
    )


def _as_loose(mine: UniqueIndex, index: UniqueIndex) -> set[str]:
    """Return the columns whose texts both take for equal by collations of their own."""
    return set((mine.ignores_case & index.ignores_case) | (mine.ignores_spaces & index.ignores_spaces))


def _implies(mine: UniqueIndex, index: UniqueIndex, stored: _Stored) -> bool:
    if not (mine.is_plain and set(mine.columns) <= set(index.columns)):
        return False
    is_never_null = all(name in stored and not stored[name].nullable for name in mine.columns if name is not None)
    return index.nulls_distinct or not mine.nulls_distinct or is_never_null


def _is_same(mine: UniqueIndex, index: UniqueIndex) -> bool:
    """Compare two indexes of one name: Django gives what it makes in two databases of one constraint the same."""
    is_alike = (mine.name, mine.columns, mine.condition is None) == (index.name, index.columns, index.condition is None)
    return is_alike and (index.nulls_distinct or not mine.nulls_distinct)


def _rule(
    route: Route, columns: Mapping[str, Column], index: UniqueIndex, dest_stored: _Stored, *, is_folded: bool
) -> UniqueRule | None:
    model, connection = route.table.model, route.source.connection
    quoted = tuple(Sql(route.source.quote(str(name))) for name in index.columns)
    if index.is_plain:
        used = tuple(columns[str(name)] for name in index.columns)
        fields = tuple(column.attname for column in used)
        name, distinct = _name(route, index, fields), index.nulls_distinct
        return UniqueRule(name, fields, used, quoted, None, distinct, is_folded, dest_stored)
    constraint = constraints_of(model).get(index.name)
    if not isinstance(constraint, UniqueConstraint):
        return None
    try:
        condition = None
        if constraint.condition is not None:
            condition = condition_sql(model, constraint.condition, connection)
        parts = tuple(expression_sql(model, expression, connection) for expression in constraint.expressions) or quoted
    except Uncompilable:
        return None
    fields = tuple(fields_of(model, constraint))
    read = {*fields, *fields_in(model, constraint.condition or Q())}
    used = tuple(column for column in columns.values() if column.attname in read)
    return UniqueRule(index.name, fields, used, parts, condition, index.nulls_distinct, is_folded, dest_stored)


def _name(route: Route, index: UniqueIndex, fields: tuple[str, ...]) -> str:
    """Return what an index of plain columns is called in the model, if its engine has no name for it."""
    if index.name:
        return index.name
    model = route.table.model
    return next((name for name, own in constraints_of(model).items() if _is_over(model, own, fields)), "a unique key")


def _is_over(model: type[Model], constraint: BaseConstraint, fields: tuple[str, ...]) -> bool:
    is_plain = isinstance(constraint, UniqueConstraint) and constraint.condition is None
    return is_plain and tuple(fields_of(model, constraint)) == fields


@dataclass(frozen=True)
class Repeated:
    """Rows that repeat another one: how many, and a few of them as pairs of keys, the row that comes first second."""

    rule: UniqueRule
    rows: int
    pairs: tuple[tuple[str, str], ...]
    # Reads all of these pairs from the source, in its own values.
    keys: Callable[[Engine], Iterator[Row]]


def find_repeated(route: Route, engine: Engine, rule: UniqueRule, source_stored: _Stored) -> Repeated | None:
    """Look for rows that break a rule, in the order in which they are loaded.

    Raises :exc:`django.db.DatabaseError` if the source can't evaluate the rule.
    """
    view = view_of(route, engine, rule.columns, source_stored, rule.dest_stored)
    groups = ", ".join(part.text for part in rule.parts)
    of_groups = tuple(param for part in rule.parts for param in part.params)
    where, params = _where(rule, source_stored)
    with engine.tentatively():
        query = f"SELECT 1 FROM {view.sql}{where} GROUP BY {groups} HAVING COUNT(*) > 1 LIMIT 1"
        if not engine.fetch_all(query, (*view.params, *params, *of_groups)):
            return None
        numbered = _numbered(view, where, groups)
        rows = engine.fetch_value(
            f"SELECT COUNT(*) FROM ({numbered}) numbered WHERE nth > 1", (*view.params, *params, *of_groups)
        )
        pairs = _pairs(route, engine, view, numbered, (*view.params, *params, *of_groups))
    every = partial(_all_pairs, view, numbered, (*view.params, *params, *of_groups))
    return Repeated(rule, int(rows), pairs, every)


def _where(rule: UniqueRule, stored: _Stored) -> tuple[str, tuple[object, ...]]:
    tests: list[str] = []
    params: tuple[object, ...] = ()
    if rule.condition is not None:
        tests.append(f"({rule.condition.text})")
        params += rule.condition.params
    if rule.nulls_distinct and (rule.condition or any(stored[column.name].nullable for column in rule.columns)):
        for part in rule.parts:
            tests.append(f"{part.text} IS NOT NULL")
            params += part.params
    return (f" WHERE {' AND '.join(tests)}" if tests else ""), params


def _numbered(view: View, where: str, groups: str) -> str:
    ordering = ", ".join(view.key) or "1"
    firsts = "".join(f", FIRST_VALUE({name}) OVER same AS first_{name}" for name in view.key)
    names = "".join(f"{name}, " for name in view.key)
    window = f"WINDOW same AS (PARTITION BY {groups} ORDER BY {ordering})"
    return f"SELECT {names}ROW_NUMBER() OVER same AS nth{firsts} FROM {view.sql}{where} {window}"


def _pairs(
    route: Route, engine: Engine, view: View, numbered: str, params: Sequence[object]
) -> tuple[tuple[str, str], ...]:
    table, width = route.table, len(view.key)
    if not width:
        return ()
    names = ", ".join([*view.key, *(f"first_{name}" for name in view.key)])
    with engine.reading_everything():
        rows = engine.fetch_all(
            f"SELECT {names} FROM ({numbered}) numbered WHERE nth > 1 ORDER BY {', '.join(view.key)} LIMIT {EXAMPLES}",
            params,
        )
    return tuple((key_text(table, row[:width]), key_text(table, row[width:])) for row in rows)


def _all_pairs(view: View, numbered: str, params: Sequence[object], source: Engine) -> Iterator[Row]:
    names = ", ".join([*view.key, *(f"first_{name}" for name in view.key)]) or "1"
    with source.reading_everything():
        sql = f"SELECT {names} FROM ({numbered}) numbered WHERE nth > 1"
        yield from chain.from_iterable(source.stream(sql, params))


def check_unique(
    route: Route, engine: Engine, rules: Sequence[UniqueRule | str], source_stored: _Stored
) -> Iterator[Finding]:
    """Find rows that break rules, by queries in a session of the source; what it can't evaluate is noted."""
    asked = replace(route, source=engine)
    for rule in rules:
        name = rule if isinstance(rule, str) else rule.name
        try:
            found = None if isinstance(rule, str) else find_repeated(asked, engine, rule, source_stored)
        except DatabaseError:
            rule, found = name, None
        if isinstance(rule, str):
            yield Finding(
                route.table.label,
                f"whether rows break the unique index {name} of {route.dest.alias!r} can't be asked of "
                f"{route.source.alias!r}",
                "Each row is checked while it is loaded.",
                stops=False,
            )
        elif found is not None:
            yield _finding(route, found)


def _finding(route: Route, found: Repeated) -> Finding:
    rule = found.rule
    examples = ", ".join(f"{later} repeats {first}" for later, first in found.pairs)
    named = f" (for example primary key {examples})" if examples else ""
    has = "has" if found.rows == 1 else "have"
    reason, advice = (
        f" {has} the same values as another, which {rule.name} of {route.dest.alias!r} allows only once",
        "Correct or delete one row of each pair in the source.",
    )
    if rule.is_folded:
        example = f" ({route.dest.names_collation})" if route.dest.names_collation else ""
        reason, advice = (
            ": unique texts differ only in case or in spaces at the end, which the destination's collation ignores",
            f"Give the field a db_collation that tells them apart{example}, or change the texts.",
        )
    text = f"{plural(found.rows, 'row')}{reason}{named}"
    rows = FoundRows(route.table.name, Cause.REPEATED, found.keys)
    return Finding(f"{route.table.label}.{', '.join(rule.fields)}", text, advice, is_about_rows=True, rows=rows)
