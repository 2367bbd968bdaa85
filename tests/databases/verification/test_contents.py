"""Two databases are compared value by value: every difference is found and named, and nothing else is."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session
from django.db import DatabaseError, connections
from django.db.models import Model, QuerySet

from migrator.databases import run as move
from migrator.databases.api import batch_migrate, batch_migrate_models
from migrator.databases.comparison import Comparison, verify_counts
from migrator.databases.engines.base.values import Unreadable
from migrator.databases.engines.mysql import engine as engine_of_mysql
from migrator.databases.engines.registry import engine_for
from migrator.databases.engines.sqlite import engine as engine_of_sqlite
from migrator.databases.engines.sqlite.digests import SQLiteDigests
from migrator.databases.engines.sqlite.session_process import HelperProcess
from migrator.databases.verification import checksums, table_comparison
from migrator.databases.verification.contents import Contents
from migrator.databases.verification.rows import RowDifference, digests
from migrator.errors import Refused, UsageError
from tests.databases.edge_values import EDGES
from tests.databases.snapshots import insert_rows, snapshot
from tests.management.running import execute, facts, run
from tests.pairs import in_turn
from tests.scenarios.test_structures import shift_content_types
from tests.scenarios.test_values import held_exactly, labelled
from tests.servers.databases import PAIRS, Pair
from tests.testapp.models import (
    BigAutoKey,
    CharValue,
    Comment,
    CompositeKey,
    Counted,
    DateTimeKey,
    DateTimeValue,
    DateValue,
    DecimalKey,
    FloatValue,
    IntegerValue,
    JSONValue,
    Legacy,
    LongDecimalValue,
    ReversedTextValue,
    TextKey,
    TextValue,
    TimeValue,
    UUIDDocument,
    UUIDKey,
)

if TYPE_CHECKING:
    from tests.servers.databases import FreshDatabases

# Each engine once as source and once as destination.
three_pairs = pytest.mark.parametrize("pair", [PAIRS[1], PAIRS[5], PAIRS[6]], ids=str, indirect=True)


def compare(pair: Pair, *models: type[Model], **options: Any) -> Comparison:
    labels = [model._meta.label for model in models]
    return verify_counts(**{"source": pair.source, "dest": pair.dest, "labels": labels, "mode": "full", **options})


def contents_of(comparison: Comparison) -> dict[str, Contents]:
    return {found.label: found for found in comparison.verification.contents}


def named(differences: Sequence[RowDifference]) -> set[tuple[str, str, str]]:
    return {(found.kind, text_of(found.key), " ".join(found.fields)) for found in differences}


def text_of(key: Iterable[Any]) -> str:
    """Write a key as text that is the same however an engine gives it where nothing needs to be converted."""
    texts = [str(value).removesuffix(":00").removesuffix("+00") for value in key]
    return " ".join(re.sub(r"(\.\d*?)0+$", r"\1", text).removesuffix(".").replace("-", "") for text in texts)


def fill_both(pair: Pair, model: type[Model], rows: Sequence[dict[str, Any]]) -> None:
    for alias in pair:
        insert_rows(model, alias, rows)


def sql(alias: str, statement: str, *models: type[Model]) -> None:
    quote = connections[alias].ops.quote_name
    execute(alias, statement.format(*(quote(model._meta.db_table) for model in models)).replace("%", "%%"))


def copy_edges(pair: Pair) -> None:
    for model, edges in EDGES.items():
        insert_rows(model, pair.source, labelled([edge for edge in edges if held_exactly(edge, *pair.engines)]))
    batch_migrate(source=pair.source, dest=pair.dest, labels=[model._meta.label for model in EDGES])


def spelled_otherwise(pair: Pair) -> dict[str, int]:
    """Count, by model, the values that are spelled otherwise although they are equal."""
    texts = [CharValue, TextValue, ReversedTextValue]
    nuls = {model: sum("\0" in (edge.value or "") for edge in EDGES[model]) for model in texts}
    rare = {
        # SQLite counts the characters before NUL.
        ("mysql", "sqlite"): nuls,
        # PostgreSQL finds fewer digits, and not the fewest.
        ("mysql", "postgresql"): {FloatValue: sum(edge.value == 1e23 for edge in EDGES[FloatValue])},
        ("postgresql", "sqlite"): {FloatValue: sum(edge.value == 1e23 for edge in EDGES[FloatValue])},
    }
    one, other = sorted(pair.engines)
    return {model._meta.label: count for model, count in rare.get((one, other), {}).items()}


def test_finds_every_planted_fault_of_every_type_and_no_other(pair: Pair) -> None:
    copy_edges(pair)
    clean = contents_of(compare(pair, *EDGES))
    assert {label for label, found in clean.items() if found.status != "equal"} == set()
    assert {label: found.checked for label, found in clean.items()} == {
        model._meta.label: QuerySet(model, using=pair.source).count() for model in EDGES
    }
    # A spelling that differs costs a second look; all but some rare values have one for all engines.
    assert {label: found.equivalent for label, found in clean.items() if found.equivalent} == spelled_otherwise(pair)
    for model in EDGES:
        # Every other row gets the value of the next.
        sql(
            pair.dest,
            "UPDATE {0} SET value = (SELECT other.value FROM (SELECT id, value FROM {0}) other "
            "WHERE other.id = {0}.id + 1) WHERE MOD(id, 2) = 0 AND id < (SELECT top FROM "
            "(SELECT MAX(id) AS top FROM {0}) largest)",
            model,
        )
    before, after = snapshot(pair.source, EDGES), snapshot(pair.dest, EDGES)
    found = contents_of(compare(pair, *EDGES))
    for label, rows in before.items():
        expected = {
            (int(key), name)
            for key, row in rows.items()
            for name, value in row.items()
            if after[label][key][name] != value
        }
        assert {(int(d.key[0]), name) for d in found[label].differences for name in d.fields} == expected, label
        assert found[label].changed == len(expected), label


@in_turn
@pytest.mark.parametrize("chunk_size", [1, 7, 1000])
@pytest.mark.parametrize("model", [IntegerValue, JSONValue])  # compared by checksum, and row by row
def test_finds_missing_and_extra_rows_at_every_place(pair: Pair, model: type[Model], chunk_size: int) -> None:
    rows = [{"id": n * 10, "label": str(n), "value": n} for n in range(1, 31)]
    fill_both(pair, model, rows)
    sql(pair.dest, "DELETE FROM {0} WHERE id IN (10, 150, 300)", model)
    insert_rows(model, pair.dest, [{"id": n, "label": f"extra {n}", "value": 0} for n in (-5, 155, 305)])
    sql(pair.dest, "UPDATE {0} SET label = 'another' WHERE id = 20", model)
    found = contents_of(compare(pair, model, chunk_size=chunk_size))[model._meta.label]
    assert named(found.differences) == {
        *(("missing", key, "") for key in ("10", "150", "300")),
        *(("extra", key, "") for key in ("5", "155", "305")),
        ("changed", "20", "label"),
    }
    assert (found.missing, found.extra, found.changed, found.status) == (3, 3, 1, "different")


def keyed_rows(model: type[Model]) -> list[dict[str, Any]]:
    """Rows whose keys the engines order otherwise, or read through converters."""
    names = ["a", "B", "c", "É", "d", "Z", "_", "+", "10", "9", "x y", "'"]
    keys: dict[type[Model], list[dict[str, Any]]] = {
        TextKey: [{"code": name} for name in names],
        UUIDKey: [{"id": UUID(int=n * 0x0123456789ABCDEF0123456789ABCD, version=4)} for n in range(12)],
        DateTimeKey: [{"at": datetime(2024, 1, n + 1, 12, 30, 5, tzinfo=UTC)} for n in range(12)],
        DecimalKey: [{"amount": Decimal(n * 125 - 1700).scaleb(-3)} for n in range(12)],
        CompositeKey: [{"tenant": name, "number": n} for n, name in enumerate(names, -20)],
    }
    return [{**key, "label": f"row {n}"} for n, key in enumerate(keys[model])]


@pytest.mark.parametrize("model", [TextKey, UUIDKey, DateTimeKey, DecimalKey, CompositeKey])
def test_finds_rows_by_keys_of_every_type(pair: Pair, model: type[Model]) -> None:
    rows = keyed_rows(model)
    keys = [text_of(value for name, value in row.items() if name != "label") for row in rows]
    fill_both(pair, model, [{**row, "label": "as it was"} for row in rows[:10]])
    insert_rows(model, pair.source, [rows[10]])
    insert_rows(model, pair.dest, [rows[11]])
    sql(pair.dest, "UPDATE {0} SET label = 'changed' WHERE label = 'as it was'", model)
    result = compare(pair, model, chunk_size=3)
    found = contents_of(result)[model._meta.label]
    assert named(found.differences) == {
        *(("changed", key, "label") for key in keys[:10]),
        ("missing", keys[10], ""),
        ("extra", keys[11], ""),
    }
    assert result.exit_code == 3


def test_tells_values_apart_that_look_alike(pair: Pair) -> None:
    texts = [("a|b", "c"), ("", "null"), ("1:a", ""), ("-;", "x"), ("b\\", "b")]
    others = [("a", "b|c"), ("<null>", None), ("1", ":a"), ("-", ";x"), ("b", "\\b")]
    for alias, rows in zip(pair, (texts, others), strict=True):
        insert_rows(
            TextValue, alias, [{"id": n, "label": one, "value": other} for n, (one, other) in enumerate(rows, 1)]
        )
    insert_rows(FloatValue, pair.source, [{"id": 1, "label": "", "value": 0.1}])
    insert_rows(FloatValue, pair.dest, [{"id": 1, "label": "", "value": 0.10000000000000002}])
    found = contents_of(compare(pair, TextValue, FloatValue))
    assert {int(d.key[0]) for d in found["testapp.TextValue"].differences} == {1, 2, 3, 4, 5}
    assert named(found["testapp.FloatValue"].differences) == {("changed", "1", "value")}


def documents(model: type[Model], numbers: Iterable[int], names: str) -> list[dict[str, Any]]:
    """Make rows of documents that hold ``names`` in this order."""
    values = {n: {"a": n, "b": [1.5, None, True, 10**20]} for n in numbers}
    rows = [{"id": n, "label": str(n), "value": {name: value[name] for name in names}} for n, value in values.items()]
    if model is UUIDDocument:
        return [{"id": UUID(int=row["id"] << 120), "value": row["value"]} for row in rows]
    return rows


@pytest.mark.parametrize("planted", [False, True], ids=["equal", "planted"])
@pytest.mark.parametrize("model", [JSONValue, UUIDDocument])
def test_compares_documents_whose_keys_are_in_another_order(pair: Pair, model: type[Model], planted: bool) -> None:
    """They have no text in common, and are read beside the checksums of the other columns.

    From SQLite to SQLite their texts have to arrive as they are.
    """
    own, other = ("ab", "ab") if set(pair.engines) == {"sqlite"} else ("ab", "ba")
    insert_rows(model, pair.source, documents(model, range(40), own))
    insert_rows(model, pair.dest, documents(model, range(40), other))
    key = documents(model, [7], own)[0]["id"]
    if planted:
        changed: Any = {"a": 7, "b": [1.5, None, 1, 10**20]}
        QuerySet(model, using=pair.dest).filter(id=key).update(value=changed)
    found = contents_of(compare(pair, model, chunk_size=9))[model._meta.label]
    assert named(found.differences) == ({("changed", text_of([key]), "value")} if planted else set())
    assert (found.method, found.checked) == ("checksum", 40)


@pytest.mark.parametrize("model", [JSONValue, UUIDDocument])
def test_finds_missing_and_extra_rows_beside_documents(pair: Pair, model: type[Model]) -> None:
    insert_rows(model, pair.source, documents(model, range(1, 12), "ab"))
    insert_rows(model, pair.dest, documents(model, range(11), "ab"))
    first, last = (text_of([row["id"]]) for row in documents(model, [0, 11], "ab"))
    found = contents_of(compare(pair, model, chunk_size=5))[model._meta.label]
    assert named(found.differences) == {("extra", first, ""), ("missing", last, "")}


def test_tells_large_numbers_in_documents_apart(databases: FreshDatabases) -> None:
    """Python reads both as infinite."""
    pair = Pair("sqlite_a", "sqlite_b")
    databases.fresh(*pair)
    for alias, number in zip(pair, ("1e400", "2e400"), strict=True):
        insert_rows(JSONValue, alias, [{"id": 1, "label": "", "value": 0}])
        sql(alias, f"UPDATE {{0}} SET value = '{number}'", JSONValue)
    assert named(contents_of(compare(pair, JSONValue))["testapp.JSONValue"].differences) == {("changed", "1", "value")}


@pytest.mark.parametrize("fate", ["it answers", "it is killed", "it sees a later moment"])
def test_compares_two_files_with_the_help_of_a_process(
    databases: FreshDatabases, fate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What that fails at, the session itself is asked."""
    pair = Pair("sqlite_a", "sqlite_b")
    databases.fresh(*pair)
    fill_both(pair, CharValue, [{"id": n, "label": str(n), "value": f"v{n}"} for n in range(1, 40)])
    sql(pair.dest, "UPDATE {0} SET value = 'w' WHERE id = 30", CharValue)
    monkeypatch.setattr(checksums, "HELPED_ROWS", 0)
    monkeypatch.setattr(engine_of_sqlite, "WORTH_A_PROCESS", 0)
    asked: list[str] = []
    ask = HelperProcess.fetch_all

    def fetch_all(process: HelperProcess, query: str, params: Sequence[Any]) -> list[Any]:
        if fate == "it is killed":
            process._process.kill()
        asked.append(query)
        return ask(process, query, params)

    monkeypatch.setattr(HelperProcess, "fetch_all", fetch_all)
    if fate == "it sees a later moment":
        wait = HelperProcess.wait

        def wait_and_write(process: HelperProcess) -> None:
            wait(process)
            with closing(connections[pair.dest].copy()) as other, other.cursor() as cursor:
                cursor.execute("UPDATE testapp_charvalue SET value = 'v30' WHERE id = 30")

        for alias in pair:
            execute(alias, "PRAGMA journal_mode = wal")
        monkeypatch.setattr(HelperProcess, "wait", wait_and_write)
    found = contents_of(compare(pair, CharValue, chunk_size=10))["testapp.CharValue"]
    assert len(asked) == {"it answers": 4, "it is killed": 1, "it sees a later moment": 0}[fate]
    assert named(found.differences) == {("changed", "30", "value")}


