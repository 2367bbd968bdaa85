"""The constraints of models as SQL of one database, compiled without managers and instances."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import EmptyResultSet, FieldDoesNotExist, FieldError, FullResultSet
from django.db import NotSupportedError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BaseConstraint, F, Model, Q
from django.db.models.expressions import OrderBy
from django.db.models.functions import Collate
from django.db.models.indexes import IndexExpression
from django.db.models.sql import Query


@dataclass(frozen=True)
class Sql:
    """A piece of SQL with its parameters."""

    text: str
    params: tuple[Any, ...] = ()


class Uncompilable(Exception):
    """A database has no SQL for a model's constraint."""


# What Django's compiler raises for a database that lacks a function, a lookup or a type.
FAILURES = (
    NotSupportedError,
    FieldError,
    FieldDoesNotExist,
    NotImplementedError,
    AttributeError,
    TypeError,
    ValueError,
)


def constraints_of(model: type[Model]) -> dict[str, BaseConstraint]:
    """Return a model's named constraints by name; the database has them under the same names."""
    return {constraint.name: constraint for constraint in model._meta.constraints}


def condition_sql(model: type[Model], condition: Any, connection: BaseDatabaseWrapper) -> Sql | None:
    """Compile a condition over a model's own columns, without table names before them.

    Returns ``None`` for a condition that is true for every row. Raises :exc:`Uncompilable`.
    """
    _refuse_marks(model)
    query = Query(model=model, alias_cols=False)
    try:
        where = query.build_where(condition)
        text, params = query.get_compiler(connection=connection).compile(where)
    except FullResultSet:
        return None
    except EmptyResultSet:
        return Sql("1 = 0")
    except FAILURES as error:
        raise Uncompilable(str(error)) from error
    return Sql(text, tuple(params))


def expression_sql(model: type[Model], expression: Any, connection: BaseDatabaseWrapper) -> Sql:
    """Compile an expression over a model's own columns, without an index's ordering and operator classes.

    Raises :exc:`Uncompilable`.
    """
    registered: tuple[Any, ...] = IndexExpression.wrapper_classes or ()
    wrappers = tuple(cls for cls in (OrderBy, *registered) if cls is not Collate)
    if isinstance(expression, str):
        expression = F(expression)
    while isinstance(expression, wrappers):
        expression = expression.get_source_expressions()[0]
    _refuse_marks(model)
    query = Query(model=model, alias_cols=False)
    try:
        resolved = expression.resolve_expression(query, allow_joins=False)
        text, params = query.get_compiler(connection=connection).compile(resolved)
    except FAILURES as error:
        raise Uncompilable(str(error)) from error
    return Sql(f"({text})", tuple(params))


def _refuse_marks(model: type[Model]) -> None:
    """Reject names with a percent sign, which Django does not escape."""
    if any("%" in str(field.column) for field in model._meta.local_concrete_fields):
        raise Uncompilable("a column's name has a percent sign")


def operands_of(constraint: BaseConstraint) -> list[tuple[Any, str]]:
    """Return the expressions by which a unique or exclusion constraint compares two rows, each with its operator."""
    found = [(name, "=") for name in getattr(constraint, "fields", ())]
    for operand in getattr(constraint, "expressions", ()):
        found.append(tuple(operand) if isinstance(operand, list | tuple) else (operand, "="))
    return found


def fields_of(model: type[Model], constraint: BaseConstraint) -> list[str]:
    """Return the attribute names of the fields that a constraint compares, each once, in its order.

    Fields that occur only in its condition are omitted, unless it has no others.
    """
    names = [name for operand, _ in operands_of(constraint) for name in _referenced(model, operand)]
    return _attnames(model, names or list(_referenced(model, getattr(constraint, "condition", Q()))))


def fields_in(model: type[Model], condition: Any) -> list[str]:
    """Return the attribute names of the fields in a condition."""
    return _attnames(model, list(_referenced(model, condition)))


def _attnames(model: type[Model], names: list[str]) -> list[str]:
    fields: dict[str, Any] = {field.name: field for field in model._meta.get_fields()}
    return list(dict.fromkeys(getattr(fields.get(name), "attname", name) for name in names))


def _referenced(model: type[Model], expression: Any) -> Iterator[str]:
    if isinstance(expression, str):
        yield expression
        return
    for name, *_ in model._get_expr_references(expression):  # type: ignore[attr-defined]
        yield model._meta.pk.name if name == "pk" and model._meta.pk is not None else name
