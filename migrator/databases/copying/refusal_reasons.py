"""Why the destination refused one row: the fields of its constraint, and the other row if two are in conflict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import DatabaseError, transaction
from django.db.models import BaseConstraint, GeneratedField

from ..engines.base.constraints import Exclusion
from ..engines.base.errors import Fault, Severity
from ..planning.check_constraints import words_in
from ..planning.constraint_sql import (
    Sql,
    Uncompilable,
    condition_sql,
    constraints_of,
    expression_sql,
    fields_in,
    fields_of,
    operands_of,
)
from ..planning.table_route import Route
from ..primary_keys import key_text
from ..tables import Column


@dataclass(frozen=True)
class Reason:
    """The fields of a refusal, as text, and the server's message with what is known in addition."""

    fields: str | None
    reason: str


def reason_for(route: Route, values: Mapping[str, Any], fault: Fault) -> Reason:
    """Return why the destination refused a row of these converted ``values``, by column.

    The row has been rolled back, so that the destination's session can run queries.
    """
    model = route.table.model
    constraint = constraints_of(model).get(fault.constraint or "")
    fields = fields_of(model, constraint) if constraint else _named(route, fault)
    reason = fault.message
    if fault.column is None and fault.constraint is None and (found := _generated(route, values)):
        column, read = found
        return Reason(column.attname, f"{reason}; the database computes it from {', '.join(read)}")
    if (other := _other_row(route, values, fault, constraint)) is not None:
        is_key = _exclusion(route, fault) is None
        reason += f"; the row with primary key {other} {'already has it' if is_key else 'conflicts with it'}"
    return Reason(", ".join(fields) or None, reason)


def _named(route: Route, fault: Fault) -> list[str]:
    """Return the fields that a fault names, or those of the check that it names."""
    by_name = {column.name: column.attname for column in route.table.with_generated().columns}
    if (exclusion := _exclusion(route, fault)) is not None:  # the server does not name those in expressions
        words = words_in(*(part.expression for part in exclusion.parts))
        return [attname for name, attname in by_name.items() if name in words]
    named = [by_name[name] for name in (fault.column or "").split(", ") if name in by_name]
    if named or fault.constraint is None:
        return named
    with_their_names = [check for check in _checks(route) if check[0] == fault.constraint]
    words = words_in(*([expression for _, expression in with_their_names] or [fault.constraint]))
    return [attname for name, attname in by_name.items() if name in words]


def _checks(route: Route) -> Iterator[tuple[str, str]]:
    try:
        with transaction.atomic(using=route.dest.alias):
            found = route.dest.constraints.checks([route.table.name])[route.table.name]
    except DatabaseError:
        return
    yield from ((check.name, check.expression) for check in found)


def _exclusion(route: Route, fault: Fault) -> Exclusion | None:
    """Return the exclusion constraint that refused a row, if it was one."""
    try:
        with transaction.atomic(using=route.dest.alias):
            found = route.dest.constraints.exclusions([route.table.name])[route.table.name]
    except DatabaseError:
        return None
    return next((exclusion for exclusion in found if exclusion.name == fault.constraint), None)


# -- generated columns ------------------------------------------------------------------------------------------------


def _generated(route: Route, values: Mapping[str, Any]) -> tuple[Column, list[str]] | None:
    """Return the generated column whose expression the destination can't compute for a row, and the fields in it.

    If the server computes every expression in a query although it refuses the row, an only generated column is meant.
    """
    model, generated = route.table.model, route.table.generated
    fields = {field.attname: field for field in model._meta.local_concrete_fields}
    found = [column for column in generated if _fails(route, values, fields[column.attname])]
    if not found and len(generated) == 1:
        found = list(generated)
    if len(found) != 1:
        return None
    return found[0], fields_in(model, vars(fields[found[0].attname]).get("expression"))


