"""Keyed tables of each database: rows added where none are, and compared before they are changed."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from django.db import connections, transaction

from migrator.clock import now
from migrator.stores.table import open_table
from migrator.stores.table.base import KeyedTable
from migrator.stores.table.layout import KeyedRow, Layout
from tests.management.running import another_alias, entry_of, execute
from tests.servers.databases import FreshDatabases

pytestmark = pytest.mark.driver

HOUR = 3_600_000_000
ALIASES = [
    pytest.param(f"{engine}_a", marks=getattr(pytest.mark, engine)) for engine in ("sqlite", "postgresql", "mysql")
]
LAYOUT = Layout("django_session", "session_key", "session_data", "expire_date")


@pytest.fixture(params=ALIASES)
def table(request: pytest.FixtureRequest, databases: FreshDatabases) -> KeyedTable:
    databases.fresh(request.param)
    return open_table(alias=request.param, layout=LAYOUT)


def row(key: str, value: str = "value", expires: int | None = None) -> KeyedRow:
    return KeyedRow(key, value, now() + HOUR if expires is None else expires)


def held(table: KeyedTable) -> dict[str, str]:
    return {found.key: found.value for page in table.pages(10) for found in page}


def test_adds_around_the_rows_of_others_and_in_the_place_of_expired_ones(table: KeyedTable) -> None:
    assert table.add([row("a"), row("b", "expired", now() - HOUR)]) == {"a", "b"}

    assert table.add([row("a", "other"), row("b", "new"), row("c")]) == {"b", "c"}
    assert table.add([row("c", "other")]) == set()
    assert table.add([row("d")]) == {"d"}
    assert held(table) == {"a": "value", "b": "new", "c": "value", "d": "value"}


def test_adds_within_a_transaction_of_the_caller(table: KeyedTable) -> None:
    table.add([row("a")])

    with transaction.atomic(using=table.alias):
        assert table.add([row("a", "other"), row("b")]) == {"b"}
        transaction.set_rollback(True, using=table.alias)

    assert held(table) == {"a": "value"}


def test_keeps_every_character_and_every_microsecond(table: KeyedTable) -> None:
    if table.connection.vendor == "mysql":
        table.connection.cursor().execute(
            "ALTER TABLE django_session MODIFY session_data longtext CHARACTER SET utf8mb4"
        )
    moments = [now() + HOUR, (now() // 1_000_000 + 5000) * 1_000_000, 4_102_444_799_999_999]
    values = ["plain", "tab\tnew\nline\r\\N \\. back\\slash", "é 漢 \U0001f600 '\"%s"]

    table.add([KeyedRow(f"key{number}", values[number], moments[number]) for number in range(3)])

    found = table.fetch(["key0", "key1", "key2"])
    assert [(found[f"key{number}"].value, found[f"key{number}"].expires) for number in range(3)] == list(
        zip(values, moments, strict=True)
    )


def test_is_never_as_seen_after_a_change(table: KeyedTable) -> None:
    table.add([row("a"), row("b"), row("c")])
    seen = table.fetch(["a", "b", "c"])
    assert table.are_as_seen(list(seen.values()))

    assert table.replace([(seen["b"], seen["b"]._replace(value="new"))]) == {"b"}
    assert not table.are_as_seen(list(seen.values()))
    assert not table.are_as_seen([seen["a"]._replace(expires=seen["a"].expires + 5_000_000)])
    assert table.discard([seen["b"], seen["c"]]) == {"c"}
    assert not table.are_as_seen([seen["c"]])
    assert table.are_as_seen([seen["a"]])


@pytest.fixture
def without_temporary_tables(databases: FreshDatabases) -> Iterator[None]:
    databases.fresh("postgresql_a")
    connection = connections["postgresql_a"]
    name, user = (connection.ops.quote_name(connection.settings_dict[part]) for part in ("NAME", "USER"))
    with connection.cursor() as cursor:
        cursor.execute(f"REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC, {user}")
    yield
    with connection.cursor() as cursor:
        cursor.execute(f"GRANT TEMPORARY ON DATABASE {name} TO PUBLIC, {user}")


@pytest.mark.postgresql
@pytest.mark.usefixtures("without_temporary_tables")
def test_needs_no_right_to_make_temporary_tables() -> None:
    table = open_table(alias="postgresql_a", layout=LAYOUT)
    table.add([row("a"), row("b")])

    assert table.add([row("a", "other"), row("c")]) == {"c"}
    seen = table.fetch(["a", "b", "c"])
    assert table.replace(
        [(seen["a"], seen["a"]._replace(value="new")), (seen["b"]._replace(value="?"), seen["b"])]
    ) == {"a"}
    assert table.discard([seen["a"], seen["c"]]) == {"c"}
    assert held(table) == {"a": "new", "b": "value"}


@pytest.mark.postgresql
def test_a_table_of_another_schema_is_the_same_one_however_it_is_named(databases: FreshDatabases) -> None:
    databases.fresh("postgresql_a")
    entry = entry_of("postgresql_a")
    options = {**entry["OPTIONS"], "options": "-c search_path=elsewhere"}
    try:
        execute(
            "postgresql_a", "CREATE SCHEMA elsewhere", "CREATE TABLE elsewhere.django_session (LIKE django_session)"
        )
        named = open_table(alias="postgresql_a", layout=replace(LAYOUT, table='elsewhere"."django_session'))
        with another_alias("elsewhere", **{**entry, "OPTIONS": options}):
            found = open_table(alias="elsewhere", layout=LAYOUT)
            usual = open_table(alias="postgresql_a", layout=LAYOUT)
            assert named.identity() == found.identity() != usual.identity()
            named.add([row("a")])
            assert (set(held(found)), set(held(usual))) == ({"a"}, set())
    finally:
        execute("postgresql_a", "DROP SCHEMA elsewhere CASCADE")
