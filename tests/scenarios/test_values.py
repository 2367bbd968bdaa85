"""Every edge value between every two engines: it arrives as it was, or the run stops and names its place."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.postgres import signals
from django.db import connections
from django.db.backends.postgresql.psycopg_any import DateRange, DateTimeTZRange, NumericRange
from django.db.models import Model, QuerySet
from django.test import modify_settings, override_settings

from migrator.databases.api import batch_migrate
from migrator.databases.endpoints import open_engine
from migrator.databases.planning import column_limits, parallel_queries
from migrator.databases.tables import Kind, table_of
from migrator.errors import DataRejected, Refused
from tests.databases.edge_values import DIRT, EDGES, LENIENT, Dirt, Edge
from tests.databases.snapshots import Row, differences, exact, insert_rows, snapshot, tables
from tests.servers.databases import ENGINES, FILE_PAIRS, PAIRS, Pair, engine_of, has_uuid_type, is_mysql
from tests.testapp import models, rows

if TYPE_CHECKING:
    from tests.servers.databases import FreshDatabases

EVERY_PAIR = [*PAIRS, *FILE_PAIRS]
# The place of a row that cannot be moved; no other number in a message is like it.
BAD_KEY = 46368


@pytest.fixture(params=EVERY_PAIR, ids=str)
def pair(request: pytest.FixtureRequest, databases: FreshDatabases) -> Pair:
    """Run the test for every two engines, and where one of them has two ways to load rows, for both."""
    pair: Pair = request.param
    databases.fresh(*pair)
    return pair


def name_of(model: type[Model]) -> str:
    return model.__name__


def names_of(engine: str) -> tuple[str, ...]:
    """Return the names under which the edge values have the server of an engine."""
    if engine != "mysql":
        return (engine,)
    if is_mysql("mysql_a"):
        return engine, "mysql_itself"
    return (engine, "mariadb") if has_uuid_type() else (engine,)


def is_refused(edge: Edge, *engines: str) -> bool:
    return any(name in edge.refused_by for engine in engines for name in names_of(engine))


def held_exactly(edge: Edge, *engines: str) -> bool:
    names = {name for engine in engines for name in names_of(engine)}
    return not is_refused(edge, *engines) and names.isdisjoint(edge.rewritten_by)


def returned_by(engine: str, edge: Edge) -> Any:
    return next((edge.rewritten_by[name] for name in names_of(engine) if name in edge.rewritten_by), edge.value)


def labelled(edges: Sequence[Edge]) -> list[Row]:
    return [{"label": edge.name, "value": edge.value} for edge in edges]


def move(pair: Pair, *moved: type[Model]) -> None:
    """Move models; the run's own verification has to find nothing."""
    labels = [model._meta.label for model in moved]
    outcome = batch_migrate(source=pair.source, dest=pair.dest, labels=labels, verify="full")
    assert outcome.exit_code == 0, outcome.verification


def rejected_rows(pair: Pair, moved: Iterable[type[Model]], tmp_path: Path) -> set[tuple[str, int]]:
    """Move models with `--on-error skip`, and return what the reject file holds, as table and key."""
    labels, rejects = [model._meta.label for model in moved], tmp_path / "rejects.jsonl"
    batch_migrate(source=pair.source, dest=pair.dest, labels=labels, on_error="skip", rejects=rejects)
    lines = map(json.loads, rejects.read_text().splitlines())
    return {(line["table"], int(line["pk"])) for line in lines}


def move_or_refusal(pair: Pair, model: type[Model]) -> str | None:
    """Move the model, or return what was said instead."""
    try:
        move(pair, model)
    except (Refused, DataRejected) as error:
        return str(error)
    return None


def assert_names_the_place(message: str, model: type[Model]) -> None:
    label = model._meta.label
    assert f"{label}.value" in message or (label in message and "field value" in message), message
    assert str(BAD_KEY) in message, message


def assert_refused(pair: Pair, model: type[Model]) -> None:
    """Expect that the move stops at the row of BAD_KEY, names it, and has written nothing."""
    message = move_or_refusal(pair, model)
    assert message is not None, differences(snapshot(pair.source, [model]), snapshot(pair.dest, [model]))
    assert_names_the_place(message, model)
    assert QuerySet(model, using=pair.dest).count() == 0


@pytest.mark.driver
def test_describes_each_engine_truly(alias: str) -> None:
    """What the table of edge values says of an engine is so where Django writes and reads it, without us."""
    engine = engine_of(alias)
    for model, edges in EDGES.items():
        held = [edge for edge in edges if not is_refused(edge, engine)]
        expected = {edge.name: exact(returned_by(engine, edge)) for edge in held}
        insert_rows(model, alias, labelled(held))
        found = snapshot(alias, [model])[model._meta.label]
        assert {row["label"]: row["value"] for row in found.values()} == {
            repr(name): value for name, value in expected.items()
        }, model._meta.label


