"""Tags, the tree of categories, and products."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from math import prod
from typing import TYPE_CHECKING

from ..models import Category, Product, Tag
from .base import CATEGORIES_PER_LEVEL, Row, Shop, Table, dice, moment

if TYPE_CHECKING:
    from collections.abc import Iterator

TAG_TITLES = (
    "Bargain", "Fair trade", "Gift", "Handmade", "Heavy", "Last one", "Limited", "Local", "New", "Organic",
    "Recycled", "Repairable", "Seasonal", "Second hand", "Spare part", "Vegan", "Vintage", "Waterproof",
)  # fmt: skip
THINGS = (
    "Kettle",
    "Lamp",
    "Bicycle bell",
    "Notebook",
    "Scarf",
    "Tea »Größe L«",
    "Rucksack",
    "Clock",
    "Crème brûlée set",
)
MATERIALS = ("Copper", "Wool", "Oak", "Enamel", "Linen", "Paper", "Cork", "50 % steel", "Glass ☕")
COUNTRIES = ("DE", "DK", "ES", "FR", "GB", "JP", "PL", "PT", "SE", "VN")
CATEGORIES = sum(prod(CATEGORIES_PER_LEVEL[: depth + 1]) for depth in range(len(CATEGORIES_PER_LEVEL)))


def is_archived(index: int) -> bool:
    """Whether the shop's own manager hides a product."""
    return index % 9 == 4


def price(product_id: int) -> Decimal:
    """Return a product's price, with two decimals, some of them zeros."""
    return Decimal(195 + product_id * 7_919 % 24_000).scaleb(-2)


def tag_codes() -> list[str]:
    return [title.lower().replace(" ", "-") for title in TAG_TITLES]


def tag_rows(shop: Shop) -> Iterator[Row]:
    yield from zip(tag_codes(), TAG_TITLES, strict=True)


def category_rows(shop: Shop) -> Iterator[Row]:
    """Yield the tree from its roots, with falling ids: reading by key finds children before their parents."""
    number = CATEGORIES
    parents: list[int | None] = [None]
    for depth, children in enumerate(CATEGORIES_PER_LEVEL):
        level: list[int | None] = []
        for parent in parents:
            for child in range(1, children + 1):
                yield number, parent, f"{'Range' if depth else 'Department'} {child}"
                level.append(number)
                number -= 1
        parents = level


def product_rows(shop: Shop) -> Iterator[Row]:
    dealt = dice("products")
    leaves = prod(CATEGORIES_PER_LEVEL)
    for index in range(shop.products):
        name = f"{MATERIALS[index % len(MATERIALS)]} {THINGS[index * 5 % len(THINGS)]}".lower().capitalize()
        created = moment(index, shop.products * 2)
        yield (
            index + 1,
            1 + index % leaves,
            f"SKU-{index + 1:05}",
            name,
            price(index + 1),
            None if index % 8 == 7 else dealt.random() * 20,
            dealt.choice(COUNTRIES),
            None if index % 5 == 2 else dealt.randbytes(24),
            is_archived(index),
            created,
            created + timedelta(days=dealt.randrange(900), microseconds=dealt.randrange(1_000_000)),
        )


def product_tag_rows(shop: Shop) -> Iterator[Row]:
    dealt = dice("product tags")
    codes = tag_codes()
    for index in range(shop.products):
        for code in dealt.sample(codes, 1 + index % 4):
            yield index + 1, code


def showcases(shop: Shop) -> Iterator[tuple[int, int]]:
    """Yield categories with the product in their showcase, whose table references theirs."""
    for category in range(3, CATEGORIES + 1, 4):
        yield category, 1 + category * 11 % shop.products


TABLES = (
    Table(Tag, "code title", tag_rows, lambda shop: len(TAG_TITLES)),
    Table(Category, "id parent_id name", category_rows, lambda shop: CATEGORIES),
    Table(
        Product,
        "id category_id sku name price weight origin barcode_image archived created changed",
        product_rows,
        lambda shop: shop.products,
    ),
    Table(
        Product.tags.through,
        "product_id tag_id",
        product_tag_rows,
        lambda shop: sum(1 + index % 4 for index in range(shop.products)),
    ),
)