def test_tells_texts_with_nul_apart_where_rows_go_by_their_texts(
    databases: FreshDatabases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite counts the characters before NUL alone, so that it does not know where such a text ends."""
    pair = Pair("sqlite_a", "sqlite_b")
    databases.fresh(*pair)
    monkeypatch.setattr(SQLiteDigests, "checksum_of_rows_query", lambda *arguments: None)
    insert_rows(TextValue, pair.source, [{"id": 1, "label": "a\0b", "value": "z\0w5:textq"}])
    insert_rows(TextValue, pair.dest, [{"id": 1, "label": "a\0b5:textz\0w", "value": "q"}])
    found = contents_of(compare(pair, TextValue))["testapp.TextValue"]
    assert named(found.differences) == {("changed", "1", "label value")}


def test_compares_files_with_texts_that_are_none(databases: FreshDatabases) -> None:
    pair = Pair("sqlite_a", "sqlite_b")
    databases.fresh(*pair)
    fill_both(pair, CharValue, [{"id": n, "label": str(n), "value": f"v{n}"} for n in range(1, 40)])
    for alias in pair:
        sql(alias, "UPDATE {0} SET value = CAST(x'ff' || value AS TEXT) WHERE id IN (5, 25)", CharValue)
    sql(pair.dest, "UPDATE {0} SET value = CAST(x'fe' AS TEXT) WHERE id = 25", CharValue)
    found = contents_of(compare(pair, CharValue, chunk_size=10))["testapp.CharValue"]
    assert named(found.differences) == {("changed", "25", "value")}
    assert (found.method, found.checked) == ("checksum", 39)


@in_turn
@pytest.mark.parametrize("mode", ["sample", "full"])
def test_sees_where_a_generated_column_is_computed_otherwise(pair: Pair, mode: str) -> None:
    fill_both(pair, Counted, [{"id": number, "width": number, "height": 2} for number in (1, 2, 3)])
    (same,) = contents_of(compare(pair, Counted, mode=mode)).values()
    assert (same.status, same.checked, same.equivalent) == ("equal", 3, 0)
    stored = "STORED" if pair.dest.startswith("postgresql") else "VIRTUAL"
    sql(pair.dest, "ALTER TABLE {0} DROP COLUMN area", Counted)
    sql(pair.dest, f"ALTER TABLE {{0}} ADD COLUMN area bigint GENERATED ALWAYS AS (width + height) {stored}", Counted)
    (found,) = contents_of(compare(pair, Counted, mode=mode)).values()
    assert named(found.differences) == {("changed", "1", "area"), ("changed", "3", "area")}


def indexed(model: type[Model], count: int) -> list[dict[str, Any]]:
    """Rows of one of three kinds of keys: whole numbers with gaps on both sides of zero, UUIDs, and two columns."""
    keys: dict[type[Model], list[dict[str, Any]]] = {
        IntegerValue: [{"id": 3 * n - count, "value": n} for n in range(count)],
        UUIDKey: [{"id": UUID(int=(n + 1) * 0x0123456789ABCDEF0123456789ABCD, version=4)} for n in range(count)],
        TextKey: [{"code": f"c{n}"} for n in range(count)],
        CompositeKey: [{"tenant": f"t{n % 7}", "number": n} for n in range(count)],
    }
    return [{**key, "label": f"row {n}"} for n, key in enumerate(keys[model])]


@pytest.mark.slow
@three_pairs
@pytest.mark.parametrize("chunk_size", [1200, 10_000])
@pytest.mark.parametrize("model", [IntegerValue, UUIDKey, TextKey, CompositeKey])
def test_looks_only_at_the_parts_of_a_range_that_differ(
    pair: Pair, model: type[Model], chunk_size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = indexed(model, 2400)
    keys = [text_of(value for name, value in row.items() if name not in ("label", "value")) for row in rows]
    fill_both(pair, model, rows[:2] + rows[3:])
    insert_rows(model, pair.source, [rows[2]])
    sql(pair.dest, "UPDATE {0} SET label = 'changed' WHERE label = 'row 1100'", model)
    sql(pair.source, "DELETE FROM {0} WHERE label = 'row 2399'", model)
    read = []

    def counted(*arguments: Any) -> Any:
        found = digests(*arguments)
        read.append(len(found))
        return found

    monkeypatch.setattr(table_comparison, "digests", counted)
    found = contents_of(compare(pair, model, chunk_size=chunk_size))[model._meta.label]
    assert named(found.differences) == {
        ("missing", keys[2], ""),
        ("changed", keys[1100], "label"),
        ("extra", keys[2399], ""),
    }
    assert sum(read) < len(rows)  # of both sides


@in_turn
def test_goes_on_to_find_all_rows_where_most_parts_differ(pair: Pair) -> None:
    many(pair, 2500)
    sql(pair.dest, "UPDATE {0} SET value = -1 WHERE MOD(id, 10) = 0", IntegerValue)
    found = contents_of(compare(pair, IntegerValue, chunk_size=1250))["testapp.IntegerValue"]
    assert (found.changed, found.missing, found.extra, found.checked) == (250, 0, 0, 2500)


@in_turn
def test_compares_two_empty_tables(pair: Pair) -> None:
    result = compare(pair, IntegerValue, FloatValue)
    assert [(found.status, found.checked) for found in result.verification.contents] == [("equal", 0)] * 2
    assert result.exit_code == 0


@in_turn
def test_finds_all_rows_of_an_empty_destination_and_lists_as_many_as_asked_for(pair: Pair) -> None:
    insert_rows(IntegerValue, pair.source, [{"id": n, "label": str(n), "value": n} for n in range(1, 41)])
    found = contents_of(compare(pair, IntegerValue, chunk_size=9, max_diffs=5))["testapp.IntegerValue"]
    assert (found.missing, len(found.differences), found.is_truncated) == (40, 5, True)
    back = contents_of(compare(Pair(pair.dest, pair.source), IntegerValue, max_diffs=50))["testapp.IntegerValue"]
    assert (back.extra, len(back.differences), back.is_truncated) == (40, 40, False)


@pytest.mark.parametrize("spelling", ["2024-05-06 07:08:09.000000", "2024-05-06T07:08:09", "2024-05-06 09:08:09+02:00"])
def test_calls_another_spelling_of_a_value_equal(databases: FreshDatabases, spelling: str) -> None:
    """SQLite keeps dates as text, and Django reads more than one form of it."""
    pair = Pair("sqlite_a", "postgresql_b")
    databases.fresh(*pair)
    fill_both(pair, DateTimeValue, [{"id": 1, "label": "", "value": datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)}])
    sql(pair.source, f"UPDATE {{0}} SET value = '{spelling}'", DateTimeValue)
    assert contents_of(compare(pair, DateTimeValue))["testapp.DateTimeValue"].status == "equal"
    sql(
        pair.source,
        f"UPDATE {{0}} SET value = '{spelling.replace('07:08', '07:09').replace('09:08', '09:09')}'",
        DateTimeValue,
    )
    found = contents_of(compare(pair, DateTimeValue))["testapp.DateTimeValue"]
    assert named(found.differences) == {("changed", "1", "value")}


@pytest.mark.parametrize(
    ("model", "dirt"),
    [(IntegerValue, "'ten'"), (CharValue, "x'6161'"), (DateTimeValue, "'soon'"), (FloatValue, "'1.5x'")],
)
def test_calls_what_its_field_cannot_mean_different(databases: FreshDatabases, model: type[Model], dirt: str) -> None:
    pair = Pair("postgresql_a", "sqlite_b")
    databases.fresh(*pair)
    fill_both(pair, model, [{"id": 1, "label": "", "value": {CharValue: "aa"}.get(model)}])
    sql(pair.dest, f"UPDATE {{0}} SET value = {dirt}", model)
    assert contents_of(compare(pair, model))[model._meta.label].changed == 1


@pytest.mark.postgresql
@pytest.mark.parametrize(
    ("model", "dirt"),
    [
        (DateValue, "'infinity'"),
        (DateValue, "'-infinity'"),
        (DateValue, "'0044-03-15 BC'"),
        (DateTimeValue, "'infinity'"),
        (DateTimeValue, "'20000-01-01 00:00:00+00'"),
        (TimeValue, "'24:00:00'"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
@pytest.mark.parametrize("dest", ["sqlite_b", "mysql_b", "postgresql_b"])
def test_goes_on_past_what_pythons_calendar_does_not_hold(
    databases: FreshDatabases, dest: str, model: type[Model], dirt: str
) -> None:
    pair = Pair("postgresql_a", dest)
    databases.fresh(*pair)
    fill_both(pair, model, [{"id": number, "label": str(number), "value": None} for number in range(1, 6)])
    sql(pair.source, f"UPDATE {{0}} SET value = {dirt} WHERE id = 3", model)
    sql(pair.dest, "DELETE FROM {0} WHERE id = 5", model)
    found = contents_of(compare(pair, model))[model._meta.label]
    assert named(found.differences) == {("changed", "3", "value"), ("missing", "5", "")}
    assert found.checked == 5
    # Otherwise such a value is an error, as before.
    engine = engine_for(connections[pair.source])
    with engine.reading_everything():
        assert isinstance(engine.fetch_value("SELECT '20000-01-01'::date"), Unreadable)
    with pytest.raises((DatabaseError, ValueError)):
        engine.fetch_value("SELECT '20000-01-01'::date")


@pytest.mark.parametrize("there", ["1234567890123460000", "1234567890123456789"], ids=["rounded", "exact"])
def test_calls_an_integer_that_is_no_decimal_of_sqlite_different(databases: FreshDatabases, there: str) -> None:
    pair = Pair("sqlite_a", "postgresql_b")
    databases.fresh(*pair)
    fill_both(pair, LongDecimalValue, [{"id": n, "label": str(n), "value": Decimal(there)} for n in (1, 2)])
    sql(pair.source, "UPDATE {0} SET value = CASE id WHEN 1 THEN 1234567890123456789 ELSE 1e18 END", LongDecimalValue)
    sql(pair.dest, "UPDATE {0} SET value = 1e18 WHERE id = 2", LongDecimalValue)
    found = contents_of(compare(pair, LongDecimalValue))["testapp.LongDecimalValue"]
    assert named(found.differences) == {("changed", "1", "value")}


@in_turn
def test_compares_by_value_what_a_database_can_make_no_digest_of(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a function gives NULL for a value that is too large for it, on both sides alike."""
    fill_both(pair, CharValue, [{"id": n, "label": str(n), "value": f"v{n}"} for n in range(1, 6)])
    sql(pair.dest, "UPDATE {0} SET value = 'w' WHERE id = 3", CharValue)
    for engine in (engine_for(connections[alias]) for alias in pair):
        monkeypatch.setattr(type(engine.digests), "length_prefixed", lambda digests, text: f"NULLIF({text}, {text})")
    found = contents_of(compare(pair, CharValue))["testapp.CharValue"]
    assert named(found.differences) == {("changed", "3", "value")}
    assert (found.checked, found.equivalent) == (5, 4)


# -- digests of blocks of rows ------------------------------------------------------------------------------------

KEYS = [-(2**62), -250, *range(-130, 131), 1_000, 2**53 + 1, 2**62]


def fill_from_the_end(pair: Pair) -> None:
    fill_both(pair, BigAutoKey, [{"id": n, "label": f"row {n}"} for n in reversed(KEYS)])


@in_turn
def test_compares_rows_with_neighbouring_keys_by_one_digest(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is several times as fast as a digest of each row."""
    fill_from_the_end(pair)
    engines = [engine_for(connections[alias]) for alias in pair]
    if not all(engine.digests.joins_blocks for engine in engines):
        pytest.skip("MySQL itself makes a digest of each row")
    for engine in engines:
        monkeypatch.setattr(type(engine.digests), "checksum_query", lambda *arguments: "SELECT no_digest_of_each_row")
    found = contents_of(compare(pair, BigAutoKey))["testapp.BigAutoKey"]
    assert (found.status, found.method, found.checked) == ("equal", "checksum", len(KEYS))


@in_turn
def test_finds_rows_that_have_exchanged_their_values(pair: Pair) -> None:
    """Also next to each other, below zero and at the limits of the keys."""
    fill_from_the_end(pair)
    for one, other in ((-101, -100), (-1, 0), (-(2**62), 2**62)):
        for key, label in ((one, f"row {other}"), (other, f"row {one}")):
            sql(pair.dest, f"UPDATE {{0}} SET label = '{label}' WHERE id = {key}", BigAutoKey)
    found = contents_of(compare(pair, BigAutoKey))["testapp.BigAutoKey"]
    assert {int(key) for row in found.differences for key in row.key} == {-101, -100, -1, 0, -(2**62), 2**62}


@pytest.mark.mysql
@pytest.mark.parametrize("pair", [p for p in PAIRS if set(p.engines) == {"mysql"}], ids=str, indirect=True)
def test_sees_what_follows_where_a_joined_text_is_cut_off(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """MySQL cuts the texts of a block off at a limit, and only warns."""
    monkeypatch.setitem(engine_of_mysql.SESSION_SETTINGS, "group_concat_max_len", 64)  # type: ignore[arg-type]
    fill_from_the_end(pair)
    found = contents_of(compare(pair, BigAutoKey))["testapp.BigAutoKey"]
    assert (found.status, found.method, found.checked) == ("equal", "checksum", len(KEYS))
    sql(pair.dest, "UPDATE {0} SET label = 'cow 88' WHERE id = 88", BigAutoKey)
    found = contents_of(compare(pair, BigAutoKey))["testapp.BigAutoKey"]
    assert named(found.differences) == {("changed", "88", "label")}


# -- columns that are filled up with spaces -----------------------------------------------------------------------

FILLED_UP = {
    "postgresql": "ALTER TABLE {table} ALTER COLUMN {column} TYPE char({size})",
    "mysql": "ALTER TABLE {table} MODIFY {column} char({size}) NOT NULL",
}
WITH_POSTGRESQL = pytest.mark.parametrize(
    "pair", [pair for pair in PAIRS if "postgresql" in pair.engines], ids=str, indirect=True
)


def fill_up(pair: Pair, model: type[Model], column: str, *engines: str) -> None:
    """Fill a column of text up with spaces, in two PostgreSQL databases to other lengths."""
    for alias, engine, size in zip(pair, pair.engines, (20, 21 if len({*pair.engines}) == 1 else 20), strict=True):
        if engine in engines:
            execute(alias, FILLED_UP[engine].format(table=model._meta.db_table, column=column, size=size))


@WITH_POSTGRESQL
@pytest.mark.parametrize("others", ["as they are", "filled up"])
def test_calls_texts_equal_that_only_fill_up_a_column_of_postgresql(pair: Pair, others: str) -> None:
    texts = ["", "a", " a", "a b", "a\t", "é", "x" * 20]
    for alias in pair:
        is_filled_up = others == "filled up" and not alias.startswith("postgresql")
        values = [text.ljust(20) if is_filled_up else text for text in texts]
        rows = [{"id": n, "label": f"l{n}", "value": value} for n, value in enumerate(values, 1)]
        insert_rows(CharValue, alias, [*rows, {"id": 99, "label": "l99", "value": None}])
    fill_up(pair, CharValue, "value", "postgresql")
    for one, other in (pair, reversed(pair)):
        (found,) = contents_of(compare(Pair(one, other), CharValue, chunk_size=3)).values()
        assert (named(found.differences), found.checked) == (set(), 8)
    sql(pair.dest, "UPDATE {0} SET value = 'a' WHERE id IN (3, 5)", CharValue)
    sql(pair.dest, "UPDATE {0} SET value = '' WHERE id = 99", CharValue)
    sql(pair.dest, "UPDATE {0} SET label = 'l2 ' WHERE id = 2", CharValue)
    (found,) = contents_of(compare(pair, CharValue, chunk_size=3)).values()
    changed = {("changed", "2", "label"), *(("changed", key, "value") for key in ("3", "5", "99"))}
    assert named(found.differences) == changed


@WITH_POSTGRESQL
@pytest.mark.parametrize("others", ["as they are", "filled up"])
def test_finds_rows_by_keys_that_fill_up_a_column_of_postgresql(pair: Pair, others: str) -> None:
    for alias in pair:
        is_filled_up = others == "filled up" and not alias.startswith("postgresql")
        keys = [*"abcd", "e" if alias == pair.source else "f"]
        insert_rows(Legacy, alias, [{"code": key.ljust(20) if is_filled_up else key, "amount": 0} for key in keys])
    fill_up(pair, Legacy, "code", "postgresql")
    sql(pair.dest, "UPDATE {0} SET amount = 1 WHERE TRIM(code) = 'b'", Legacy)
    (found,) = contents_of(compare(pair, Legacy)).values()
    assert {(kind, key.strip(), fields) for kind, key, fields in named(found.differences)} == {
        ("changed", "b", "amount"), ("missing", "e", ""), ("extra", "f", ""),
    }  # fmt: skip


@WITH_POSTGRESQL
@pytest.mark.parametrize("is_filled_up", [False, True], ids=["varchar", "char"])
def test_moves_what_fills_up_a_column_of_postgresql_as_django_reads_it(pair: Pair, is_filled_up: bool) -> None:
    """From there it does; there, Django would read more spaces than the source has."""
    insert_rows(
        Legacy, pair.source, [{"code": code, "amount": n} for n, code in enumerate(("", "a", " b", "c d", "é"))]
    )
    fill_up(pair, Legacy, "code", "postgresql", *(["mysql"] if is_filled_up else []))
    if pair.dest.startswith("postgresql") and not pair.source.startswith("postgresql"):
        with pytest.raises(Refused, match=r"testapp\.Legacy\.code: 5 values: shorter than character\(20\)"):
            batch_migrate(source=pair.source, dest=pair.dest, labels=["testapp.Legacy"])
        return
    outcome = batch_migrate(source=pair.source, dest=pair.dest, labels=["testapp.Legacy"], verify="full", chunk_size=2)
    assert outcome.exit_code == 0, outcome.verification
    here, there = (sorted(QuerySet(Legacy, using=alias).values_list("code", "amount")) for alias in pair)
    if pair.source.startswith("postgresql") and not (is_filled_up or pair.dest.startswith("postgresql")):
        assert there == here
    assert [(code.rstrip(" "), amount) for code, amount in there] == [
        (code.rstrip(" "), amount) for code, amount in here
    ]


# -- samples ------------------------------------------------------------------------------------------------------


def many(pair: Pair, count: int = 1500) -> None:
    fill_both(pair, IntegerValue, [{"id": n, "label": str(n), "value": n} for n in range(1, count + 1)])


@three_pairs
def test_a_sample_depends_on_its_seed_alone(pair: Pair) -> None:
    many(pair)
    sql(pair.dest, "UPDATE {0} SET value = value + 1", IntegerValue)
    chosen = {}
    for seed in (1, 2):
        options = {"mode": "sample", "sample": 300, "seed": seed}
        found = [contents_of(compare(pair, IntegerValue, **options))["testapp.IntegerValue"] for _ in range(2)]
        back = contents_of(compare(Pair(pair.dest, pair.source), IntegerValue, **options))["testapp.IntegerValue"]
        keys = [{int(d.key[0]) for d in one.differences} for one in (*found, back)]
        assert keys[0] == keys[1] == keys[2]
        chosen[seed] = keys[0]
        # Some 300 of those between the first and the last hundred, and these.
        assert 380 < len(keys[0]) < 540
        assert {*range(1, 101), *range(1401, 1501)} <= keys[0]
    assert chosen[1] != chosen[2]


@three_pairs
def test_a_sample_sees_missing_and_extra_rows(pair: Pair) -> None:
    many(pair)
    sql(pair.dest, "DELETE FROM {0} WHERE MOD(id, 3) = 0", IntegerValue)
    sql(pair.source, "DELETE FROM {0} WHERE MOD(id, 3) = 1", IntegerValue)
    found = contents_of(compare(pair, IntegerValue, mode="sample", sample=300, seed=3))["testapp.IntegerValue"]
    assert found.missing > 100
    assert found.extra > 60
    assert found.changed == 0
    assert {int(d.key[0]) % 3 for d in found.differences if d.kind == "missing"} == {0}
    assert {int(d.key[0]) % 3 for d in found.differences if d.kind == "extra"} == {1}


@three_pairs
def test_a_sample_sees_the_longest_text_cut(pair: Pair) -> None:
    rows = [{"id": n, "label": str(n), "value": "x" * (n % 7)} for n in range(1, 1501)]
    rows[699]["value"] = "é" * 12
    fill_both(pair, CharValue, rows)
    sql(pair.dest, "UPDATE {0} SET value = 'éé' WHERE id = 700", CharValue)
    for seed in range(3):
        found = contents_of(compare(pair, CharValue, mode="sample", sample=200, seed=seed))["testapp.CharValue"]
        assert named(found.differences) == {("changed", "700", "value")}
        assert found.status == "different"


@three_pairs
def test_a_sample_counts_the_nulls_of_all_rows(pair: Pair) -> None:
    many(pair, 3000)
    sql(pair.source, "UPDATE {0} SET value = NULL WHERE id IN (400, 500)", IntegerValue)
    sql(pair.dest, "UPDATE {0} SET value = NULL WHERE id IN (400, 600, 601)", IntegerValue)
    found = contents_of(compare(pair, IntegerValue, mode="sample", sample=1, seed=1))["testapp.IntegerValue"]
    assert (found.differing, found.nulls, found.status) == (0, {"value": (2, 3)}, "different")


@in_turn
def test_a_sample_of_a_small_table_is_the_whole_table(pair: Pair) -> None:
    many(pair, 150)
    sql(pair.dest, "UPDATE {0} SET value = -1 WHERE id = 77", IntegerValue)
    found = contents_of(compare(pair, IntegerValue, mode="sample", sample=20))["testapp.IntegerValue"]
    assert named(found.differences) == {("changed", "77", "value")}
    assert found.checked == 150


# -- what people and programs read --------------------------------------------------------------------------------


@pytest.fixture
def sqlite(databases: FreshDatabases) -> Pair:
    """Give two fresh SQLite databases, for what no engine makes a difference to."""
    databases.fresh("sqlite_a", "sqlite_b")
    return Pair("sqlite_a", "sqlite_b")


def words(pair: Pair, *more: str) -> list[str]:
    return ["verify_counts", "--source", pair.source, "--dest", pair.dest, *more]


def test_names_rows_and_fields_and_shows_values_only_when_asked(sqlite: Pair) -> None:
    fill_both(sqlite, CharValue, [{"id": n, "label": f"l{n}", "value": "secret one"} for n in range(1, 5)])
    sql(sqlite.dest, "UPDATE {0} SET value = 'secret two', label = 'new' WHERE id = 2", CharValue)
    sql(sqlite.dest, "DELETE FROM {0} WHERE id = 4", CharValue)
    quiet = run(*words(sqlite, "testapp.CharValue", "--mode", "full"))
    assert quiet.code == 3
    assert "testapp.CharValue 2: changed: label, value\n" in quiet.out
    assert "testapp.CharValue 4: missing\n" in quiet.out
    assert facts(quiet.out)["values"] == "differ in 1 table: compared all 4 rows of 1 table"
    assert "secret" not in quiet.out + quiet.err
    shown = run(*words(sqlite, "testapp.CharValue", "--mode", "full", "--show-values"))
    line = "testapp.CharValue 2: changed: label 'l2' became 'new'; value 'secret one' became 'secret two'\n"
    assert line in shown.out


def test_writes_one_document_for_programs(sqlite: Pair) -> None:
    fill_both(sqlite, CharValue, [{"id": n, "label": str(n), "value": "one"} for n in range(1, 5)])
    sql(sqlite.dest, "UPDATE {0} SET value = 'two' WHERE id = 2", CharValue)
    finished = run(*words(sqlite, "testapp.CharValue", "--mode", "full", "--format", "json"))
    document = json.loads(finished.out)
    assert document["mode"] == "full"
    assert document["exit_code"] == finished.code == 3
    assert document["models"] == [
        {
            "label": "testapp.CharValue", "table": "testapp_charvalue", "source_rows": 4, "dest_rows": 4,
            "status": "equal", "checked": 4, "method": "checksum", "missing": 0, "extra": 0, "changed": 1,
            "equivalent": 0, "nulls": {}, "values": "different", "reason": None, "truncated": False,
            "diffs": [{"pk": "2", "kind": "changed", "fields": ["value"]}],
        }
    ]  # fmt: skip


def test_says_that_a_database_computes_a_generated_column_for_itself(sqlite: Pair) -> None:
    fill_both(sqlite, Counted, [{"id": number, "width": number, "height": 2} for number in (1, 2, 3)])
    text = "testapp.Counted.area is a generated column: its expression has another result in the destination."
    sql(sqlite.dest, "UPDATE {0} SET width = 7 WHERE id = 3", Counted)
    finished = run(*words(sqlite, "testapp.Counted", "--mode", "full"))
    assert "testapp.Counted 3: changed: width, area\n" in finished.out
    assert text not in finished.out
    sql(sqlite.dest, "ALTER TABLE {0} DROP COLUMN area", Counted)
    sql(sqlite.dest, "ALTER TABLE {0} ADD COLUMN area bigint GENERATED ALWAYS AS (width) VIRTUAL", Counted)
    assert text in run(*words(sqlite, "testapp.Counted", "--mode", "full")).out


def test_shows_keys_of_sessions_as_digests(sqlite: Pair) -> None:
    key = "abcdefghijklmnopqrstuvwxyz012345"
    day = datetime(2030, 1, 1, tzinfo=UTC)
    insert_rows(Session, sqlite.source, [{"session_key": key, "session_data": "data", "expire_date": day}])
    finished = run(*words(sqlite, "sessions", "--mode", "full", "--show-values"))
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    assert f"sessions.Session sha256:{digest}: missing\n" in finished.out
    assert key not in finished.out + finished.err


def test_tells_where_the_nulls_of_a_column_differ(sqlite: Pair) -> None:
    many(sqlite)
    sql(sqlite.dest, "UPDATE {0} SET value = NULL WHERE id BETWEEN 300 AND 1200", IntegerValue)
    finished = run(*words(sqlite, "testapp.IntegerValue", "--mode", "sample", "--sample", "1", "--seed", "1"))
    text = "testapp.IntegerValue.value: NULL in 0 rows of the source and in 901 of the destination.\n"
    assert finished.code == 3
    assert text in finished.out


def test_says_what_a_sample_proves(sqlite: Pair) -> None:
    many(sqlite)
    finished = run(*words(sqlite, "testapp.IntegerValue", "--mode", "sample", "--sample", "300", "--seed", "7"))
    assert finished.code == 0
    found = facts(finished.out)
    assert re.fullmatch(r"equal: compared a sample of \d{3} rows of 1 table \(--seed 7\)", found["values"])
    assert found["sample"] == (
        "finds damage to 1 % of a table's rows 19 times in 20, but hardly ever a single bad row (--sample 300); "
        "--mode full finds every one"
    )


def test_tells_tables_that_cannot_be_compared_apart_from_equal_ones(sqlite: Pair) -> None:
    execute(sqlite.dest, "ALTER TABLE testapp_charvalue RENAME COLUMN value TO worth")
    finished = run(*words(sqlite, "testapp.CharValue", "--mode", "full"))
    assert finished.code == 4
    assert "testapp.CharValue: 'sqlite_b' lacks 'value'.\n" in finished.out
    assert facts(finished.out)["not compared"] == "testapp.CharValue"
    assert "The values of 1 table could not be compared.\n" in finished.out


def test_refuses_an_unknown_mode(sqlite: Pair) -> None:
    with pytest.raises(UsageError, match=r"^mode is 'half'; it has to be one of count, sample, full\.$"):
        compare(sqlite, IntegerValue, mode="half")


# -- at the end of a move -----------------------------------------------------------------------------------------


def test_proves_a_move_by_its_values(pair: Pair) -> None:
    insert_rows(CharValue, pair.source, [{"id": n, "label": str(n), "value": f"v{n}"} for n in range(1, 31)])
    outcome = batch_migrate(
        source=pair.source, dest=pair.dest, labels=["testapp.CharValue"], verify="full", chunk_size=10
    )
    assert outcome.verification is not None
    assert [(found.checked, found.status) for found in outcome.verification.contents] == [(30, "equal")]
    assert outcome.exit_code == 0


def test_sees_what_became_of_values_on_the_way(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trigger, another writer, a defect: whoever changed a row after it was written is found out."""
    insert_rows(CharValue, pair.source, [{"id": n, "label": str(n), "value": f"v{n}"} for n in range(1, 31)])

    def damage(*arguments: Any) -> None:
        with connections[pair.dest].cursor() as cursor:
            cursor.execute("UPDATE testapp_charvalue SET value = 'w' WHERE id = 17")

    monkeypatch.setattr(move, "reset_sequences", damage)
    outcome = batch_migrate(source=pair.source, dest=pair.dest, labels=["testapp.CharValue"], verify="full")
    assert outcome.verification is not None
    assert named(outcome.verification.contents[0].differences) == {("changed", "17", "value")}
    assert outcome.exit_code == 3


def test_expects_rejected_rows_to_be_missing(databases: FreshDatabases, tmp_path: Path) -> None:
    pair = Pair("sqlite_a", "postgresql_b")
    databases.fresh(*pair)
    values = ["v", "v", "\0", "v"]
    insert_rows(CharValue, pair.source, [{"id": n, "label": str(n), "value": v} for n, v in enumerate(values, 1)])
    outcome = batch_migrate(
        source=pair.source, dest=pair.dest, labels=["testapp.CharValue"], verify="full", on_error="skip",
        rejects=tmp_path / "rejects.jsonl",
    )  # fmt: skip
    assert outcome.verification is not None
    assert [(found.missing, found.status) for found in outcome.verification.contents] == [(1, "equal")]
    assert outcome.exit_code == 4


@in_turn
def test_compares_chosen_rows_with_a_destination_that_has_others(pair: Pair) -> None:
    insert_rows(CharValue, pair.source, [{"id": n, "label": str(n), "value": f"v{n}"} for n in range(1, 31)])
    insert_rows(CharValue, pair.dest, [{"id": n, "label": str(n), "value": "its own"} for n in (1, 2, 100)])
    outcome = batch_migrate_models(
        models=["testapp.CharValue"], source=pair.source, dest=pair.dest, filters=["id__gt=20"], verify="full"
    )
    assert outcome.verification is not None
    assert [(found.checked, found.status) for found in outcome.verification.contents] == [(10, "equal")]
    assert outcome.exit_code == 0


@three_pairs
def test_follows_references_to_rows_that_have_other_ids_in_the_destination(pair: Pair) -> None:
    """Content types are on both sides already, under ids of their own, so what points at them is translated."""
    shift_content_types(pair.dest, 500)
    of_tag = QuerySet(ContentType, using=pair.source).get(app_label="testapp", model="tag").pk
    insert_rows(
        Comment, pair.source, [{"id": n, "content_type_id": of_tag, "object_id": n, "text": ""} for n in range(1, 6)]
    )
    outcome = batch_migrate_models(models=["testapp.Comment"], source=pair.source, dest=pair.dest, verify="full")
    assert outcome.verification is not None
    assert [(found.checked, found.status) for found in outcome.verification.contents] == [(5, "equal")]