@pytest.mark.driver
def test_understands_keys_that_are_read_by_their_column_alone(alias: str) -> None:
    """As foreign keys and rows that are there already are looked up."""
    engine = open_engine(alias)
    for model, edges in EDGES.items():
        table = table_of(model)
        column, stored = table.column("value"), engine.catalogue.stored_columns(table.name)["value"]
        if column.kind in (Kind.JSON, Kind.BOOLEAN, Kind.OTHER):  # of which keys are not made
            continue
        insert_rows(model, alias, labelled([edge for edge in edges if not is_refused(edge, engine_of(alias))]))
        ways = (
            (engine.quote("value"), engine.values.key_loader(column, stored)),
            (engine.values.read_expression(column, stored), engine.values.loader(column, stored)),
        )
        alone, as_copied = (
            [repr(value if value is None or load is None else load(value)) for (value,) in engine.fetch_all(query)]
            for query, load in (
                (f"SELECT {expression} FROM {engine.quote(table.name)} ORDER BY id", load) for expression, load in ways
            )
        )
        assert alone == as_copied, table.label


@pytest.mark.every_pair
@pytest.mark.driver
def test_keeps_values(pair: Pair) -> None:
    for model, edges in EDGES.items():
        insert_rows(model, pair.source, labelled([edge for edge in edges if held_exactly(edge, *pair.engines)]))
    before = snapshot(pair.source, EDGES)
    move(pair, *EDGES)
    assert differences(before, snapshot(pair.dest, EDGES)) == []
    assert differences(before, snapshot(pair.source, EDGES)) == []


def is_another_to(pair: Pair, edge: Edge) -> bool:
    """Whether a JSON number is another on the way between a database that has numerics for it and MySQL itself."""
    value = returned_by(engine_of(pair.source), edge)
    if is_mysql(pair.dest):
        return isinstance(value, int) and value >= 2**64  # which MySQL would round
    # MySQL returns it with an exponent, which PostgreSQL stores as plain digits.
    return is_mysql(pair.source) and engine_of(pair.dest) == "postgresql" and value == 1e15


@pytest.mark.driver
def test_writes_values_with_two_notations_as_django_does(pair: Pair) -> None:
    chosen = {
        model: [
            edge
            for edge in edges
            if edge.rewritten_by and not is_refused(edge, *pair.engines) and not is_another_to(pair, edge)
        ]
        for model, edges in EDGES.items()
    }
    in_source = {}
    for model, edges in chosen.items():
        insert_rows(model, pair.source, labelled(edges))
        in_source[model] = dict(QuerySet(model, using=pair.source).values_list("label", "value"))
    assert sum(map(len, in_source.values())) > 2
    move(pair, *chosen)
    moved = snapshot(pair.dest, chosen)
    for model, edges in chosen.items():
        QuerySet(model, using=pair.dest)._raw_delete(pair.dest)
        rows_of = [{"label": edge.name, "value": in_source[model][edge.name]} for edge in edges]
        insert_rows(model, pair.dest, rows_of)
    assert differences(snapshot(pair.dest, chosen), moved) == []


def refused_by_destination(pair: Pair) -> dict[type[Model], list[Edge]]:
    source, dest = pair.engines
    return {
        model: [edge for edge in edges if is_refused(edge, dest) and not is_refused(edge, source)]
        for model, edges in EDGES.items()
    }


def can_refuse(pair: Pair) -> bool:
    source, dest = pair.engines
    edges = [edge for of_model in EDGES.values() for edge in of_model]
    return any(dest in edge.refused_by and source not in edge.refused_by for edge in edges)


REFUSING_PAIRS = [pair for pair in EVERY_PAIR if can_refuse(pair)]


@pytest.mark.parametrize("pair", REFUSING_PAIRS, ids=str, indirect=True)
def test_refuses_values_that_the_destination_cannot_hold(pair: Pair, databases: FreshDatabases) -> None:
    """Of each model's first such value the plan or the run names the place; nothing is written before it stops."""
    for model, edges in refused_by_destination(pair).items():
        if edges:
            good = {"id": 1, "label": "good", "value": None}
            insert_rows(model, pair.source, [good, {"id": BAD_KEY, "label": "bad", "value": edges[0].value}])
            assert_refused(pair, model)
            databases.fresh(pair.dest)