def _fails(route: Route, values: Mapping[str, Any], field: Any) -> bool:
    if not isinstance(field, GeneratedField):
        return False
    dest = route.dest
    try:
        expression = expression_sql(route.table.model, vars(field)["expression"], dest.connection)
        new = _new_row(route, values)
        with transaction.atomic(using=dest.alias):
            dest.fetch_all(f"SELECT {expression.text} FROM {new.text}", (*expression.params, *new.params))
    except Uncompilable:
        return False
    except DatabaseError as error:
        return dest.severity(error) is Severity.DATA
    return False


def _new_row(route: Route, values: Mapping[str, Any]) -> Sql:
    """Return the row as a subquery, with columns of the destination's types."""
    stored = route.dest.catalogue.stored_columns(route.table.name)
    parts = [f"{route.dest.typed_parameter(stored[name])} AS {route.dest.quote(name)}" for name in values]
    return Sql(f"(SELECT {', '.join(parts)}) new_", tuple(values.values()))


# -- the other row of a pair ------------------------------------------------------------------------------------------


def _other_row(route: Route, values: Mapping[str, Any], fault: Fault, constraint: BaseConstraint | None) -> str | None:
    """Return the key of the destination's row that conflicts with a new one in a unique or exclusion constraint."""
    dest, table = route.dest, route.table
    try:
        with transaction.atomic(using=dest.alias):
            if not table.key or (query := _conflict(route, values, fault, constraint)) is None:
                return None
            keys = ", ".join(dest.quote(name) for name in table.key)
            sql = f"SELECT {keys} FROM {dest.quote(table.name)} WHERE {query.text} LIMIT 1"
            rows = dest.fetch_all(sql, query.params)
    except (
        DatabaseError,
        Uncompilable,
        KeyError,
        TypeError,
        ValueError,
    ):  # or only a writer can send a value
        return None
    return key_text(table, rows[0]) if rows else None


def _conflict(route: Route, values: Mapping[str, Any], fault: Fault, constraint: BaseConstraint | None) -> Sql | None:
    """Return the condition for rows of the destination that conflict with a new one in a unique constraint."""
    dest, model, new = route.dest, route.table.model, _new_row(route, values)
    if (exclusion := _exclusion(route, fault)) is not None:
        return _excluded(exclusion, new)
    named = (fault.column or "").split(", ")
    indexes = dest.constraints.unique_indexes([route.table.name])[route.table.name]
    # SQLite names a partial index by its columns, like any other unique index.
    index = next((i for i in indexes if i.name == fault.constraint or list(i.columns) == named), None)
    if constraint is None and index is not None:
        constraint = constraints_of(model).get(index.name)
    if index is not None and index.is_plain:
        parts = [Sql(dest.quote(str(name))) for name in index.columns]
    else:
        operands = operands_of(constraint) if constraint is not None else []
        parts = [expression_sql(model, expression, dest.connection) for expression, _ in operands]
    if not parts:
        return None
    equal = "IS NOT DISTINCT FROM" if index is not None and not index.nulls_distinct else "="
    tests = [f"{part.text} {equal} (SELECT {part.text} FROM {new.text})" for part in parts]
    params = [param for part in parts for param in (*part.params, *part.params, *new.params)]
    condition = getattr(constraint, "condition", None)
    if condition is not None and (compiled := condition_sql(model, condition, dest.connection)) is not None:
        tests.append(f"({compiled.text})")
        params += compiled.params
    return Sql(" AND ".join(tests), tuple(params))


def _excluded(exclusion: Exclusion, new: Sql) -> Sql:
    """Return the condition for rows that conflict with a new one in an exclusion constraint."""
    parts = [(f"({part.expression})".replace("%", "%%"), part.operator.replace("%", "%%")) for part in exclusion.parts]
    tests = [f"{part} {operator} (SELECT {part} FROM {new.text})" for part, operator in parts]
    if exclusion.condition is not None:
        tests.append(f"({exclusion.condition})".replace("%", "%%"))
    return Sql(" AND ".join(tests), new.params * len(parts))
