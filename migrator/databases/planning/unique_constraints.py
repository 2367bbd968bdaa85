"""Rows of the source that a unique index of the destination allows only once, asked for before the first write."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

from django.db import DatabaseError, transaction
from django.db.models import BaseConstraint, Model, Q, UniqueConstraint

from ...console.wording import plural
from ..chunks import Restriction, key_text
from ..engines.base.constraints import UniqueIndex
from ..engines.base.engine import Engine
from ..engines.base.session import Row
from ..findings import Cause, Finding, FoundRows
from ..tables import Column, StoredColumn
from .check_constraints import certain_condition, words_in
from .constraint_sql import Sql, Uncompilable, condition_sql, constraints_of, expression_sql, fields_in, fields_of
from .destination_trials import MOST_TRIED, Trial, TrialRefusal, is_answerable, unasked
from .route import Route
from .source_view import View, is_folded, view_of

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
    # Its parts and its condition are not certain to mean the same to both: the same in the destination's own SQL.
    tried: tuple[tuple[Sql, ...], Sql | None] | None = None


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
        enforcing = source_indexes if _is_portable(route, columns, index) else []
        if is_enforced(index, enforcing, source_stored, folded):
            continue
        if index.is_plain and not set(index.columns) <= columns.keys():
            yield index.name  # the database fills a column itself
            continue
        ignored = (index.ignores_case, index.ignores_spaces)
        asked = (index.columns, index.condition, index.definition if not index.is_plain else None, ignored)
        if asked not in seen:
            seen.add(asked)
            is_enforced_here = is_enforced(index, enforcing, source_stored)
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
    if mine.expressions and index.expressions:  # of two databases of one engine
        is_alike &= (mine.expressions, mine.condition) == (index.expressions, index.condition)
    return is_alike and (index.nulls_distinct or not mine.nulls_distinct)


def _is_portable(route: Route, columns: Mapping[str, Column], index: UniqueIndex) -> bool:
    """Return whether an index is certain to mean the same to both databases."""
    if index.is_plain or route.source.vendor == route.dest.vendor:
        return True
    constraint = constraints_of(route.table.model).get(index.name)
    if not isinstance(constraint, UniqueConstraint) or None in index.columns:
        return False
    try:
        return constraint.condition is None or certain_condition(route, columns, constraint.condition) is not None
    except Uncompilable:
        return False


def _rule(
    route: Route, columns: Mapping[str, Column], index: UniqueIndex, dest_stored: _Stored, *, is_folded: bool
) -> UniqueRule | None:
    quoted = tuple(Sql(route.source.quote(str(name))) for name in index.columns)
    if index.is_plain:
        used = tuple(columns[str(name)] for name in index.columns)
        fields = tuple(column.attname for column in used)
        name, distinct = name_of(route, index, fields), index.nulls_distinct
        return UniqueRule(name, fields, used, quoted, None, distinct, is_folded, dest_stored)
    tried = None if _is_portable(route, columns, index) else in_dest(route, index)
    model = route.table.model
    constraint = constraints_of(model).get(index.name)
    if not isinstance(constraint, UniqueConstraint):
        known = tried or in_dest(route, index)
        if known is None:
            return None
        words = {word.lower() for sql in (*known[0], known[1]) if sql for word in words_in(sql.text)}
        used = tuple(column for column in columns.values() if column.name.lower() in words)
        fields = tuple(column.attname for column in used)
        parts, condition = ((), None) if tried else known  # which one engine has the same words for
        distinct = index.nulls_distinct
        return UniqueRule(index.name, fields, used, parts, condition, distinct, is_folded, dest_stored, tried)
    fields = tuple(fields_of(model, constraint))
    read = {*fields, *fields_in(model, constraint.condition or Q())}
    used = tuple(column for column in columns.values() if column.attname in read)
    try:
        parts, condition = _compiled(route.source, model, constraint)
    except Uncompilable:
        if tried is None:
            return None
        parts, condition = (), None
    parts = parts or (quoted if None not in index.columns else ())
    return UniqueRule(index.name, fields, used, parts, condition, index.nulls_distinct, is_folded, dest_stored, tried)


def _compiled(engine: Engine, model: type[Model], constraint: UniqueConstraint) -> tuple[tuple[Sql, ...], Sql | None]:
    """Return a constraint's expressions and its condition as SQL of an engine."""
    connection = engine.connection
    condition = condition_sql(model, constraint.condition, connection) if constraint.condition is not None else None
    return tuple(expression_sql(model, expression, connection) for expression in constraint.expressions), condition


def in_dest(route: Route, index: UniqueIndex) -> tuple[tuple[Sql, ...], Sql | None] | None:
    """Return the parts and the condition of an index in the destination's own SQL, if they are known."""
    if index.is_plain:
        return tuple(Sql(route.dest.quote(str(name))) for name in index.columns), None
    if index.expressions:
        condition = None if index.condition is None else Sql(index.condition.replace("%", "%%"))
        return tuple(Sql(text.replace("%", "%%")) for text in index.expressions), condition
    constraint = constraints_of(route.table.model).get(index.name)
    if not isinstance(constraint, UniqueConstraint):
        return None
    try:
        parts, condition = _compiled(route.dest, route.table.model, constraint)
    except Uncompilable:
        return None
    return parts or tuple(Sql(route.dest.quote(str(name))) for name in index.columns), condition