@pytest.mark.driver
@pytest.mark.parametrize("pair", REFUSING_PAIRS, ids=str, indirect=True)
def test_rejects_values_that_the_destination_cannot_hold(pair: Pair, tmp_path: Path) -> None:
    refused = refused_by_destination(pair)
    expected = set()
    for model, edges in refused.items():
        good = {"id": 1, "label": "good", "value": None}
        bad = [{"id": key, "label": f"bad {key}", "value": edge.value} for key, edge in enumerate(edges, BAD_KEY)]
        insert_rows(model, pair.source, [good, *bad])
        expected |= {(model._meta.db_table, row["id"]) for row in bad}
    assert rejected_rows(pair, refused, tmp_path) == expected
    for model in refused:
        assert list(QuerySet(model, using=pair.dest).values_list("label", flat=True)) == ["good"]


@pytest.mark.driver
@pytest.mark.parametrize("dest", [f"{engine}_b" for engine in ENGINES])
def test_keeps_the_sign_of_a_postgresql_zero(databases: FreshDatabases, dest: str) -> None:
    """PostgreSQL and MySQL have a negative zero, which Django does not always write; the others have none.

    MariaDB 10.5 has it too, and 10.11 has not.
    """
    databases.fresh("postgresql_a", dest)
    execute("postgresql_a", "INSERT INTO testapp_floatvalue (label, value) VALUES ('zero', '-0'::float8)")
    move(Pair("postgresql_a", dest), models.FloatValue)
    found = QuerySet(models.FloatValue, using=dest).get().value
    is_old_mariadb = engine_of(dest) == "mysql" and not is_mysql(dest) and connections[dest].mysql_version < (10, 11)  # type: ignore[attr-defined]
    has_one = engine_of(dest) == "postgresql" or is_mysql(dest) or is_old_mariadb
    assert str(found) == ("-0.0" if has_one else "0.0")


@pytest.mark.driver
@pytest.mark.parametrize(
    ("pair", "chunk_size"),
    # Every pair with few rows in a chunk is in test_structures.
    [*((pair, 10_000) for pair in EVERY_PAIR), *((pair, 2) for pair in FILE_PAIRS)],
    ids=str,
    indirect=["pair"],
)
def test_keeps_rows_of_every_structure(pair: Pair, chunk_size: int) -> None:
    rows.fill(pair.source)
    before = snapshot(pair.source, tables("testapp"))
    labels = ["testapp", "testapp.Legacy"]
    outcome = batch_migrate(source=pair.source, dest=pair.dest, labels=labels, chunk_size=chunk_size)
    assert outcome.exit_code == 0, outcome.verification
    assert differences(before, snapshot(pair.dest, tables("testapp"))) == []
    assert differences(before, snapshot(pair.source, tables("testapp"))) == []


@pytest.mark.parametrize("source", ["sqlite_a", "postgresql_a"])
def test_refuses_keys_that_are_one_to_a_collation(databases: FreshDatabases, source: str) -> None:
    databases.fresh(source, "mysql_b")
    insert_rows(models.TextKey, source, [{"code": code, "label": code} for code in ("Zoë", "zoe")])
    with pytest.raises((Refused, DataRejected)) as caught:
        move(Pair(source, "mysql_b"), models.TextKey)
    assert "testapp.TextKey" in str(caught.value)
    assert "code" in str(caught.value)
    assert "Zoë" in str(caught.value) or "zoe" in str(caught.value)
    assert QuerySet(models.TextKey, using="mysql_b").count() == 0


@pytest.mark.parametrize(("source", "word"), [("sqlite_a", "word"), ("postgresql_a", "ärger")])
def test_sees_keys_that_differ_only_in_case_before_the_first_write(
    databases: FreshDatabases, source: str, word: str
) -> None:
    databases.fresh(source, "mysql_b")
    codes = (word, f"{word.upper()} ", "other")
    insert_rows(models.TextKey, source, [{"code": code, "label": code} for code in codes])
    with pytest.raises(Refused, match=r"testapp\.TextKey\.code: 1 row: unique texts differ only in case or in spaces"):
        move(Pair(source, "mysql_b"), models.TextKey)


# What only other programs write ---------------------------------------------------------------------------


# A session in which an engine takes more than it should.
LAX = {
    "sqlite": ("PRAGMA ignore_check_constraints = ON",),
    "mysql": ("SET SESSION sql_mode = 'ALLOW_INVALID_DATES'",),
    "postgresql": (),
}
LAX_MARIADB = "SET SESSION check_constraint_checks = 0"
AS_STORED = {
    "sqlite": "typeof(value), hex(value)",
    "mysql": "HEX(CAST(value AS CHAR))",
    "postgresql": "value::text",
}


def execute(alias: str, *statements: str) -> list[Any]:
    """Execute SQL and return the last statement's rows."""
    with connections[alias].cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return list(cursor.fetchall()) if cursor.description else []


