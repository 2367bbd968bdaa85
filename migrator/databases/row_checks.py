"""Rows of the source that a CHECK constraint of the destination refuses, asked for before the first write."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

from django.db import DatabaseError
from django.db.models import CheckConstraint

from ..wording import plural
from .chunks import key_text
from .compiled import Sql, Uncompilable, condition_sql, constraints_of, fields_of
from .engines.base.constraints import Check
from .engines.base.engine import Engine
from .engines.base.session import Row
from .findings import Cause, Finding, FoundRows
from .portable import translate
from .route import Route
from .tables import Column, StoredColumn
from .view import View, is_folded, view_of

_Stored = Mapping[str, StoredColumn]

EXAMPLES = 3
NAMES = re.compile(r'"((?:[^"]|"")+)"|`((?:[^`]|``)+)`|(\w+)')
INSIGNIFICANT = re.compile(r"""[\s"`()\[\]]""")


@dataclass(frozen=True)
class RowRule:
    """A condition that each row has to meet in the destination; it may be unknown, as with NULL.

    ``reason`` says what is wrong with rows that don't, with one of the ``verbs``, for one row or several, in its
    braces. ``as_stored``: the condition is about the source's own texts, whatever equals what in the destination.
    """

    name: str
    reason: str
    fields: tuple[str, ...]
    columns: tuple[Column, ...]
    condition: Sql
    verbs: tuple[str, str] = ("breaks", "break")
    as_stored: bool = False
    advice: str = "Correct or delete these rows in the source."


def check_rules(
    route: Route, source_stored: _Stored, dest_stored: _Stored, own: Sequence[Check], others: Sequence[Check]
) -> Iterator[RowRule | str]:
    """Yield the destination's checks (``others``) that the source's ``own`` don't prove, or the name of one that can't
    be asked about.
    """
    columns = {column.name: column for column in route.table.with_generated().columns if column.name in source_stored}
    held = {check.name for check in own if check.name}
    proven = {check.name for check in own if check.is_validated and check.name}
    of_fields = _checks_of_fields(route)
    for check in others:
        if check.name in proven or _bare(check.expression) in of_fields:
            continue
        rule = _rule(route, columns, source_stored, dest_stored, check)
        if rule is not None:
            yield rule
        elif check.name not in held:
            yield check.name or "without a name"


def words_in(*expressions: str) -> set[str]:
    """Return all that may be a column's name in SQL, quoted or not."""
    return {next(filter(None, found.groups())) for text in expressions for found in NAMES.finditer(text)}


def _checks_of_fields(route: Route) -> set[str]:
    """Return the checks that Django makes of fields by itself, which the fields' own limits stand for."""
    fields = route.table.model._meta.local_concrete_fields
    return {_bare(check) for field in fields if (check := field.db_check(route.dest.connection))}


def _bare(expression: str) -> str:
    return INSIGNIFICANT.sub("", expression).lower()


def _rule(
    route: Route, columns: Mapping[str, Column], source_stored: _Stored, dest_stored: _Stored, check: Check
) -> RowRule | None:
    model = route.table.model
    constraint = constraints_of(model).get(check.name)
    if isinstance(constraint, CheckConstraint):
        try:
            condition = condition_sql(model, constraint.condition, route.source.connection)
        except Uncompilable:
            return None
        fields = tuple(fields_of(model, constraint))
        used = tuple(column for column in columns.values() if column.attname in fields)
    else:
        text = _translated(route, columns, check)
        condition = None if text is None else Sql(text)
        words = words_in(check.expression)
        used = tuple(column for name, column in columns.items() if name in words)
        fields = tuple(column.attname for column in used)
    # To a destination that ignores case, more texts are equal than to the source.
    if condition is None or any(is_folded(column, source_stored, dest_stored) for column in used):
        return None
    what = f"the check constraint {check.name}" if check.name else "a check constraint"
    if check.is_partitioning:
        return RowRule(
            check.name,
            f"{{}} no partition in {route.dest.alias!r}",
            fields,
            used,
            condition,
            ("has", "have"),
            advice="Make the partitions for these rows in the destination.",
        )
    return RowRule(check.name, f"{{}} {what} of {route.dest.alias!r}", fields, used, condition)


def _translated(route: Route, columns: Mapping[str, Column], check: Check) -> str | None:
    """Return a check of the destination's catalogue as SQL of the source."""
    source, dest = route.source, route.dest
    if source.vendor == dest.vendor:
        return check.expression.replace("%", "%%")
    if "with time zone" in check.expression and source.connection.timezone_name != "UTC":
        return None  # it keeps moments as the local time of another zone
    return translate(
        check.expression,
        columns,
        source.quote,
        length=source.constraints.character_length,
        lengths=dest.constraints.character_lengths,
    )


def check_rows(
    route: Route, engine: Engine, rules: Sequence[RowRule | str], source_stored: _Stored, dest_stored: _Stored
) -> Iterator[Finding]:
    """Find rows that break rules, by queries in a session of the source; what it can't evaluate is noted."""
    asked = replace(route, source=engine)
    for rule in rules:
        name = rule if isinstance(rule, str) else rule.name
        try:
            found = None if isinstance(rule, str) else _find(asked, engine, rule, source_stored, dest_stored)
        except DatabaseError:
            rule, found = name, None
        if isinstance(rule, str):
            yield Finding(
                route.table.label,
                f"whether rows break the check constraint {name} of {route.dest.alias!r} can't be asked of "
                f"{route.source.alias!r}",
                "Each row is checked while it is loaded.",
                stops=False,
            )
        elif found is not None:
            yield found


def _find(route: Route, engine: Engine, rule: RowRule, source_stored: _Stored, dest_stored: _Stored) -> Finding | None:
    view = view_of(route, engine, rule.columns, source_stored, dest_stored, as_stored=rule.as_stored)
    where, params = f" WHERE NOT ({rule.condition.text})", (*view.params, *rule.condition.params)
    with engine.tentatively():
        if not engine.fetch_all(f"SELECT 1 FROM {view.sql}{where} LIMIT 1", params):
            return None
        rows = int(engine.fetch_value(f"SELECT COUNT(*) FROM {view.sql}{where}", params))
        keys = _keys(route, engine, view, where, params)
    examples = f" (for example primary key {', '.join(keys)})" if keys else ""
    return Finding(
        f"{route.table.label}.{', '.join(rule.fields)}" if rule.fields else route.table.label,
        f"{plural(rows, 'row')} {rule.reason.format(rule.verbs[rows != 1])}{examples}",
        rule.advice,
        is_about_rows=True,
        rows=FoundRows(route.table.name, Cause.VALUE, partial(_all_keys, view, where, params)),
    )


def _all_keys(view: View, where: str, params: Sequence[object], source: Engine) -> Iterator[Row]:
    names = ", ".join(view.key) or "1"
    with source.reading_everything():
        yield from chain.from_iterable(source.stream(f"SELECT {names} FROM {view.sql}{where}", params))


def _keys(route: Route, engine: Engine, view: View, where: str, params: Sequence[object]) -> list[str]:
    if not view.key:
        return []
    names = ", ".join(view.key)
    with engine.reading_everything():
        rows = engine.fetch_all(f"SELECT {names} FROM {view.sql}{where} ORDER BY {names} LIMIT {EXAMPLES}", params)
    return [key_text(route.table, row) for row in rows]