def name_of(route: Route, index: UniqueIndex, fields: tuple[str, ...]) -> str:
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
    """Rows that repeat another one, as pairs of keys: that of the row which comes first is the second."""

    rule: UniqueRule
    rows: int
    # A few of these pairs of keys, and what reads all from the source, in its own values.
    pairs: Sequence[Row]
    keys: Callable[[Engine], Iterator[Row]]
    # Restricts the table to all rows of these pairs; ``None`` if it has no key.
    restriction: Restriction | None = None


def find_repeated(route: Route, engine: Engine, rule: UniqueRule, source_stored: _Stored) -> Repeated | None:
    """Look for rows that break a rule, in the order in which they are loaded.

    Raises :exc:`django.db.DatabaseError` if the source can't evaluate the rule.
    """
    view = view_of(route, engine, rule.columns, source_stored, rule.dest_stored)
    groups = ", ".join(part.text for part in rule.parts)
    of_groups = tuple(param for part in rule.parts for param in part.params)
    where, params = _where(rule, engine, source_stored)
    with engine.tentatively():
        query = f"SELECT 1 FROM {view.sql}{where} GROUP BY {groups} HAVING COUNT(*) > 1 LIMIT 1"
        if not engine.fetch_all(query, (*view.params, *params, *of_groups)):
            return None
        numbered = _numbered(view, where, groups)
        rows = engine.fetch_value(
            f"SELECT COUNT(*) FROM ({numbered}) numbered WHERE nth > 1", (*view.params, *params, *of_groups)
        )
        pairs = _pairs(engine, view, numbered, (*view.params, *params, *of_groups))
    every = partial(_all_pairs, view, numbered, (*view.params, *params, *of_groups))
    return Repeated(rule, int(rows), pairs, every, _both_of(route, view, numbered, (*view.params, *params, *of_groups)))


def _both_of(route: Route, view: View, numbered: str, params: Sequence[object]) -> Restriction | None:
    if not view.key:
        return None
    names = ", ".join(route.source.quote(name) for name in route.table.key)
    kinds = (view.key, [f"first_{name}" for name in view.key])
    found = " UNION ".join(f"SELECT {', '.join(key)} FROM ({numbered}) numbered WHERE nth > 1" for key in kinds)
    return Restriction(f"({names}) IN ({found})", (*params, *params))


def _is_never_null(rule: UniqueRule, engine: Engine, stored: _Stored) -> bool:
    """Return whether the parts are plain columns without NULL; an expression may be NULL of any."""
    columns = {engine.quote(column.name) for column in rule.columns if not stored[column.name].nullable}
    return rule.condition is None and columns.issuperset(part.text for part in rule.parts)


def _where(rule: UniqueRule, engine: Engine, stored: _Stored) -> tuple[str, tuple[object, ...]]:
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


def check_unique(
    route: Route, engine: Engine, rules: Sequence[UniqueRule | str], source_stored: _Stored, rows: int
) -> Iterator[Finding | Trial]:
    """Find rows that break rules, by queries in a session of the source; ``rows``: how many the table has.

    What isn't certain to mean the same there is to be tried in the destination.
    """
    asked = replace(route, source=engine)
    for rule in rules:
        if isinstance(rule, str):
            yield unasked(route, f"unique index {rule}")
            continue
        trial = _trial(route, rule)
        if trial is not None and (rows <= MOST_TRIED or not rule.parts):
            yield trial
            continue
        try:
            found = find_repeated(asked, engine, rule, source_stored)
        except DatabaseError:
            yield trial or unasked(route, f"unique index {rule.name}")
            continue
        if found is not None and trial is not None and found.restriction is not None:
            yield replace(trial, restriction=found.restriction, otherwise=_finding(route, found))
        elif found is not None:
            yield _finding(route, found)


def _trial(route: Route, rule: UniqueRule) -> Trial | None:
    columns = tuple(column.name for column in rule.columns)
    if rule.tried is None or not is_answerable(route, columns):
        return None

    def describe(rows: int, pairs: Sequence[Row], every: Callable[[Engine], Iterator[Row]]) -> Finding:
        return _finding(route, Repeated(rule, rows, pairs, every))

    return Trial(f"unique index {rule.name}", columns, partial(_repeated_there, rule), describe)


def _repeated_there(rule: UniqueRule, dest: Engine, view: View) -> TrialRefusal:
    """Ask the destination for rows that repeat another one, of those that are put there."""
    parts, condition = rule.tried or ((), None)
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
    return TrialRefusal(len(pairs), pairs[:EXAMPLES], pairs)


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
            f"Give the field a db_collation that tells them apart{example}, or change the texts.",
        )
    text = f"{plural(found.rows, 'row')}{reason}{named}"
    rows = FoundRows(route.table.name, Cause.REPEATED, found.keys)
    return Finding(f"{route.table.label}.{', '.join(rule.fields)}", text, advice, is_about_rows=True, rows=rows)
