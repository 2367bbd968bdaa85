"""Staff with their groups and permissions; persons and customers."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from django.contrib.auth.models import Group, User

from ..models import Customer, Person
from .base import Row, Shop, Table, dice, moment

if TYPE_CHECKING:
    from collections.abc import Iterator

GIVEN_NAMES = (
    "Ada", "Björn", "Chloé", "Đorđe", "Eilidh", "Fatma", "Grace", "Hồng", "Íñigo", "Jürgen",
    "Katarzyna", "Łukasz", "Małgorzata", "Noor", "Oluwaseun", "Þóra", "Quentin", "Zoë", "花子", "Яна",
)  # fmt: skip
FAMILY_NAMES = (
    "Ångström", "Brown", "Çelik", "D'Angelo", "Eriksson", "Farkaš", "García Márquez", "Højgaard", "Ibrahim",
    "Jansen", "Kowalczyk", "Lâm", "Müller-Lüdenscheidt", "Nováková", "O'Neill", "Rossi", "山田", "Иванова",
)  # fmt: skip
GROUP_NAMES = ("Sales", "Warehouse", "Accounts", "Customer care", "Administrators")
PERMISSIONS_PER_GROUP = 12
UNUSABLE = "!nobody can log in to the demo"


def person_name(index: int) -> str:
    """Return the name of the person or user at ``index``."""
    given = GIVEN_NAMES[index % len(GIVEN_NAMES)]
    return f"{given} {FAMILY_NAMES[index * 7 % len(FAMILY_NAMES)]}"


def customer_id(rank: int) -> int:
    """Return the key of a customer's person: every eleventh person is only a contact."""
    return rank + rank // 10 + 1


def user_rows(shop: Shop) -> Iterator[Row]:
    for index in range(shop.users):
        given, _, family = person_name(index).partition(" ")
        joined = moment(index, shop.users)
        last_login = None if index % 6 == 5 else joined + timedelta(days=index + 1, microseconds=index)
        username = f"staff{index + 1:02}"
        flags = (index == 0, True, index % 7 != 6)  # superuser, staff, active
        email = f"{username}@shop.example"
        yield index + 1, username, given, family, email, UNUSABLE, *flags, joined, last_login


def group_rows(shop: Shop) -> Iterator[Row]:
    yield from enumerate(GROUP_NAMES[: shop.groups], start=1)


def group_permission_rows(shop: Shop) -> Iterator[Row]:
    dealt = dice("group permissions")
    for group in range(1, shop.groups + 1):
        for permission in sorted(dealt.sample(shop.permissions, PERMISSIONS_PER_GROUP)):
            yield group, permission


def user_group_rows(shop: Shop) -> Iterator[Row]:
    for user in range(1, shop.users + 1):
        yield user, user % shop.groups + 1


def user_permission_rows(shop: Shop) -> Iterator[Row]:
    dealt = dice("user permissions")
    for user in range(2, shop.users + 1, 3):
        yield user, dealt.choice(shop.permissions)


def person_rows(shop: Shop) -> Iterator[Row]:
    dealt = dice("persons")
    for index in range(shop.persons):
        born = None if index % 5 == 0 else date(1940, 1, 1) + timedelta(days=dealt.randrange(25_000))
        created = moment(index, shop.persons)
        yield index + 1, person_name(index), f"Person.{index + 1}@mail.example", born, created


def customer_rows(shop: Shop) -> Iterator[Row]:
    dealt = dice("customers")
    for rank in range(shop.customers):
        friend = customer_id(dealt.randrange(rank)) if rank % 4 == 3 else None
        credit = Decimal(dealt.randrange(-5_000, 50_000)) / 100
        yield customer_id(rank), f"C-{rank + 1:06}", credit, rank % 3 == 0, friend


TABLES = (
    Table(
        User,
        "id username first_name last_name email password is_superuser is_staff is_active date_joined last_login",
        user_rows,
        lambda shop: shop.users,
    ),
    Table(Group, "id name", group_rows, lambda shop: shop.groups),
    Table(
        Group.permissions.through,
        "group_id permission_id",
        group_permission_rows,
        lambda shop: shop.groups * PERMISSIONS_PER_GROUP,
    ),
    Table(User.groups.through, "user_id group_id", user_group_rows, lambda shop: shop.users),
    Table(
        User.user_permissions.through,
        "user_id permission_id",
        user_permission_rows,
        lambda shop: len(range(2, shop.users + 1, 3)),
    ),
    Table(Person, "id name email birthday created", person_rows, lambda shop: shop.persons),
    Table(
        Customer,
        "person_ptr_id number credit newsletter recommended_by_id",
        customer_rows,
        lambda shop: shop.customers,
    ),
)
