"""Rows that reference any table by content type: the admin's log, and notes."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING

from django.contrib.admin.models import CHANGE, LogEntry

from ..models import Note
from .base import Row, Shop, Table, dice, moment
from .people import customer_id
from .sales import order_id, placed

if TYPE_CHECKING:
    from collections.abc import Iterator

LOGGED_EVERY = 2
NOTED_EVERY = 5
FIELDS = ("Status", "Customer", "Deliver after")


def log_rows(shop: Shop) -> Iterator[Row]:
    for number, index in enumerate(range(0, shop.orders, LOGGED_EVERY), start=1):
        order = order_id(index)
        message = json.dumps([{"changed": {"fields": [FIELDS[index % len(FIELDS)]]}}])
        when = placed(shop, index) + timedelta(hours=3)
        user = 1 + index % shop.users
        yield number, when, user, shop.content_types["order"], str(order), f"{order} (paid)", CHANGE, message


def note_rows(shop: Shop) -> Iterator[Row]:
    dealt = dice("notes")
    for number, index in enumerate(range(0, shop.orders, NOTED_EVERY), start=1):
        model, key = (
            ("order", order_id(index)),
            ("customer", customer_id(dealt.randrange(shop.customers))),
            ("product", 1 + dealt.randrange(shop.products)),
        )[number % 3]
        author = None if index % 4 == 1 else 1 + index % shop.users
        text = f"Nr. {number}: asked about this {model} by phone.\nTo do: “call back”, café, 日本語, 🙂."
        yield number, shop.content_types[model], key, author, text, moment(index, shop.orders)


TABLES = (
    Table(
        LogEntry,
        "id action_time user_id content_type_id object_id object_repr action_flag change_message",
        log_rows,
        lambda shop: len(range(0, shop.orders, LOGGED_EVERY)),
    ),
    Table(
        Note,
        "id content_type_id object_id author_id text written",
        note_rows,
        lambda shop: len(range(0, shop.orders, NOTED_EVERY)),
    ),
)
