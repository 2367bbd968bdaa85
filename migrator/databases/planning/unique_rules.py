"""The destination's unique indexes as rules for the source's rows: those that the source's own indexes don't prove."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from django.db.models import BaseConstraint, Model, Q, UniqueConstraint

from ..engines.base.constraints import UniqueIndex
from ..engines.base.engine import Engine
from ..tables import Column
from .check_constraints import certain_condition, words_in
from .columns import Stored
from .constraint_sql import Sql, Uncompilable, condition_sql, constraints_of, expression_sql, fields_in, fields_of
from .source_view import is_folded
from .table_route import Route


class IndexSql(NamedTuple):
    """The parts of a unique index, and its condition if it is partial, as one engine's SQL."""

    parts: tuple[Sql, ...]
    condition: Sql | None


@dataclass(frozen=True)
class UniqueRule:
    """A unique index of the destination as a question to the source.

    Two rows that meet ``condition`` may not be equal in all ``parts``, which are SQL of the source. ``is_folded``: the
    source enforces the same, but compares texts as different that the destination compares as equal. ``dest_stored``:
    the columns by name, with the index's collations. ``dest_sql``: the index in the destination's own SQL, if it isn't
    certain to mean the same in the source's.
    """

    name: str
    fields: tuple[str, ...]
    columns: tuple[Column, ...]
    parts: tuple[Sql, ...]
    condition: Sql | None
    nulls_distinct: bool
    is_folded: bool
    dest_stored: Stored
    dest_sql: IndexSql | None = None


def unique_rules(
    route: Route, source_indexes: Sequence[UniqueIndex], dest_indexes: Sequence[UniqueIndex]
) -> Iterator[UniqueRule | str]:
    """Yield what the destination enforces and the source doesn't, or the index's name if no query can express it."""
    columns = {column.name: column for column in route.table.with_generated().columns if column.name in route.stored}
    seen = set()
    for index in dest_indexes:
        there = _with_collations(index, route.dest_stored)
        folded = {
            name
            for name in index.columns
            if name in columns and is_folded(columns[name], route.stored[name], there[name])
        }
        enforcing = source_indexes if _is_portable(route, columns, index) else []
        if is_enforced(index, enforcing, route.stored, folded):
            continue
        if index.is_plain and not set(index.columns) <= columns.keys():
            yield index.name  # the database fills a column itself
            continue
        ignored = (index.ignores_case, index.ignores_spaces)
        asked = (index.columns, index.condition, index.definition if not index.is_plain else None, ignored)
        if asked not in seen:
            seen.add(asked)
            is_enforced_here = is_enforced(index, enforcing, route.stored)
            yield _rule(route, columns, index, there, is_folded=is_enforced_here) or index.name


def _with_collations(index: UniqueIndex, stored: Stored) -> Stored:
    """Return columns with the index's collations instead of their own."""
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


# -- what the source's indexes prove ---------------------------------------------------------------------------------


def is_enforced(
    index: UniqueIndex, own: Sequence[UniqueIndex], stored: Stored, folded: Collection[str | None] = ()
) -> bool:
    """Whether all rows that one of the source's ``own`` indexes allows are certain to be allowed by ``index``.

    ``folded``: columns with texts that are equal only to the destination.
    """
    return any(
        mine.covers_children
        and not set(folded).intersection(mine.columns) - _equally_loose(mine, index)
        and (_implies(mine, index, stored) or _is_same(mine, index))
        for mine in own
    )


def _equally_loose(mine: UniqueIndex, index: UniqueIndex) -> set[str]:
    """Return the columns whose texts both indexes compare as equal, by collations of their own."""
    return set((mine.ignores_case & index.ignores_case) | (mine.ignores_spaces & index.ignores_spaces))


def _implies(mine: UniqueIndex, index: UniqueIndex, stored: Stored) -> bool:
    if not (mine.is_plain and set(mine.columns) <= set(index.columns)):
        return False
    is_never_null = all(name in stored and not stored[name].nullable for name in mine.columns if name is not None)
    return index.nulls_distinct or not mine.nulls_distinct or is_never_null


def _is_same(mine: UniqueIndex, index: UniqueIndex) -> bool:
    """Whether two indexes enforce the same: Django gives the indexes of one constraint the same name everywhere."""
    is_alike = (mine.name, mine.columns, mine.condition is None) == (index.name, index.columns, index.condition is None)
    if mine.expressions and index.expressions:  # of two databases of one engine
        is_alike &= (mine.expressions, mine.condition) == (index.expressions, index.condition)
    return is_alike and (index.nulls_distinct or not mine.nulls_distinct)


