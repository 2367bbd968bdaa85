"""Fill a database with the shop, for the demo and for anyone who needs a database of a given size."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.contrib.sites.models import Site
from django.core.management.color import no_style
from django.db import connections, transaction

from .models import Category
from .rows import goods, people, remarks, sales
from .rows.base import Row, Shop

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.models import Model

DEFAULT_ORDERS = 19_000
TABLES = (*people.TABLES, *goods.TABLES, *sales.TABLES, *remarks.TABLES)
BATCH = 2_000


def planned_rows(orders: int = DEFAULT_ORDERS) -> dict[type[Model], int]:
    """Return the number of rows that :func:`fill` inserts, by model, without inserting them."""
    shop = Shop(orders)
    return {table.model: table.count(shop) for table in TABLES}


def fill(alias: str, *, orders: int = DEFAULT_ORDERS) -> int:
    """Fill the newly migrated database ``alias`` with a shop of ``orders`` orders; return the number of rows."""
    with transaction.atomic(using=alias):
        content_types, permissions = _renumber_content_types(alias)
        shop = Shop(orders, content_types, permissions)
        made = sum(insert(alias, table.model, table.columns.split(), table.rows(shop)) for table in TABLES)
        for category, product in goods.showcases(shop):
            Category.objects.using(alias).filter(pk=category).update(showcase=product)
        Site.objects.using(alias).update(domain="shop.example", name="The shop")
        _set_sequences(connections[alias])
    return made


def insert(alias: str, model: type[Model], columns: Iterable[str], rows: Iterator[Row]) -> int:
    """Insert tuples unchanged: no ``save()``, no managers, no ``auto_now``. Return their number."""
    connection = connections[alias]
    fields_by_name = {field.attname: field for field in model._meta.concrete_fields}
    fields = [fields_by_name[name] for name in columns]
    prepare = [field.get_db_prep_save for field in fields]
    quote = connection.ops.quote_name
    names = ", ".join(quote(str(field.column)) for field in fields)
    marks = ", ".join(["%s"] * len(fields))
    statement = f"INSERT INTO {quote(model._meta.db_table)} ({names}) VALUES ({marks})"
    count = 0
    with connection.cursor() as cursor:
        while batch := list(islice(rows, BATCH)):
            values = [
                [prepared(value, connection) for prepared, value in zip(prepare, row, strict=True)] for row in batch
            ]
            cursor.executemany(statement, values)
            count += len(batch)
    return count


def _renumber_content_types(alias: str) -> tuple[dict[str, int], list[int]]:
    """Give content types and permissions the ids of a database that grew over years, not those of a new one."""
    ordered = ContentType.objects.using(alias).order_by("app_label", "model")
    types = list(ordered.values_list("id", "app_label", "model"))
    permissions = list(
        Permission.objects.using(alias)
        .order_by("content_type__app_label", "content_type__model", "codename")
        .values_list("name", "content_type", "codename")
    )
    Permission.objects.using(alias).all().delete()
    ContentType.objects.using(alias).all().delete()
    numbers = {old: 7 + 3 * (len(types) - place) for place, (old, _, _) in enumerate(types)}
    insert(
        alias,
        ContentType,
        ("id", "app_label", "model"),
        ((numbers[old], app_label, model) for old, app_label, model in types),
    )
    insert(
        alias,
        Permission,
        ("id", "name", "content_type_id", "codename"),
        (
            (101 + place, name, numbers[content_type], codename)
            for place, (name, content_type, codename) in enumerate(permissions)
        ),
    )
    ContentType.objects.clear_cache()
    ours = {model: numbers[old] for old, app_label, model in types if app_label == "demo"}
    return ours, [101 + place for place in range(len(permissions))]


def _set_sequences(connection: BaseDatabaseWrapper) -> None:
    """Set each sequence above the largest key, if the database does not do so itself."""
    models = [table.model for table in TABLES] + [ContentType, Permission]
    with connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_sql(no_style(), models):
            cursor.execute(statement)
