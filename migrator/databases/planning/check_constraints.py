"""Rows of the source that a CHECK constraint of the destination rejects, found before the first write."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Any

from django.db import DatabaseError
from django.db.models import CheckConstraint

from ...console.wording import plural
from ..chunks import Restriction
from ..engines.base.constraints import Check
from ..engines.base.engine import Engine
from ..engines.base.portable_sql import TargetSql
from ..engines.base.session import Row
from ..findings import Cause, Finding, FoundRows
from ..primary_keys import key_text
from ..tables import Column, Kind
from .constraint_sql import Sql, Uncompilable, condition_sql, constraints_of, fields_of
from .destination_trials import Trial, can_be_tried, not_checked, rejected_by
from .source_view import View, is_folded, view_of
from .table_route import Route

EXAMPLES = 3
NAMES = re.compile(r'"((?:[^"]|"")+)"|`((?:[^`]|``)+)`|(\w+)')
INSIGNIFICANT = re.compile(r"""[\s"`()\[\]]""")


@dataclass(frozen=True)
class RowRule:
    """A condition that every row has to meet in the destination; NULL meets it, as in CHECK.

    ``reason`` describes rows that don't, with one of the ``verbs``, for one row or several, in its braces.
    ``condition`` is SQL of the source, ``None`` if it isn't certain to mean the same there; ``dest_sql`` is SQL of the
    destination. ``as_stored``: the condition reads the source's texts as they are, regardless of collations.
    """

    name: str
    reason: str
    fields: tuple[str, ...]
    columns: tuple[Column, ...]
    condition: Sql | None
    verbs: tuple[str, str] = ("violates", "violate")
    as_stored: bool = False
    advice: str = "Correct or delete these rows in the source."
    dest_sql: str | None = None

    @property
    def what(self) -> str:
        """The constraint in words."""
        return f"check constraint {self.name or 'without a name'}"


def check_rules(route: Route, source_checks: Sequence[Check], dest_checks: Sequence[Check]) -> Iterator[RowRule]:
    """Yield rules for the destination's checks, except those that the source's checks prove."""
    columns = {column.name: column for column in route.table.with_generated().columns if column.name in route.stored}
    proven = {check.name: check for check in source_checks if check.is_validated and check.name}
    of_fields = _checks_of_fields(route)
    for check in dest_checks:
        if _bare(check.expression) in of_fields:
            continue
        text = _translated(route, columns, check)
        if check.name in proven and _is_same(route, columns, proven[check.name], check, text):
            continue
        yield _rule(route, columns, check, text)


def _is_same(route: Route, columns: Mapping[str, Column], own: Check, other: Check, text: str | None) -> bool:
    """Whether a check of the source equals one of the destination; ``text``: the latter as SQL of the source."""
    if route.source.vendor == route.dest.vendor:
        return _bare(own.expression) == _bare(other.expression)
    there = _as_source(route, columns, own)
    return text is not None and there is not None and _bare(there) == _bare(text)


def words_in(*expressions: str) -> set[str]:
    """Return every word in SQL that may be the name of a column, quoted or not."""
    return {next(filter(None, found.groups())) for text in expressions for found in NAMES.finditer(text)}


def _checks_of_fields(route: Route) -> set[str]:
    """Return the checks that Django itself gives to fields; the limits of their columns cover these."""
    fields = route.table.model._meta.local_concrete_fields
    return {_bare(check) for field in fields if (check := field.db_check(route.dest.connection))}


def _bare(expression: str) -> str:
    return INSIGNIFICANT.sub("", expression).lower()


def _rule(route: Route, columns: Mapping[str, Column], check: Check, text: str | None) -> RowRule:
    model = route.table.model
    constraint = constraints_of(model).get(check.name)
    condition = None if text is None else Sql(text)
    words = {word.lower() for word in words_in(check.expression)}
    read = tuple(name for name in route.dest_stored if name.lower() in words)
    used = tuple(columns[name] for name in read if name in columns)
    fields = tuple(column.attname for column in used)
    if isinstance(constraint, CheckConstraint):
        fields = tuple(fields_of(model, constraint))
        condition = _certain(route, columns, constraint) or condition
    # If the destination ignores case and the source doesn't, more texts are equal there.
    if len(used) < len(read) or any(is_folded(column, *route.ends.of(column)) for column in used):
        condition = None
    what = f"the check constraint {check.name}" if check.name else "a check constraint"
    rule = RowRule(check.name, f"{{}} {what} of {route.dest.alias!r}", fields, used, condition)
    if can_be_tried(route, read):
        rule = replace(rule, dest_sql=check.expression)
    if not check.is_partitioning:
        return rule
    return replace(
        rule,
        reason=f"{{}} no partition in {route.dest.alias!r}",
        verbs=("has", "have"),
        advice="Create the partitions for these rows in the destination.",
    )


def _certain(route: Route, columns: Mapping[str, Column], constraint: CheckConstraint) -> Sql | None:
    try:
        return certain_condition(route, columns, constraint.condition)
    except Uncompilable:
        return None