def relax(alias: str) -> None:
    """Have the session take more than it should."""
    execute(alias, *LAX[engine_of(alias)])
    if engine_of(alias) == "mysql" and not is_mysql(alias):
        execute(alias, LAX_MARIADB)


def dirt_of(alias: str) -> list[Dirt]:
    return [dirt for dirt in DIRT[engine_of(alias)] if not (dirt.only_mariadb and is_mysql(alias))]


def insert_dirt(alias: str, dirt: Dirt, key: int = BAD_KEY) -> None:
    table = connections[alias].ops.quote_name(dirt.model._meta.db_table)
    insert = f"INSERT INTO {table} (id, label, value) VALUES ({key}, 'bad {key}', {dirt.sql})"
    relax(alias)
    execute(alias, insert)
    connections[alias].close()


def as_stored(alias: str, model: type[Model]) -> list[Any]:
    table = connections[alias].ops.quote_name(model._meta.db_table)
    return execute(alias, f"SELECT id, {AS_STORED[engine_of(alias)]} FROM {table} ORDER BY id")


@pytest.mark.driver
def test_never_changes_dirt_silently(pair: Pair, tmp_path: Path) -> None:
    """It arrives as it is where the other column takes it; otherwise its row is rejected."""
    source, dest = pair.engines
    dirty = dict(enumerate(dirt_of(pair.source), BAD_KEY))
    moved = list(dict.fromkeys(dirt.model for dirt in dirty.values()))
    for model in moved:
        insert_rows(model, pair.source, [{"id": 1, "label": "good", "value": None}])
    for key, dirt in dirty.items():
        insert_dirt(pair.source, dirt, key)
    rejected = rejected_rows(pair, moved, tmp_path)
    kept = {key: dirt for key, dirt in dirty.items() if (dirt.model._meta.db_table, key) not in rejected}
    assert len(kept) + len(rejected) == len(dirty)
    if source == dest:
        before, after = ({model: as_stored(alias, model) for model in moved} for alias in pair)
        for key, dirt in kept.items():
            is_this = [row for row in before[dirt.model] if row[0] == key]
            assert is_this == [row for row in after[dirt.model] if row[0] == key], dirt.name
    else:
        assert {dirt.name for dirt in kept.values() if dest not in dirt.kept_by} == set()
        for table, key in rejected:
            execute(pair.source, f"DELETE FROM {connections[pair.source].ops.quote_name(table)} WHERE id = {key}")
        assert differences(*(snapshot(alias, moved) for alias in pair)) == []


@pytest.mark.driver
@pytest.mark.postgresql
@pytest.mark.parametrize("kind", ["text", "double"])
def test_rejects_what_the_driver_would_change_on_its_way_through_the_field(
    databases: FreshDatabases, kind: str, tmp_path: Path
) -> None:
    """As psycopg2 makes 00:00 of 24:00; a column of another type than Django's is what takes a field's own values."""
    pair, model = Pair("postgresql_a", "sqlite_b"), models.TimeValue
    databases.fresh(*pair)
    columns = f"id integer PRIMARY KEY AUTOINCREMENT, label varchar(80) UNIQUE, value {kind} NULL"
    execute(pair.dest, "DROP TABLE testapp_timevalue", f"CREATE TABLE testapp_timevalue ({columns})")
    insert_rows(model, pair.source, [{"id": 1, "label": "good", "value": time(1, 2, 3)}])
    insert_dirt(pair.source, Dirt("24-hours", model, "'24:00:00'"))
    assert rejected_rows(pair, [model], tmp_path) == {(model._meta.db_table, BAD_KEY)}
    assert QuerySet(model, using=pair.dest).get().value == time(1, 2, 3)


@pytest.mark.driver
@pytest.mark.parametrize("pair", [pair for pair in PAIRS if len({*pair.engines}) == 2], ids=str, indirect=True)
def test_stops_at_dirt_that_the_destination_cannot_hold(pair: Pair) -> None:
    _, dest = pair.engines
    dirt = next(dirt for dirt in dirt_of(pair.source) if dest not in dirt.kept_by)
    insert_rows(dirt.model, pair.source, [{"id": 1, "label": "good", "value": None}])
    insert_dirt(pair.source, dirt)
    assert_refused(pair, dirt.model)


# What no query asks for: it is told where the row is read.
UNSEEN = (
    "invalid-utf-8", "cut-utf-8", "surrogate-in-utf-8", "garbage-in-address", "empty-text-in-address", "network",
    "nan-in-custom-decimal",
)  # fmt: skip


