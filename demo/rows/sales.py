"""Orders with their lines, invoices and parcels."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ..models import Invoice, Order, OrderLine, Parcel
from .base import Row, Shop, Table, dice, moment
from .goods import price
from .people import customer_id

if TYPE_CHECKING:
    from collections.abc import Iterator

# By an order's index modulo eight.
STATUSES = ("cancelled", "open", "paid", "shipped", "shipped", "paid", "shipped", "shipped")
REMARKS = (
    "",
    "Please ring twice",
    "Geschenk für Oma, ohne Preis",
    "'); -- 100 %",
    "お急ぎ便 🚚",
    "two\nlines",
)

CartLine = tuple[int, int, Decimal]


def order_id(index: int) -> int:
    """Return an order's id: from 1001 on, with gaps as after deletions."""
    return 1_001 + index + index // 97


def status(index: int) -> str:
    return STATUSES[index % len(STATUSES)]


def line_count(index: int) -> int:
    return 1 + index % 4


def placed(shop: Shop, index: int) -> datetime:
    return moment(index, shop.orders)


def carts(shop: Shop) -> Iterator[list[CartLine]]:
    """Yield one cart per order: product, quantity, unit price. The same at each call."""
    dealt = dice("carts")
    products = range(1, shop.products + 1)
    for index in range(shop.orders):
        chosen = dealt.sample(products, line_count(index))
        yield [(product, dealt.randrange(1, 6), price(product)) for product in chosen]


def details(index: int) -> dict[str, Any]:
    """Return an order's JSON: nested, with text in many scripts, nulls, integers and floats."""
    return {
        "channel": ("web", "phone", "app")[index % 3],
        "gift": index % 7 == 0,
        "coupon": None if index % 5 else {"code": f"SPRING-{index % 90}", "percent": 12.5},
        "remark": REMARKS[index % len(REMARKS)],
        "tries": [index % 3, index % 11],
    }


def order_rows(shop: Shop) -> Iterator[Row]:
    dealt = dice("orders")
    for index, cart in enumerate(carts(shop)):
        when = placed(shop, index)
        yield (
            order_id(index),
            UUID(int=dealt.getrandbits(128), version=4),
            customer_id(dealt.randrange(shop.customers)),
            None if index % 6 == 0 else 1 + index % shop.users,
            status(index),
            sum((quantity * unit_price for _, quantity, unit_price in cart), Decimal()),
            details(index),
            when,
            time(7 + index % 12, index % 60) if index % 4 == 0 else None,
            when + timedelta(minutes=dealt.randrange(20_000), microseconds=index % 1_000),
        )


def line_rows(shop: Shop) -> Iterator[Row]:
    number = 0
    for index, cart in enumerate(carts(shop)):
        for line in cart:
            number += 1
            yield number, order_id(index), *line


def is_invoiced(index: int) -> bool:
    return status(index) in ("paid", "shipped")


def invoice_rows(shop: Shop) -> Iterator[Row]:
    for index in filter(is_invoiced, range(shop.orders)):
        issued = placed(shop, index) + timedelta(days=1)
        number = f"R{issued:%Y}-{index:07}"
        paid = None if index % 10 == 3 else issued + timedelta(days=index % 30, microseconds=index)
        yield order_id(index), number, issued.date(), paid, f"invoices/{issued:%Y/%m}/{number}.pdf"


def is_shipped(index: int) -> bool:
    return status(index) == "shipped"


def parcel_rows(shop: Shop) -> Iterator[Row]:
    dealt = dice("parcels")
    for index in filter(is_shipped, range(shop.orders)):
        travel_time = timedelta(days=index % 9, seconds=dealt.randrange(86_400), microseconds=index)
        sent = placed(shop, index) + timedelta(days=2)
        key = UUID(int=dealt.getrandbits(128), version=4)
        yield key, order_id(index), sent, None if index % 10 == 7 else travel_time


TABLES = (
    Table(
        Order,
        "id reference customer_id handled_by_id status total details placed deliver_after changed",
        order_rows,
        lambda shop: shop.orders,
    ),
    Table(
        OrderLine,
        "id order_id product_id quantity unit_price",
        line_rows,
        lambda shop: sum(map(line_count, range(shop.orders))),
    ),
    Table(
        Invoice,
        "order_id number issued paid document",
        invoice_rows,
        lambda shop: sum(map(is_invoiced, range(shop.orders))),
    ),
    Table(
        Parcel,
        "id order_id sent travel_time",
        parcel_rows,
        lambda shop: sum(map(is_shipped, range(shop.orders))),
    ),
)