def _is_portable(route: Route, columns: Mapping[str, Column], index: UniqueIndex) -> bool:
    """Whether an index is certain to mean the same to both databases."""
    if index.is_plain or route.source.vendor == route.dest.vendor:
        return True
    constraint = constraints_of(route.table.model).get(index.name)
    if not isinstance(constraint, UniqueConstraint) or None in index.columns:
        return False
    try:
        return constraint.condition is None or certain_condition(route, columns, constraint.condition) is not None
    except Uncompilable:
        return False


# -- rules -------------------------------------------------------------------------------------------------------------


def _rule(
    route: Route, columns: Mapping[str, Column], index: UniqueIndex, dest_stored: Stored, *, is_folded: bool
) -> UniqueRule | None:
    if index.is_plain:
        return _plain_rule(route, columns, index, dest_stored, is_folded=is_folded)
    dest_sql = None if _is_portable(route, columns, index) else in_dest(route, index)
    constraint = constraints_of(route.table.model).get(index.name)
    if isinstance(constraint, UniqueConstraint):
        fields = tuple(fields_of(route.table.model, constraint))
        read = {*fields, *fields_in(route.table.model, constraint.condition or Q())}
        used = tuple(column for column in columns.values() if column.attname in read)
        sql = _in_source(route, index, constraint, dest_sql)
    else:
        known = dest_sql or in_dest(route, index)
        used = () if known is None else columns_in(known, columns)
        fields = tuple(column.attname for column in used)
        sql = IndexSql((), None) if dest_sql else known  # two databases of one engine share its SQL
    if sql is None:
        return None
    return UniqueRule(index.name, fields, used, *sql, index.nulls_distinct, is_folded, dest_stored, dest_sql)


def _plain_rule(
    route: Route, columns: Mapping[str, Column], index: UniqueIndex, dest_stored: Stored, *, is_folded: bool
) -> UniqueRule:
    used = tuple(columns[str(name)] for name in index.columns)
    fields = tuple(column.attname for column in used)
    name, parts = name_of(route, index, fields), _quoted(route.source, index)
    return UniqueRule(name, fields, used, parts, None, index.nulls_distinct, is_folded, dest_stored)


def _in_source(
    route: Route, index: UniqueIndex, constraint: UniqueConstraint, dest_sql: IndexSql | None
) -> IndexSql | None:
    """Return a model's constraint as SQL of the source; ``None`` if neither database can evaluate it."""
    try:
        parts, condition = _compiled(route.source, route.table.model, constraint)
    except Uncompilable:
        if dest_sql is None:
            return None
        parts, condition = (), None
    return IndexSql(parts or (_quoted(route.source, index) if None not in index.columns else ()), condition)


def in_dest(route: Route, index: UniqueIndex) -> IndexSql | None:
    """Return an index as the destination's own SQL, if that is known."""
    if index.is_plain:
        return IndexSql(_quoted(route.dest, index), None)
    if index.expressions:
        condition = None if index.condition is None else Sql(index.condition.replace("%", "%%"))
        return IndexSql(tuple(Sql(text.replace("%", "%%")) for text in index.expressions), condition)
    constraint = constraints_of(route.table.model).get(index.name)
    if not isinstance(constraint, UniqueConstraint):
        return None
    try:
        parts, condition = _compiled(route.dest, route.table.model, constraint)
    except Uncompilable:
        return None
    return IndexSql(parts or _quoted(route.dest, index), condition)


def columns_in(sql: IndexSql, columns: Mapping[str, Column]) -> tuple[Column, ...]:
    """Return the columns, of these by name, that an index's SQL may read."""
    words = {word.lower() for one in (*sql.parts, sql.condition) if one for word in words_in(one.text)}
    return tuple(column for column in columns.values() if column.name.lower() in words)


def _quoted(engine: Engine, index: UniqueIndex) -> tuple[Sql, ...]:
    return tuple(Sql(engine.quote(str(name))) for name in index.columns)


def _compiled(engine: Engine, model: type[Model], constraint: UniqueConstraint) -> IndexSql:
    """Return a constraint's expressions and its condition as SQL of an engine."""
    connection = engine.connection
    condition = condition_sql(model, constraint.condition, connection) if constraint.condition is not None else None
    parts = tuple(expression_sql(model, expression, connection) for expression in constraint.expressions)
    return IndexSql(parts, condition)


def name_of(route: Route, index: UniqueIndex, fields: tuple[str, ...]) -> str:
    """Return an index's name, or that of the model's constraint over these fields if its engine has no name for it."""
    if index.name:
        return index.name
    model = route.table.model
    return next((name for name, own in constraints_of(model).items() if _is_over(model, own, fields)), "a unique key")


def _is_over(model: type[Model], constraint: BaseConstraint, fields: tuple[str, ...]) -> bool:
    is_plain = isinstance(constraint, UniqueConstraint) and constraint.condition is None
    return is_plain and tuple(fields_of(model, constraint)) == fields