def seen_cases() -> Iterator[Any]:
    for pair in PAIRS:
        source, dest = pair.engines
        for dirt in DIRT[source] if source != dest else ():
            is_unseen = dirt.name in UNSEEN or (source, dirt.name) == ("mysql", "garbage-in-json")
            if not is_unseen and dest not in dirt.kept_by:
                yield pytest.param(pair, dirt, id=f"{pair}-{dirt.name}")


@pytest.mark.slow
@pytest.mark.parametrize(("pair", "dirt"), [*seen_cases()], indirect=["pair"])
def test_sees_dirt_behind_the_first_rows_before_the_first_write(
    pair: Pair, dirt: Dirt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(column_limits, "FIRST_ROWS", 1)
    insert_rows(dirt.model, pair.source, [{"id": 1, "label": "good", "value": None}])
    insert_dirt(pair.source, dirt)
    with pytest.raises(Refused, match=rf"{dirt.model._meta.label}\.value: 1 value: .*primary key {BAD_KEY}\)"):
        move(pair, dirt.model)


@pytest.mark.parametrize("bad_key", [-5, -4, 4, 5, 40])
@pytest.mark.parametrize("source", ["sqlite_a", "postgresql_a"])
def test_sees_what_does_not_fit_in_either_half_of_a_large_table(
    databases: FreshDatabases, source: str, bad_key: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    databases.fresh(source, "mysql_b")
    monkeypatch.setattr(column_limits, "FIRST_ROWS", 1)
    monkeypatch.setattr(parallel_queries, "HELPED_ROWS", 5)
    found = dict.fromkeys((-5, -4, -3, 3, 4, 5, 40), 1.5) | {bad_key: float("inf")}
    rows_of = [{"id": number, "label": str(number), "value": value} for number, value in found.items()]
    insert_rows(models.FloatValue, source, rows_of)
    with pytest.raises(Refused, match=rf"FloatValue\.value: 1 value: .*infinity .*primary key {bad_key}\)"):
        move(Pair(source, "mysql_b"), models.FloatValue)


@pytest.mark.parametrize("dest", [f"{engine}_b" for engine in ENGINES])
@pytest.mark.parametrize("dirt", LENIENT, ids=lambda dirt: dirt.name)
def test_understands_what_django_understands(databases: FreshDatabases, dirt: Dirt, dest: str) -> None:
    databases.fresh("sqlite_a", dest)
    insert_dirt("sqlite_a", dirt)
    before = snapshot("sqlite_a", [dirt.model])
    move(Pair("sqlite_a", dest), dirt.model)
    assert differences(before, snapshot(dest, [dirt.model])) == []


# Time zones -----------------------------------------------------------------------------------------------

AMBIGUOUS = "second-half-past-two"
BEYOND = "year-9999"
LEFT_OUT = "hour-left-out"


@contextmanager
def session_time_zone(alias: str, name: str) -> Iterator[None]:
    """Set ``DATABASES[alias]["TIME_ZONE"]``, for connections of other threads too."""
    connection = connections[alias]
    usual = connection.settings_dict["TIME_ZONE"]

    def use(value: str | None) -> None:
        connection.close()
        connection.settings_dict["TIME_ZONE"] = value
        for cached in ("timezone", "timezone_name"):
            connection.__dict__.pop(cached, None)

    use(name)
    try:
        yield
    finally:
        use(usual)


def instants(*left_out: str) -> list[Row]:
    return labelled([edge for edge in EDGES[models.DateTimeValue] if edge.name not in left_out])


@pytest.mark.driver
@pytest.mark.parametrize("side", ["source", "dest"])
def test_keeps_instants_where_one_side_has_its_own_time_zone(pair: Pair, side: str) -> None:
    with session_time_zone(getattr(pair, side), "Europe/Paris"):
        insert_rows(models.DateTimeValue, pair.source, instants(AMBIGUOUS, BEYOND))
        before = snapshot(pair.source, [models.DateTimeValue])
        move(pair, models.DateTimeValue)
        assert differences(before, snapshot(pair.dest, [models.DateTimeValue])) == []


@pytest.mark.parametrize("dest", ["sqlite_b", "mysql_b"])
@pytest.mark.parametrize("name", [AMBIGUOUS, BEYOND])
def test_refuses_instants_that_do_not_exist_in_the_time_zone_of_the_destination(
    databases: FreshDatabases, dest: str, name: str
) -> None:
    """Its columns have local time, where one hour comes twice and the year 10000 cannot be written."""
    databases.fresh("postgresql_a", dest)
    edge = next(edge for edge in EDGES[models.DateTimeValue] if edge.name == name)
    row = {"id": BAD_KEY, "label": "bad", "value": edge.value}
    insert_rows(models.DateTimeValue, "postgresql_a", [row])
    with session_time_zone(dest, "Europe/Paris"):
        assert_refused(Pair("postgresql_a", dest), models.DateTimeValue)


@contextmanager
def local_time() -> Iterator[None]:
    with override_settings(USE_TZ=False, TIME_ZONE="Europe/Paris"):
        yield


def naive(*left_out: str) -> list[Row]:
    return [
        row | {"value": None if row["value"] is None else row["value"].replace(tzinfo=None)}
        for row in map(dict, instants(*left_out))
    ]


@pytest.mark.driver
def test_keeps_local_times_without_use_tz(pair: Pair) -> None:
    with local_time():
        insert_rows(models.DateTimeValue, pair.source, naive(LEFT_OUT))
        before = snapshot(pair.source, [models.DateTimeValue])
        move(pair, models.DateTimeValue)
        assert differences(before, snapshot(pair.dest, [models.DateTimeValue])) == []


@pytest.mark.driver
@pytest.mark.parametrize("source", ["sqlite_a", "mysql_a"])
def test_refuses_local_times_that_postgresql_would_shift(databases: FreshDatabases, source: str) -> None:
    databases.fresh(source, "postgresql_b")
    with local_time():
        (row,) = [row for row in naive() if row["label"] == LEFT_OUT]
        insert_rows(models.DateTimeValue, source, [{**row, "id": BAD_KEY}])
        assert_refused(Pair(source, "postgresql_b"), models.DateTimeValue)


# Columns that keep fewer digits of a second ----------------------------------------------------------------

FINE, COARSE = {0: 100_000, 3: 123_400}, {0: 0, 3: 123_000}  # in microseconds


def keep_digits(alias: str, model: type[Model], digits: int) -> None:
    """Let a column keep so many digits of a second."""
    table, is_time = model._meta.db_table, model is models.TimeValue
    if engine_of(alias) == "postgresql":
        kind = "time" if is_time else "timestamptz"
        execute(alias, f"ALTER TABLE {table} ALTER COLUMN value TYPE {kind}({digits})")
    else:
        execute(alias, f"ALTER TABLE {table} MODIFY value {'time' if is_time else 'datetime'}({digits}) NULL")


def moment(model: type[Model], microsecond: int) -> Any:
    found = datetime(2026, 1, 2, 23, 59, 59, microsecond, tzinfo=UTC)
    return found.time() if model is models.TimeValue else found


@pytest.mark.slow
@pytest.mark.parametrize("digits", FINE)
@pytest.mark.parametrize("model", [models.DateTimeValue, models.TimeValue], ids=name_of)
@pytest.mark.parametrize("pair", [pair for pair in EVERY_PAIR if pair.engines[1] != "sqlite"], ids=str, indirect=True)
def test_refuses_a_fraction_of_a_second_that_the_column_would_round(
    pair: Pair, model: type[Model], digits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(column_limits, "FIRST_ROWS", 1)
    keep_digits(pair.dest, model, digits)
    kept, finer = (moment(model, by_digits[digits]) for by_digits in (COARSE, FINE))
    rows_of = [{"id": 1, "label": "kept", "value": kept}, {"id": BAD_KEY, "label": "finer", "value": finer}]
    insert_rows(model, pair.source, rows_of)
    with pytest.raises(Refused, match=rf"\.value: 1 value: has a finer fraction .*primary key {BAD_KEY}\)"):
        move(pair, model)
    assert QuerySet(model, using=pair.dest).count() == 0
    QuerySet(model, using=pair.source).filter(id=BAD_KEY).update(value=kept)
    move(pair, model)
    assert differences(snapshot(pair.source, [model]), snapshot(pair.dest, [model])) == []


@pytest.mark.mysql
@pytest.mark.postgresql
def test_takes_no_digits_of_an_integer_for_decimals_of_a_second(databases: FreshDatabases) -> None:
    """A smallint has five digits, and a duration in it has microseconds all the same."""
    pair, model = Pair("mysql_a", "postgresql_b"), models.DurationValue
    databases.fresh(*pair)
    execute(pair.source, "ALTER TABLE testapp_durationvalue MODIFY value smallint NULL")
    execute(pair.dest, "ALTER TABLE testapp_durationvalue ALTER COLUMN value TYPE interval(5)")
    insert_rows(model, pair.source, [{"id": BAD_KEY, "label": "finer", "value": timedelta(microseconds=12_345)}])
    with pytest.raises(Refused, match=rf"\.value: 1 value: has a finer fraction .*primary key {BAD_KEY}\)"):
        move(pair, model)
    QuerySet(model, using=pair.source).update(value=timedelta(microseconds=12_340))
    move(pair, model)
    assert differences(snapshot(pair.source, [model]), snapshot(pair.dest, [model])) == []


# Tables from before MariaDB had a type for UUIDs ----------------------------------------------------------

OLD_UUID = "ALTER TABLE testapp_uuidvalue MODIFY value char(32) NULL"


@pytest.mark.driver
@pytest.mark.parametrize("dest", [f"{engine}_b" for engine in ENGINES])
def test_reads_uuids_from_old_mariadb_columns(databases: FreshDatabases, dest: str) -> None:
    databases.fresh("mysql_a", dest)
    edges = [edge for edge in EDGES[models.UUIDValue] if held_exactly(edge, engine_of(dest))]
    execute("mysql_a", OLD_UUID)
    for key, edge in enumerate(edges, start=1):
        value = "NULL" if edge.value is None else f"'{edge.value.hex}'"
        execute("mysql_a", f"INSERT INTO testapp_uuidvalue VALUES ({key}, '{edge}', {value})")
    before = snapshot("mysql_a", [models.UUIDValue])
    move(Pair("mysql_a", dest), models.UUIDValue)
    assert differences(before, snapshot(dest, [models.UUIDValue])) == []


@pytest.mark.driver
@pytest.mark.parametrize("source", [f"{engine}_a" for engine in ENGINES])
def test_writes_uuids_to_old_mariadb_columns(databases: FreshDatabases, source: str) -> None:
    databases.fresh(source, "mysql_b")
    execute("mysql_b", OLD_UUID.replace("32", "36"))
    edges = [edge for edge in EDGES[models.UUIDValue] if held_exactly(edge, engine_of(source))]
    insert_rows(models.UUIDValue, source, labelled(edges))
    move(Pair(source, "mysql_b"), models.UUIDValue)
    before = snapshot(source, [models.UUIDValue])
    assert differences(before, snapshot("mysql_b", [models.UUIDValue])) == []
    values = QuerySet(models.UUIDValue, using="mysql_b").exclude(value=None).values_list("value", flat=True)
    for value in values:
        assert QuerySet(models.UUIDValue, using="mysql_b").filter(value=value).exists(), value


BEYOND_MARIADB = ("00000000-0000-8000-8000-000000000000", "FFFFFFFF-FFFF-AFFF-0AFF-FFFFFFFFFFFF")
NOTATIONS: Mapping[str, Sequence[tuple[str, str]]] = {
    "sqlite": [("{}", "-"), ("{}", ""), ("{{{}}}", "-"), ("urn:uuid:{}", "-")],
    "mysql": [("{}", "")],
    "postgresql": [("{}", "-")],
}


@pytest.mark.mysql
@pytest.mark.parametrize("text", BEYOND_MARIADB)
@pytest.mark.parametrize("engine", ENGINES)
def test_sees_uuids_that_mariadb_does_not_take_before_the_first_write(
    databases: FreshDatabases, engine: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = Pair(f"{engine}_a", "mysql_b")
    databases.fresh(*pair)
    if not has_uuid_type():
        pytest.skip("MySQL and older versions of MariaDB have no such type")
    if engine == "mysql":
        execute(pair.source, OLD_UUID)
    monkeypatch.setattr(column_limits, "FIRST_ROWS", 1)
    good = "'16fd27068baf433b82eb8c7fada847da'"
    execute(pair.source, f"INSERT INTO testapp_uuidvalue (id, label, value) VALUES (1, 'good', {good})")
    for form, dash in NOTATIONS[engine]:
        for spelled in (text, text.lower()):
            execute(pair.source, f"DELETE FROM testapp_uuidvalue WHERE id = {BAD_KEY}")
            insert_dirt(pair.source, Dirt("bad", models.UUIDValue, f"'{form.format(spelled.replace('-', dash))}'"))
            with pytest.raises(Refused, match=rf"UUIDValue\.value: 1 value: MariaDB's uuid .*primary key {BAD_KEY}\)"):
                move(pair, models.UUIDValue)


@pytest.mark.parametrize("source", [f"{engine}_a" for engine in ENGINES])
@pytest.mark.parametrize("first_rows", [1, 500], ids=["far", "near"])
def test_refuses_spaces_that_a_column_of_mysql_would_lose(
    databases: FreshDatabases, source: str, first_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CHAR(n) gives a text back without the spaces at its end; VARCHAR(n), which Django makes, keeps them."""
    databases.fresh(source, "mysql_b")
    execute("mysql_b", "ALTER TABLE testapp_charvalue MODIFY value char(20) NULL")
    monkeypatch.setattr(column_limits, "FIRST_ROWS", first_rows)
    insert_rows(models.CharValue, source, [{"id": 1, "label": "good", "value": " a b"}])
    insert_rows(models.CharValue, source, [{"id": BAD_KEY, "label": "bad", "value": "a  "}])
    with pytest.raises(Refused, match=rf"CharValue\.value: 1 value: ends with spaces, .*primary key {BAD_KEY}\)"):
        move(Pair(source, "mysql_b"), models.CharValue)
    QuerySet(models.CharValue, using=source).filter(pk=BAD_KEY).delete()
    move(Pair(source, "mysql_b"), models.CharValue)
    assert QuerySet(models.CharValue, using="mysql_b").get().value == " a b"


# Types that only PostgreSQL has ----------------------------------------------------------------------------

NOON = datetime(2026, 10, 25, 12, tzinfo=UTC)
ONLY_POSTGRESQL: Mapping[str, Sequence[Row]] = {
    "ArrayValue": (
        {},
        {"numbers": [], "texts": [], "table": [], "amounts": [], "days": []},
        {
            "numbers": [1, None, -(2**31)],
            "texts": ["", None, "NULL", "null", "a,b", "{c}", '"d"', "e\\f", " ", "\\N", "\n", "😀"],
            "table": [["a", "{"], ["}", ""]],
            "amounts": [Decimal("12345678901234567890.0123456789")],
            "days": [NOON],
        },
    ),
    "RangeValue": (
        {},
        {
            "whole": NumericRange(1, 2**62),
            "exact": NumericRange(Decimal("0.1"), Decimal("0.25"), "[]"),
            "days": DateRange(date(2026, 1, 1), None),
            "instants": DateTimeTZRange(NOON, NOON.replace(hour=13), "(]"),
        },
        {
            "whole": NumericRange(empty=True),
            "exact": NumericRange(None, None),
            "days": DateRange(None, date(2026, 1, 1)),
            "instants": DateTimeTZRange(None, NOON),
        },
    ),
    "HStoreValue": (
        {},
        {"value": {}},
        {"value": {"a": "1", "b": None, "": "", "c => d": '"', "\\": "\\N", "NULL": "NULL", "é": "😀\n"}},
    ),
}


@pytest.fixture
def only_postgresql(databases: FreshDatabases) -> Iterator[Pair]:
    """Install the models that only PostgreSQL can have, and make their tables in two databases."""
    pair = Pair("postgresql_a", "postgresql_b")
    databases.fresh(*pair)
    added = {"append": ["django.contrib.postgres", "tests.testapp_postgresql"]}
    with modify_settings(INSTALLED_APPS=added):
        try:
            for alias in pair:
                make_tables(alias, "testapp_postgresql")
            yield pair
        finally:
            for alias in pair:
                # The schema is told by its tables, and what is left of a type is not.
                execute(alias, "DROP EXTENSION IF EXISTS hstore CASCADE")
            signals.get_hstore_oids.cache_clear()


def make_tables(alias: str, app_label: str) -> None:
    execute(alias, "CREATE EXTENSION hstore")
    # New connections get the handlers of the new type.
    connections[alias].close()
    signals.get_hstore_oids.cache_clear()
    with connections[alias].schema_editor() as editor:
        for model in tables(app_label):
            editor.create_model(model)


@pytest.mark.driver
@pytest.mark.postgresql
def test_keeps_values_of_types_that_only_postgresql_has(only_postgresql: Pair) -> None:
    for model in tables("testapp_postgresql"):
        insert_rows(model, only_postgresql.source, ONLY_POSTGRESQL.get(model.__name__, ()))
    words = "setweight(to_tsvector('english', 'the quick fox''s 50% \\ fix'), 'A')"
    execute(only_postgresql.source, f"INSERT INTO testapp_postgresql_searchvectorvalue (value) VALUES ({words})")
    moved = tables("testapp_postgresql")
    before = snapshot(only_postgresql.source, moved)
    batch_migrate(source=only_postgresql.source, dest=only_postgresql.dest, labels=["testapp_postgresql"])
    assert differences(before, snapshot(only_postgresql.dest, moved)) == []


@pytest.fixture(params=["sqlite_b", "mysql_b"])
def elsewhere(databases: FreshDatabases, request: pytest.FixtureRequest) -> str:
    """Give a database that was migrated before the models of PostgreSQL were there."""
    alias: str = request.param
    databases.fresh(alias)
    return alias


@pytest.mark.postgresql
def test_refuses_types_that_only_postgresql_has_elsewhere(elsewhere: str, only_postgresql: Pair) -> None:
    with pytest.raises(Refused, match=rf"- {elsewhere}: it lacks all 4 tables of this run\. "):
        batch_migrate(source=only_postgresql.source, dest=elsewhere, labels=["testapp_postgresql"])