def certain_condition(route: Route, columns: Mapping[str, Column], condition: Any) -> Sql | None:
    """Return a condition of a model as SQL of the source if that is certain to mean the same to both databases.

    Raises :exc:`~migrator.databases.planning.constraint_sql.Uncompilable`.
    """
    compiled = condition_sql(route.table.model, condition, route.source.connection)
    if compiled is None:
        return None
    literals = (str(value) if isinstance(value, int | float) else "'?'" for value in compiled.params)
    plain = re.sub(r"%(.)", lambda found: next(literals, "'?'") if found[1] == "s" else found[1], compiled.text)
    return compiled if _as_source(route, columns, Check("", plain)) is not None else None


def _as_source(route: Route, columns: Mapping[str, Column], check: Check) -> str | None:
    """Return a check of the source in the SQL that all engines share."""
    source = route.source
    return source.constraints.portable(check.expression, _kinds(columns), _sql_of(source))


def _translated(route: Route, columns: Mapping[str, Column], check: Check) -> str | None:
    """Return a check of the destination's catalogue as SQL of the source, if that is certain to mean the same there."""
    source, dest = route.source, route.dest
    if source.vendor == dest.vendor:
        return check.expression.replace("%", "%%")
    target = _sql_of(source, stores_utc=source.connection.timezone_name == "UTC")
    return dest.constraints.portable(check.expression, _kinds(columns), target)


def _kinds(columns: Mapping[str, Column]) -> dict[str, Kind]:
    return {name: column.kind for name, column in columns.items()}


def _sql_of(engine: Engine, *, stores_utc: bool = True) -> TargetSql:
    return TargetSql(engine.quote, engine.features.character_length, stores_utc)


def check_rows(route: Route, engine: Engine, rules: Sequence[RowRule]) -> Iterator[Finding | Trial]:
    """Find rows that break rules, by queries in a session of the source.

    Yield a trial in the destination for rules that the source can't evaluate, and for rows that seem to break a rule:
    the destination's answer is the one that counts.
    """
    in_session = replace(route, source=engine)
    for rule in rules:
        try:
            if rule.condition is None:
                yield _trial(route, rule)
            else:
                yield from _find(in_session, engine, rule, rule.condition)
        except DatabaseError:
            yield _trial(route, rule)


def _trial(
    route: Route, rule: RowRule, restriction: Restriction | None = None, fallback: Finding | None = None
) -> Finding | Trial:
    if rule.dest_sql is None:
        return fallback or not_checked(route, rule.what)
    columns, find = tuple(column.name for column in rule.columns), rejected_by(rule.dest_sql)
    describe = partial(_finding, route, rule)
    return Trial(rule.what, columns, find, describe, restriction, fallback)


def _find(route: Route, engine: Engine, rule: RowRule, condition: Sql) -> Iterator[Finding | Trial]:
    view = view_of(route, engine, rule.columns, as_stored=rule.as_stored)
    where, params = f" WHERE NOT ({condition.text})", (*view.params, *condition.params)
    with engine.tentatively():
        if not engine.fetch_all(f"SELECT 1 FROM {view.sql}{where} LIMIT 1", params):
            return
        rows = int(engine.fetch_value(f"SELECT COUNT(*) FROM {view.sql}{where}", params))
        keys = _keys(route, engine, view, where, params)
    found = _finding(route, rule, rows, keys, partial(_all_keys, view, where, params))
    if not view.key:
        yield found
        return
    names = ", ".join(engine.quote(name) for name in route.table.key)
    chosen = Restriction(f"({names}) IN (SELECT {', '.join(view.key)} FROM {view.sql}{where})", params)
    yield _trial(route, rule, chosen, found)


def _finding(
    route: Route, rule: RowRule, rows: int, keys: Sequence[Row], every: Callable[[Engine], Iterator[Row]]
) -> Finding:
    shown = [key_text(route.table, key) for key in keys if key]
    examples = f" (for example primary key {', '.join(shown)})" if shown else ""
    return Finding(
        f"{route.table.label}.{', '.join(rule.fields)}" if rule.fields else route.table.label,
        f"{plural(rows, 'row')} {rule.reason.format(rule.verbs[rows != 1])}{examples}",
        rule.advice,
        is_about_rows=True,
        rows=FoundRows(route.table.name, Cause.VALUE, every),
    )


def _all_keys(view: View, where: str, params: Sequence[object], source: Engine) -> Iterator[Row]:
    names = ", ".join(view.key) or "1"
    with source.reading_everything():
        yield from chain.from_iterable(source.stream(f"SELECT {names} FROM {view.sql}{where}", params))


def _keys(route: Route, engine: Engine, view: View, where: str, params: Sequence[object]) -> list[Row]:
    if not view.key:
        return []
    names = ", ".join(view.key)
    with engine.reading_everything():
        return engine.fetch_all(f"SELECT {names} FROM {view.sql}{where} ORDER BY {names} LIMIT {EXAMPLES}", params)
