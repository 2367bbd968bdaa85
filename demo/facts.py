"""Compare the two databases with Django and hashlib only, independently of the commands that the demo shows."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.db import DatabaseError, connections, transaction
from django.db.models import Max, Model, QuerySet
from django.utils import timezone

from .models import Customer, Note, Order, Product

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Fact:
    """One sentence about the new database, and whether it is true."""

    sentence: str
    holds: bool


@dataclass(frozen=True)
class Content:
    """The content of one table: the number of rows, and a SHA-256 over all values of all rows in the order of keys."""

    rows: int
    digest: str


def facts(old: str, new: str) -> Iterator[Fact]:
    """Check both databases, and yield the findings."""
    yield same_rows(contents(old), contents(new))
    yield hidden_rows(old, new)
    yield old_stamps(old, new)
    yield same_targets(old, new)
    yield same_schema(old, new)
    yield next_number(old, new)


def tables() -> list[type[Model]]:
    """List the models with a table of their own, many-to-many tables included."""
    models = apps.get_models(include_auto_created=True)
    return [model for model in models if model._meta.managed and not model._meta.proxy]


def every_row(model: type[Model], alias: str) -> QuerySet[Any]:
    """Return a queryset of all rows; a model's own manager may hide some."""
    return QuerySet(model, using=alias)


def contents(alias: str) -> dict[str, Content]:
    """Read each table of a database."""
    return {model._meta.db_table: _content(model, alias) for model in tables()}


def _content(model: type[Model], alias: str) -> Content:
    columns = [field.attname for field in model._meta.concrete_fields if field.model is model]
    digest = hashlib.sha256()
    rows = 0
    for row in every_row(model, alias).order_by("pk").values_list(*columns).iterator(chunk_size=5_000):
        digest.update(repr(row).encode())
        rows += 1
    return Content(rows, digest.hexdigest())


def fingerprint(found: dict[str, Content]) -> str:
    """Return a short fingerprint of a whole database."""
    lines = "".join(f"{table} {content.digest}\n" for table, content in sorted(found.items()))
    return hashlib.sha256(lines.encode()).hexdigest()[:16]


def same_rows(old: dict[str, Content], new: dict[str, Content]) -> Fact:
    differing = [table for table in sorted(old) if old[table] != new.get(table)]
    rows = sum(content.rows for content in new.values())
    if differing:
        return Fact(f"These tables differ: {', '.join(differing)}.", holds=False)
    return Fact(f"{rows:,} rows of {len(new)} tables are equal, value by value: {fingerprint(new)}.", holds=True)


def hidden_rows(old: str, new: str) -> Fact:
    there, here = (every_row(Product, alias).filter(archived=True).count() for alias in (old, new))
    shown = Product.objects.using(new).filter(archived=True).count()
    return Fact(
        f"{here:,} of {there:,} archived products arrived, though Product.objects shows {shown or 'none'}.",
        holds=here == there > shown == 0,
    )


def old_stamps(old: str, new: str) -> Fact:
    """Compare the columns with auto_now, which save() of an instance would have set to today."""
    there, here = (every_row(Order, alias).aggregate(last=Max("changed"))["last"] for alias in (old, new))
    if here is None or here != there or here > timezone.now():
        return Fact(f"The latest change of an order is of {here}, and was of {there}.", holds=False)
    return Fact(f"The latest change is still of {here:%d %B %Y}, not of today (auto_now).", holds=True)


def same_targets(old: str, new: str) -> Fact:
    """Follow the generic foreign keys: they store content type ids, which differ between databases."""
    there = every_row(Note, old).count() + every_row(LogEntry, old).count()
    here = sum(_found_targets(new, model) for model in (Order, Customer, Product))
    return Fact(
        f"{here:,} of {there:,} notes and log entries still lead to their objects.",
        holds=here == there,
    )


def _found_targets(alias: str, model: type[Model]) -> int:
    """Count the generic foreign keys that lead to an existing row of ``model``."""
    keys = set(every_row(model, alias).values_list("pk", flat=True))
    named = {"content_type__app_label": "demo", "content_type__model": model._meta.model_name}
    return sum(
        int(key) in keys
        for linking in (Note, LogEntry)
        for key in every_row(linking, alias).filter(**named).values_list("object_id", flat=True)
    )


def same_schema(old: str, new: str) -> Fact:
    """Compare the definitions of indexes: a fast load may drop them, and each has to be recreated exactly."""
    there, here = _definitions(old), _definitions(new)
    differing = sorted({name for name, _ in there.items() ^ here.items()})
    try:
        connections[new].check_constraints()
    except DatabaseError as error:
        return Fact(f"A foreign key has no matching row: {error}", holds=False)
    if differing:
        return Fact(f"Tables or indexes are defined differently: {', '.join(differing)}.", holds=False)
    indexes = len(here) - len(tables())
    return Fact(f"All {indexes} indexes are defined as before; every foreign key has its row.", holds=True)


def _definitions(alias: str) -> dict[str, str | None]:
    """Return the definitions of the tables and their indexes from SQLite's catalogue, constraints included, by name."""
    ours = {model._meta.db_table for model in tables()}
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT tbl_name, name, sql FROM sqlite_master WHERE type IN ('table', 'index')")
        return {name: sql for table, name, sql in cursor.fetchall() if table in ours}


def next_number(old: str, new: str) -> Fact:
    """Save an order in the new database, check its id, and roll back."""
    last = every_row(Order, old).aggregate(last=Max("pk"))["last"]
    with transaction.atomic(using=new):
        customer = every_row(Customer, old).order_by("pk")[0]
        order = Order(customer_id=customer.pk, placed=timezone.now())
        order.save(using=new)
        transaction.set_rollback(True, using=new)
    return Fact(
        f"A new order can be saved: its number is {order.pk:,} after {last:,} (undone).",
        holds=order.pk == last + 1,
    )
