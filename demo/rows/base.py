"""A table's rows as a generator of tuples, and their number in a shop of a given size."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from django.db.models import Model

Row = tuple[Any, ...]

OPENED = datetime(2012, 3, 5, 7, 30, tzinfo=UTC)
YEARS_OF_TRADE = timedelta(days=4_321)
CATEGORIES_PER_LEVEL = (6, 4, 3)


@dataclass(frozen=True)
class Shop:
    """The size of the shop. All other numbers follow from the orders.

    Content types and permissions have the database's own ids, which rows that reference them need.
    """

    orders: int
    content_types: Mapping[str, int] = field(default_factory=dict)
    permissions: Sequence[int] = ()

    @property
    def users(self) -> int:
        return 12 + self.orders // 1_000

    @property
    def groups(self) -> int:
        return 5

    @property
    def persons(self) -> int:
        return max(44, self.orders * 3 // 10)

    @property
    def customers(self) -> int:
        return self.persons - self.persons // 11

    @property
    def products(self) -> int:
        return max(40, self.orders // 12)


@dataclass(frozen=True)
class Table:
    """One table of the shop.

    ``rows`` yields tuples in the order of ``columns`` (names in one string); ``count`` returns their number.
    """

    model: type[Model]
    columns: str
    rows: Callable[[Shop], Iterator[Row]]
    count: Callable[[Shop], int]


def dice(label: str) -> random.Random:
    """Return a random generator whose results depend on the label only."""
    return random.Random(f"demo shop: {label}")


def moment(step: int, steps: int) -> datetime:
    """Return one of ``steps`` moments spread over the shop's years; most have microseconds."""
    odd = timedelta(seconds=step * 7_919 % 3_600, microseconds=step * 104_729 % 1_000_000)
    return OPENED + YEARS_OF_TRADE * step // steps + odd
