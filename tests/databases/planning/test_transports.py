"""The faster ways bring what the slow one brings: lines of text, and values that nothing was found against."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.db.models import Model, QuerySet

from migrator.conf import load
from migrator.databases.api import batch_migrate
from migrator.databases.copying import chunk
from migrator.databases.endpoints import open_endpoints
from migrator.databases.engines.base.server_lines import LineField
from migrator.databases.engines.sqlite import server_lines
from migrator.databases.engines.sqlite.engine import SQLite
from migrator.databases.planning import column_limits
from migrator.databases.planning.column_limits import Answer
from migrator.databases.planning.parallel_queries import completed
from migrator.databases.planning.plan_request import PlanRequest
from migrator.databases.planning.preflight import make_plan
from migrator.databases.planning.selection import select
from migrator.databases.planning.table_route import Route
from migrator.databases.planning.transports import ConvertedRows, TextStream
from migrator.databases.result import RunResult
from migrator.errors import MigratorError
from tests.databases.edge_values import EDGES, LENIENT, Dirt
from tests.databases.snapshots import differences, insert_rows, snapshot
from tests.management.running import another_alias, entry_of
from tests.scenarios.test_values import AS_STORED, dirt_of, execute, held_exactly, labelled, relax
from tests.servers.databases import FILE_PAIRS, PAIRS, Pair, engine_of
from tests.testapp import models

if TYPE_CHECKING:
    from tests.servers.databases import FreshDatabases

LINE_PAIRS = [*(pair for pair in PAIRS if pair.engines[1] != "sqlite"), *FILE_PAIRS]
LABELS = [model._meta.label for model in EDGES]


@pytest.fixture(params=[*PAIRS, *FILE_PAIRS], ids=str)
def any_pair(request: pytest.FixtureRequest, databases: FreshDatabases) -> Pair:
    """Run the test once per pair of engines, and ways to load rows."""
    pair: Pair = request.param
    databases.fresh(*pair)
    return pair


def take_the_slow_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every value looked at and converted."""
    monkeypatch.setattr(
        "migrator.databases.planning.draft_plan.choose_transport",
        lambda endpoints, table, conversions, *others: ConvertedRows(conversions),
    )
    monkeypatch.setattr(SQLite, "can_copy_within", lambda *arguments: False)


