"""The rows that `bench.rows` moves: the same in every database and on every machine."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any

BATCH = 5_000
LARGE_ROWS = 100  # of up to 115 KB each: MariaDB accepts 16 MiB per statement (max_allowed_packet)
LABELS = 500
# The database itself multiplies these rows.
MOST_MADE = 1_000_000
FIRST = datetime(2015, 1, 1, tzinfo=UTC)
WORDS = (
    "amber", "birch", "cedar", "dune", "ember", "flint", "grove", "hazel", "iris", "juniper", "knoll", "larch",
    "maple", "north", "oak", "pine", "quill", "reed",
)  # fmt: skip
# Shares of all rows; the rest are the labels of customers.
CUSTOMERS, ORDERS = 0.2, 0.5
# One of these rows counts as so many of the shop's.
SHAPES = {"Wide": 5, "Document": 200, "Event": 1, "Sparse": 1}


def shop_models() -> list[Any]:
    """List the shop's models in an order in which rows can be inserted."""
    from bench.shop.models import Customer, Label, Order

    return [Label, Customer, Order, Customer.labels.through]


def shape_model(name: str) -> Any:
    from bench.shop import models

    return getattr(models, name)


def fill_shop(alias: str, rows: int) -> None:
    """Fill an empty shop with about ``rows`` rows in all."""
    times = -(-rows // MOST_MADE)
    _fill_once(alias, rows // times)
    if times > 1:
        _, customer, order, link = shop_models()
        owner = {"customer_id": f"customer_id + {{number}} * {_largest(alias, customer)}"}
        _repeat(alias, customer, times, {"email": "replace(email, '@', '.{number}@')"})
        _repeat(alias, order, times, owner)
        _repeat(alias, link, times, owner)


def _largest(alias: str, model: Any) -> int:
    return int(model.objects.using(alias).latest("pk").pk)


def _repeat(alias: str, model: Any, times: int, changes: Mapping[str, str]) -> None:
    """Insert a table's rows again with other keys, until there are ``times`` as many."""
    from django.db import connections, transaction

    largest, table = _largest(alias, model), model._meta.db_table
    names = [field.column for field in model._meta.local_concrete_fields]
    changes = {"id": f"id + {{number}} * {largest}", **changes}
    with transaction.atomic(using=alias), connections[alias].cursor() as cursor:
        for number in range(1, times):
            values = ", ".join(changes.get(name, name).format(number=number) for name in names)
            cursor.execute(
                f"INSERT INTO {table} ({', '.join(names)}) SELECT {values} FROM {table} WHERE id <= {largest}"
            )


def _fill_once(alias: str, rows: int) -> None:
    customers, orders = max(1, int(rows * CUSTOMERS)), int(rows * ORDERS)
    labels = min(LABELS, rows // 10 + 1)
    links = max(0, rows - customers - orders - labels)
    label, customer, order, link = shop_models()
    chosen = random.Random(1)  # noqa: S311
    _insert(alias, label, (label(pk=n, name=f"label {n}") for n in range(1, labels + 1)))
    _insert(alias, customer, (_customer(customer, n, chosen) for n in range(1, customers + 1)))
    _insert(alias, order, (_order(order, n, chosen.randint(1, customers), chosen) for n in range(1, orders + 1)))
    # With these steps no customer gets a label twice, if a customer has fewer labels than there are.
    pairs = ((n % customers + 1, (n % customers + n // customers) % labels + 1) for n in range(links))
    _insert(alias, link, (link(pk=n, customer_id=one, label_id=other) for n, (one, other) in enumerate(pairs, 1)))


def fill_shape(alias: str, name: str, rows: int) -> int:
    """Fill one table of another shape, and return its number of rows."""
    count = max(10, rows // SHAPES[name])
    model, chosen = shape_model(name), random.Random(2)  # noqa: S311
    rows_at_once = LARGE_ROWS if name == "Document" else BATCH
    _insert(alias, model, (_SHAPED[name](model, n, chosen) for n in range(1, count + 1)), rows_at_once)
    return count


def _insert(alias: str, model: Any, rows: Iterator[Any], rows_at_once: int = BATCH) -> None:
    while batch := list(islice(rows, rows_at_once)):
        model._base_manager.using(alias).bulk_create(batch)


def _text(chosen: random.Random, words: int) -> str:
    return " ".join(chosen.choices(WORDS, k=words))


def _customer(model: Any, number: int, chosen: random.Random) -> Any:
    return model(
        pk=number,
        name=_text(chosen, 2).title(),
        email=f"customer{number}@shop.example",
        code=uuid.UUID(int=chosen.getrandbits(128), version=4),
        is_active=chosen.random() < 0.8,
        age=None if chosen.random() < 0.1 else chosen.randint(18, 99),
        balance=Decimal(chosen.randint(-10_000, 9_999_999)) / 100,
        score=chosen.random() * 100,
        joined=FIRST + timedelta(seconds=chosen.randrange(300_000_000), microseconds=chosen.randrange(1_000_000)),
        born=None if chosen.random() < 0.1 else date(1940, 1, 1) + timedelta(days=chosen.randrange(25_000)),
        notes=_text(chosen, chosen.randrange(25)) + ("\n„Grüße“\t\\" if chosen.random() < 0.1 else ""),
        extra={"size": chosen.choice(WORDS), "visits": chosen.randrange(1000), "tags": chosen.sample(WORDS, 2)},
    )


def _order(model: Any, number: int, customer: int, chosen: random.Random) -> Any:
    return model(
        pk=number,
        customer_id=customer,
        number=f"{number:012d}",
        placed=FIRST + timedelta(seconds=chosen.randrange(300_000_000)),
        amount=Decimal(chosen.randint(100, 99_999)) / 100,
        status=chosen.choice(("new", "paid", "sent", "done")),
        items=chosen.randint(1, 20),
    )


def _wide(model: Any, number: int, chosen: random.Random) -> Any:
    values: dict[str, Any] = {"pk": number}
    for n in range(20):
        values[f"text_{n}"] = _text(chosen, 4)
        values[f"number_{n}"] = None if n % 7 == 0 else chosen.getrandbits(30)
        values[f"moment_{n}"] = FIRST + timedelta(seconds=chosen.randrange(300_000_000))
    return model(**values)


def _document(model: Any, number: int, chosen: random.Random) -> Any:
    return model(pk=number, text=_text(chosen, chosen.randrange(2_000, 20_000)))


def _event(model: Any, number: int, chosen: random.Random) -> Any:
    return model(pk=uuid.UUID(int=chosen.getrandbits(128), version=4), name=_text(chosen, 3))


def _sparse(model: Any, number: int, chosen: random.Random) -> Any:
    return model(pk=number * 1_000_000_007 + chosen.randrange(1_000_000), name=_text(chosen, 3))


_SHAPED: dict[str, Callable[[Any, int, random.Random], Any]] = {
    "Wide": _wide,
    "Document": _document,
    "Event": _event,
    "Sparse": _sparse,
}