def never_carefully(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where a chunk is copied again, with care: its rows were not right as lines."""

    def fail(route: Any, *arguments: Any) -> Any:
        raise AssertionError(f"{route.table.label} was copied again")

    monkeypatch.setattr(chunk, "copy_row_by_row", fail)


def move(pair: Pair, labels: list[str], *, keep_triggers: bool = False) -> RunResult:
    return batch_migrate(
        source=pair.source, dest=pair.dest, labels=labels, replace=pair.dest, keep_triggers=keep_triggers
    )


def methods(outcome: RunResult) -> dict[str, str]:
    return {planned.table.label: planned.route.method for planned in outcome.plan.tables}


def as_stored(alias: str, model: type[Model]) -> list[Any]:
    quote = connections[alias].ops.quote_name
    return execute(
        alias, f"SELECT id, label, {AS_STORED[engine_of(alias)]} FROM {quote(model._meta.db_table)} ORDER BY id"
    )


@pytest.mark.driver
def test_brings_what_the_slow_way_brings(any_pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every edge value of every type of field is stored the same, down to the database's own text for it."""
    for model, edges in EDGES.items():
        held = [edge for edge in edges if held_exactly(edge, *any_pair.engines)]
        insert_rows(model, any_pair.source, labelled(held))
    with monkeypatch.context() as patched:
        never_carefully(patched)
        outcome = move(any_pair, LABELS)
    if any_pair in LINE_PAIRS:
        plain = "binary" if any_pair.engines == ("postgresql", "postgresql") else "text"
        by_rows = {label for label, method in methods(outcome).items() if method != plain}
        assert by_rows == by_values(any_pair)
    brought = {model: as_stored(any_pair.dest, model) for model in EDGES}
    take_the_slow_way(monkeypatch)
    slow = {method.partition(";")[0] for method in methods(move(any_pair, LABELS)).values()}
    assert slow == {"rows"}
    for model in EDGES:
        assert brought[model] == as_stored(any_pair.dest, model), model


@pytest.fixture(params=[pair for pair in LINE_PAIRS if pair.engines[0] == "sqlite"], ids=str)
def lines_of_sqlite(request: pytest.FixtureRequest, databases: FreshDatabases) -> Pair:
    """Run the test once per way of SQLite's lines."""
    pair: Pair = request.param
    databases.fresh(*pair)
    return pair


@pytest.mark.driver
@pytest.mark.parametrize("text", ["\x1f", "\xff", "\ufdd1", "%s", "\\N", "\\", "\t", "\r\n"], ids=ascii)
def test_brings_texts_with_whatever_ends_fields(
    lines_of_sqlite: Pair, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair, texts = lines_of_sqlite, ["before", text, f"a{text}b", None, "after"]
    insert_rows(models.TextValue, pair.source, [{"label": str(n), "value": text} for n, text in enumerate(texts)])
    never_carefully(monkeypatch)
    outcome = move(pair, [models.TextValue._meta.label])
    assert set(methods(outcome).values()) == {"text"}
    assert list(QuerySet(models.TextValue, using=pair.dest).order_by("id").values_list("value", flat=True)) == texts


@pytest.mark.driver
@pytest.mark.parametrize("rows_before", [0, column_limits.FIRST_ROWS], ids="after {} others".format)
def test_brings_texts_whole_that_have_the_character_nul(
    lines_of_sqlite: Pair, rows_before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite's own functions take it for the end; PostgreSQL takes none at all."""
    pair, texts = lines_of_sqlite, ["usual"] * rows_before + ["a\0b", "\0", None, "after"]
    insert_rows(models.TextValue, pair.source, [{"label": str(n), "value": text} for n, text in enumerate(texts)])
    never_carefully(monkeypatch)
    if pair.engines[1] == "postgresql":
        with pytest.raises(MigratorError, match=r"2 values: .*NUL"):
            move(pair, [models.TextValue._meta.label])
        return
    outcome = move(pair, [models.TextValue._meta.label])
    assert set(methods(outcome).values()) == {"text"}
    assert list(QuerySet(models.TextValue, using=pair.dest).order_by("id").values_list("value", flat=True)) == texts


@pytest.mark.driver
@pytest.mark.parametrize("stored", ["fc", "fd", "fe", "ff", "61fd", "fd62", "ff62", "61fe62"])
def test_takes_nothing_for_a_text_that_is_none(lines_of_sqlite: Pair, stored: str) -> None:
    """Least of all for the end of a field or line, or for NULL."""
    pair = lines_of_sqlite
    insert_rows(
        models.TextValue, pair.source, [{"label": name, "value": "usual"} for name in ("before", "bad", "after")]
    )
    execute(pair.source, f"UPDATE testapp_textvalue SET value = CAST(x'{stored}' AS TEXT) WHERE label = 'bad'")
    with pytest.raises(MigratorError, match="TextValue"):
        move(pair, [models.TextValue._meta.label])
    assert not QuerySet(models.TextValue, using=pair.dest).exists()


def test_takes_no_document_that_goes_on_after_the_character_nul(lines_of_sqlite: Pair) -> None:
    """SQLite takes it for the end, and calls what is before it valid."""
    pair = lines_of_sqlite
    insert_rows(models.JSONValue, pair.source, [{"label": "cut", "value": {"a": 1}}])
    execute(pair.source, "UPDATE testapp_jsonvalue SET value = '{\"a\": 1}' || char(0) || 'more'")
    with pytest.raises(MigratorError, match="JSONValue"):
        move(pair, [models.JSONValue._meta.label])
    assert not QuerySet(models.JSONValue, using=pair.dest).exists()


def test_brings_texts_of_a_file_that_keeps_them_in_utf_16(lines_of_sqlite: Pair, tmp_path: Path) -> None:
    pair, joined = lines_of_sqlite, datetime(2024, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    brought = (models.TextValue, models.UUIDValue, models.DateTimeValue)
    for model, value in zip(brought, ("Grüße 🎉", uuid.uuid4(), joined), strict=True):
        insert_rows(model, pair.source, [{"label": "ÿ", "value": value}, {"label": "", "value": None}])
    tables = ["django_migrations", *(model._meta.db_table for model in brought)]
    file = tmp_path / "utf16.sqlite3"
    with closing(sqlite3.connect(file)) as wide, closing(sqlite3.connect(entry_of(pair.source)["NAME"])) as usual:
        wide.execute("PRAGMA encoding = 'UTF-16le'")
        for (statement,) in usual.execute("SELECT sql FROM sqlite_master WHERE name NOT LIKE 'sqlite%' AND sql <> ''"):
            wide.execute(statement)
        for table in tables:
            rows = usual.execute(f"SELECT * FROM {table}").fetchall()
            wide.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(rows[0]))})", rows)
        wide.commit()
    with another_alias("wide", **entry_of(pair.source, NAME=str(file))):
        batch_migrate(source="wide", dest=pair.dest, labels=[model._meta.label for model in brought])
    assert differences(snapshot(pair.source, brought), snapshot(pair.dest, brought)) == []


def test_brings_a_table_of_more_columns_than_a_function_takes(
    lines_of_sqlite: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair, joined = lines_of_sqlite, datetime(2024, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    QuerySet(User, using=pair.source).bulk_create(User(username=f"user {n}", date_joined=joined) for n in range(9))
    never_carefully(monkeypatch)
    monkeypatch.setattr(server_lines, "MOST_PRINTED", 4)
    assert methods(move(pair, ["auth.User"]))["auth.User"] == "text"
    assert differences(snapshot(pair.source, [User]), snapshot(pair.dest, [User])) == []


def test_needs_no_care_for_columns_that_are_never_null(lines_of_sqlite: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    pair, joined = lines_of_sqlite, datetime(2024, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    QuerySet(User, using=pair.source).bulk_create(User(username=f"user {n}", date_joined=joined) for n in range(9))
    never_carefully(monkeypatch)
    outcome = move(pair, ["auth.User"])
    assert methods(outcome)["auth.User"] == "text"
    assert differences(snapshot(pair.source, [User]), snapshot(pair.dest, [User])) == []


def by_values(pair: Pair) -> set[str]:
    """Name the models whose rows have to travel as values."""
    found: set[type[Model]] = set()
    if pair.engines != ("postgresql", "postgresql"):
        found.add(models.MoneyValue)  # its field converts them itself
    if pair.engines[1] == "mysql" and pair not in FILE_PAIRS:
        found.add(models.BinaryValue)  # digits between quotes are no bytes
    if pair.engines in (("mysql", "postgresql"), ("postgresql", "mysql")):
        found |= {models.IPAddressValue, models.IPv6AddressValue}  # some IPv6 addresses are written otherwise
    return {model._meta.label for model in found}


@pytest.mark.driver
@pytest.mark.postgresql
def test_stops_where_a_trigger_drops_rows(databases: FreshDatabases) -> None:
    pair = Pair("sqlite_a", "postgresql_b")
    databases.fresh(*pair)
    insert_rows(models.IntegerValue, pair.source, [{"label": str(n), "value": n} for n in range(1, 11)])
    execute(
        pair.dest,
        "CREATE FUNCTION dropped() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "CREATE TRIGGER odd BEFORE INSERT ON testapp_integervalue FOR EACH ROW WHEN (NEW.value = 7) "
        "EXECUTE FUNCTION dropped()",
    )
    with pytest.raises(MigratorError, match=r"testapp\.IntegerValue: 10 rows were read and 9 were loaded.*trigger"):
        move(pair, ["testapp.IntegerValue"], keep_triggers=True)
    assert QuerySet(models.IntegerValue, using=pair.dest).count() == 0


@pytest.mark.mysql
@pytest.mark.postgresql
def test_looks_at_every_value_where_the_source_has_no_snapshot_of_it(databases: FreshDatabases) -> None:
    pair = Pair("mysql_a", "postgresql_b")
    databases.fresh(*pair)
    execute(pair.source, "ALTER TABLE testapp_charvalue ENGINE = MyISAM")
    found = methods(move(pair, ["testapp.CharValue", "testapp.TextValue"]))
    assert found == {"testapp.CharValue": "rows", "testapp.TextValue": "text"}


# Lines that are made with less care where nothing needs more ------------------------------------------------

CHEAPER_PAIRS = [pair for pair in LINE_PAIRS if pair.engines[0] == "sqlite"]
DECIMALS = {
    "money": (models.MoneyDecimalValue, "1234567.89"),
    "next-double": (models.MoneyDecimalValue, "1234567.8900000001"),
    "whole": (models.MoneyDecimalValue, "5"),
    "14-digits": (models.WholeDecimalValue, "-99999999999999"),
    "15-digits": (models.WholeDecimalValue, "999999999999999"),
    "ten-places": (models.LongDecimalValue, "1234.0000000001"),
}


@pytest.mark.parametrize("pair", CHEAPER_PAIRS, ids=str)
def test_renders_with_less_care_what_care_would_render(databases: FreshDatabases, pair: Pair) -> None:
    databases.fresh(*pair)
    for model, edges in EDGES.items():
        held = [edge for edge in edges if held_exactly(edge, "sqlite")]
        insert_rows(model, pair.source, [{"id": n, **row} for n, row in enumerate(labelled(held), start=1000)])
    list(insert_all(pair.source, LENIENT))
    for name, (decimals, number) in DECIMALS.items():
        execute(pair.source, f"INSERT INTO {table_of(decimals)} (label, value) VALUES ('{name}', {number})")
    with looked_at_nothing(pair, LABELS) as routes:
        for route in routes:
            for conversion, field in zip(route.conversions, line_fields(route), strict=bool(line_fields(route))):
                assert field.cheaper is not None
                same = f"({field.sql}) IS ({field.cheaper.sql})"
                usual = f"{conversion.column.name} IS NULL OR NOT ({field.cheaper.unsafe_when or 'false'})"
                compared = route.source.fetch_all(
                    f"SELECT label, {same} FROM {table_of(route.table.model)} WHERE {usual}"
                )
                assert [label for label, is_same in compared if not is_same] == [], (conversion.column.name, field)
                assert len(compared) > 1


@pytest.mark.parametrize("pair", CHEAPER_PAIRS, ids=str)
def test_overlooks_nothing_in_a_rough_look(databases: FreshDatabases, pair: Pair) -> None:
    databases.fresh(*pair)
    found = list(insert_all_dirt(pair.source))
    with looked_at_nothing(pair, [model._meta.label for model in found]) as routes:
        for route in routes:
            stored = route.source.catalogue.stored_columns(route.table.name)
            for conversion in route.conversions:
                for suspicion in route.source.values.source_checks(conversion.column, stored[conversion.column.name]):
                    overlooked = f"({suspicion.condition}) AND ({suspicion.cheap_condition or 'true'}) IS NOT TRUE"
                    sql = f"SELECT label FROM {table_of(route.table.model)} WHERE {overlooked}"
                    assert route.source.fetch_all(sql) == []


ODD = {
    "year": (models.DateValue, "'2021-06-01'", "'0999-12-31'"),
    "offset": (models.DateTimeValue, "'2021-06-01 12:00:00'", "'2021-06-01 12:00:00.5+02:00'"),
    "letter": (models.DateTimeValue, "'2021-06-01 12:00:00.000001'", "'2021-06-01T12:00:00'"),
    "no-seconds": (models.TimeValue, "'12:00:00'", "'12:00'"),
    "dashes": (models.UUIDValue, f"'{32 * 'a'}'", "'16FD2706-8baf-433b-82eb-8c7fada847da'"),
    "digits": (models.WholeDecimalValue, "7", "999999999999999"),
}


@pytest.mark.parametrize("pair", CHEAPER_PAIRS, ids=str)
@pytest.mark.parametrize("place", ["among the first", "behind them", "nowhere"])
@pytest.mark.parametrize("odd", ODD)
def test_takes_more_care_of_a_column_with_one_odd_value(
    databases: FreshDatabases, monkeypatch: pytest.MonkeyPatch, pair: Pair, odd: str, place: str
) -> None:
    databases.fresh(*pair)
    monkeypatch.setattr(column_limits, "FIRST_ROWS", 2)
    never_carefully(monkeypatch)
    model, usual_value, odd_value = ODD[odd]
    stored = [usual_value] * 5
    if place != "nowhere":
        stored[0 if place == "among the first" else 3] = odd_value
    for key, value in enumerate(stored, start=1):
        execute(pair.source, f"INSERT INTO {table_of(model)} VALUES ({key}, '{key}', {value})")
    before = snapshot(pair.source, [model])
    (planned,) = move(pair, [model._meta.label]).plan.tables
    assert planned.route.method == "text"
    assert [field.cheaper is not None for field in line_fields(planned.route)] == [False, False, place != "nowhere"]
    assert differences(before, snapshot(pair.dest, [model])) == []


def line_fields(route: Route) -> tuple[LineField, ...]:
    return route.transport.fields if isinstance(route.transport, TextStream) else ()


def table_of(model: type[Model]) -> str:
    return connections["sqlite_a"].ops.quote_name(model._meta.db_table)


@contextmanager
def looked_at_nothing(pair: Pair, labels: list[str]) -> Iterator[list[Route]]:
    """Give the tables' ways as they are planned before anything is known of their values."""
    with open_endpoints(pair.source, pair.dest, load()) as ends:
        plan = make_plan(
            ends, select(source=pair.source, dest=pair.dest, labels=labels), PlanRequest(checks_contents=False)
        )
        yield [planned.route for planned in plan.tables]


# What only other programs write ---------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.driver
@pytest.mark.parametrize("is_looked_at", [True, False], ids=["looked-at", "not-looked-at"])
def test_rejects_what_the_slow_way_rejects(
    any_pair: Pair, is_looked_at: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """For lines of text that holds even where nothing has looked at the values before."""
    if not is_looked_at:
        if any_pair not in LINE_PAIRS or any_pair.engines[0] == "postgresql":
            pytest.skip("these values have to be looked at before")
        monkeypatch.setattr("migrator.databases.planning.content_checks.check_values", check_no_values)
    # Within SQLite even what Python cannot read arrives as it is.
    monkeypatch.setattr(SQLite, "can_copy_within", lambda *arguments: False)
    found = list(insert_all_dirt(any_pair.source))
    brought = outcome_of(any_pair, found, tmp_path / "brought")
    take_the_slow_way(monkeypatch)
    assert brought == outcome_of(any_pair, found, tmp_path / "slowly")


def check_no_values(sessions: Any, route: Route, *arguments: Any) -> Future[Answer]:
    return completed(Answer((), route.transport))


def insert_all_dirt(alias: str) -> Iterator[type[Model]]:
    """Insert the dirt of every model, each in a row of its own, and name the models."""
    return insert_all(alias, [*dirt_of(alias), *(LENIENT if engine_of(alias) == "sqlite" else ())])


def insert_all(alias: str, dirt: Sequence[Dirt]) -> Iterator[type[Model]]:
    table = connections[alias].ops.quote_name
    relax(alias)
    for number, item in enumerate(dirt, start=1):
        name = table(item.model._meta.db_table)
        execute(alias, f"INSERT INTO {name} (id, label, value) VALUES ({number}, '{item.name}', {item.sql})")
        if not any(item.model is other.model for other in dirt[: number - 1]):
            yield item.model
    connections[alias].close()


def outcome_of(pair: Pair, moved: list[type[Model]], rejects: Path) -> Any:
    """Move each row as a chunk of its own, and give what is stored then, and what was said of each of the others."""
    labels = [model._meta.label for model in moved]
    batch_migrate(
        source=pair.source, dest=pair.dest, labels=labels, replace=pair.dest, chunk_size=1, on_error="skip",
        rejects=rejects,
    )  # fmt: skip
    said = rejects.read_text().splitlines() if rejects.exists() else []
    return {model: as_stored(pair.dest, model) for model in moved}, sorted(said)


@pytest.mark.mysql
def test_spells_a_uuid_as_django_does_where_the_destination_keeps_it_as_text(databases: FreshDatabases) -> None:
    pair = FILE_PAIRS[2]
    databases.fresh(*pair)
    value = uuid.UUID("ABCDEF01-2345-4789-8BCD-EF0123456789")
    insert_rows(models.UUIDValue, pair.source, [{"label": "letters", "value": value}])
    # Where the server has a type for UUIDs, Django writes dashes into a column of text, too, and looks for them.
    is_native = connections[pair.dest].features.has_native_uuid_field
    spelt, method = (str(value), "rows") if is_native else (value.hex, "text")
    text = f"char({len(spelt)}) CHARACTER SET ascii COLLATE ascii_bin"
    execute(pair.dest, f"ALTER TABLE testapp_uuidvalue MODIFY value {text} NULL")
    assert methods(move(pair, ["testapp.UUIDValue"])) == {"testapp.UUIDValue": method}
    assert execute(pair.dest, "SELECT value FROM testapp_uuidvalue") == [(spelt,)]
    assert QuerySet(models.UUIDValue, using=pair.dest).filter(value=value).exists()
