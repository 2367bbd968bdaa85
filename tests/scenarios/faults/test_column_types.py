"""A column of another type than its model's is found before the first write, unless it holds what the source has."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from django.db import connections
from django.db.models import Model, QuerySet
from django.test import override_settings

from tests.databases.snapshots import JSON_NULL, insert_rows
from tests.manage import Finished
from tests.management.running import execute, nothing_changes, run
from tests.servers.databases import ENGINES, PAIRS, Pair
from tests.testapp import models

if TYPE_CHECKING:
    from tests.servers.databases import FreshDatabases

Cases = Mapping[type[Model], Sequence[tuple[str, Any]]]

MOMENT = datetime(2020, 1, 2, 23, 5, 6, 999_999, tzinfo=UTC)
LONG_DECIMAL, LONG_FLOAT = Decimal("1234567.891"), 0.1234567891234
SPAN = timedelta(seconds=3, microseconds=700_000)
SOME_UUID = UUID("00112233-4455-4677-8899-aabbccddeeff")
# By destination: types under each model's column, and a value that would not come back as it was.
REFUSED: Mapping[str, Cases] = {
    "postgresql": {
        models.LongDecimalValue: [
            (declared, LONG_DECIMAL)
            for declared in ("numeric(10,2)", "numeric(22,2)", "double precision", "real", "money", "integer")
        ],
        models.DurationValue: [(declared, SPAN) for declared in ("interval(0)", "interval minute", "bigint", "text")],
        models.DateTimeValue: [
            (declared, MOMENT) for declared in ("timestamp(3)", "timestamptz(3)", "date", "timestamp", "text")
        ],
        models.FloatValue: [(declared, LONG_FLOAT) for declared in ("real", "numeric(10,2)", "integer", "numeric")],
        models.BigIntegerValue: [
            ("double precision", 2**53 + 1),
            ("real", 16_777_217),
            ("numeric(4,0)", 12_345),
            ("numeric(9,-2)", 5),
        ],
        models.CharValue: [
            *(("integer", "007"), ("date", "2020-1-5"), ("boolean", "yes"), ("bytea", "a"), ("uuid", "b")),
            ("char(5)", "ab"),
        ],
        models.IPAddressValue: [("varchar(39)", "2001:db8::1"), ("cidr", "10.0.0.1")],
        models.BooleanValue: [("varchar(5)", True), ("smallint", True), ("integer", True)],
        models.UUIDValue: [("varchar(36)", SOME_UUID), ("bytea", SOME_UUID)],
        models.TimeValue: [("time(3)", time(1, 2, 3, 999_999)), ("timetz", time(1, 2)), ("interval", time(1, 2))],
        models.DateValue: [("timestamptz", date(2020, 1, 2)), ("varchar(20)", date(2020, 1, 2))],
        models.JSONValue: [("bytea", {"a": 1}), ("varchar(5)", {"a": "long enough"})],
        models.MoneyValue: [("numeric(12,1)", Decimal("1.25")), ("double precision", Decimal("1.25"))],
    },
    "mysql": {
        models.LongDecimalValue: [
            (declared, LONG_DECIMAL) for declared in ("decimal(10,2)", "double", "float", "int", "varchar(40)")
        ],
        models.MoneyDecimalValue: [("decimal(9,2) unsigned", Decimal("-1.5"))],
        models.FloatValue: [
            *((declared, LONG_FLOAT) for declared in ("float", "float(7,3)", "double(7,3)", "decimal(10,2)", "int")),
            *((declared, -0.5) for declared in ("double unsigned", "float unsigned")),
        ],
        models.BigIntegerValue: [
            *(("double", 2**53 + 1), ("float", 16_777_217), ("decimal(4,0)", 12_345)),
            *((declared, -5) for declared in ("double unsigned", "decimal(12,0) unsigned")),
        ],
        models.CharValue: [
            *(("int", "007"), ("varbinary(20)", "a"), ("date", "2020-1-5"), ("set('a','b')", "b,a")),
            ("varchar(20) character set ucs2", "\N{GRINNING FACE}"),
        ],
        models.BooleanValue: [("char(1)", True), ("bit(1)", True)],
        models.DateTimeValue: [
            (declared, datetime(1960, 1, 2, 3, tzinfo=UTC))
            for declared in ("date", "year", "timestamp(6)", "varchar(40)")
        ],
        models.DateValue: [("datetime", date(2020, 1, 2)), ("year", date(2020, 1, 2))],
        models.TimeValue: [("time", time(1, 2, 3, 999_999)), ("datetime(6)", time(1, 2))],
        models.DurationValue: [("int", timedelta(days=1)), ("time(6)", SPAN), ("bigint unsigned", -SPAN)],
        models.UUIDValue: [("char(32)", SOME_UUID), ("binary(16)", SOME_UUID), ("text", SOME_UUID)],
        models.BinaryValue: [("binary(4)", b"ab"), ("text", b"ab"), ("varbinary(1)", b"ab")],
        models.SlugValue: [("enum('a','b')", "A"), ("tinyint", "1")],
        models.MoneyValue: [("decimal(12,1)", Decimal("1.25")), ("double", Decimal("1.25"))],
    },
    "sqlite": {
        models.CharValue: [
            (declared, "007") for declared in ("integer", "datetime", "decimal", "real", "bool", "date text")
        ],
        # Of these types the driver makes something else.
        models.DateValue: [(declared, date(2020, 1, 2)) for declared in ("datetime", "timestamp", "bool")],
        models.TimeValue: [(declared, time(1, 2)) for declared in ("datetime", "date")],
        models.DateTimeValue: [(declared, MOMENT) for declared in ("date", "time")],
        models.BinaryValue: [("date", b"2020-01-02")],
        models.UUIDValue: [("integer", UUID(int=5))],
        models.JSONValue: [("decimal", 7)],
        models.BigIntegerValue: [("real", 2**53 + 1), ("text", 7), ("bool", 7), ("timestamp", 7)],
        models.FloatValue: [("text", 0.5), ("varchar(9)", 0.5)],
        models.MoneyDecimalValue: [("text", Decimal("1.50"))],
        models.BooleanValue: [("varchar(5)", True)],
        models.DurationValue: [("text", SPAN), ("real", SPAN)],
        models.IPAddressValue: [("numeric", "10.0.0.1")],
        models.CommaListValue: [("integer", ["007"])],
    },
}
# By destination: types that hold these values unchanged, and what the plan says of each: "stored as" or nothing.
HELD: Mapping[str, Cases] = {
    "postgresql": {
        models.LongDecimalValue: [("numeric", LONG_DECIMAL), ("numeric(40,12)", LONG_DECIMAL)],
        models.DurationValue: [("interval(1)", SPAN), ("interval(6)", SPAN)],
        models.DateTimeValue: [("timestamptz(3)", datetime(2020, 1, 2, 3, tzinfo=UTC))],
        models.FloatValue: [("real", 0.5), ("real", 0.1)],
        models.BigIntegerValue: [
            ("numeric", 2**62),
            ("numeric(20,0)", 2**62),
            ("double precision", 2**53),
            ("real", 77),
            ("integer", 5),
        ],
        models.CharValue: [
            ("text", "a"),
            ("varchar(9)", "a"),
            ("char(1)", "a"),
            ("char(5)", "abcd "),
            ("citext", "a"),
            ("varchar(99)", "a"),
        ],
        models.JSONValue: [("json", {"a": 1}), ("text", {"a": 1}), ("varchar(90)", {"a": 1})],
        models.MoneyValue: [("numeric", Decimal("1.25")), ("numeric(20,4)", Decimal("1.25"))],
        models.SmallIntegerValue: [("bigint", 5), ("integer", 5)],
        models.EmailValue: [("varchar(75)", "a@example.org")],
        models.CommaListValue: [("text", ["a"]), ("varchar(9)", ["a"])],
    },
    "mysql": {
        models.LongDecimalValue: [("decimal(40,12)", LONG_DECIMAL)],
        models.FloatValue: [("float", 0.5), ("float", 0.123456), ("double unsigned", 0.5)],
        models.BigIntegerValue: [("decimal(20,0)", 2**62), ("double", 2**53), ("int", 5), ("bigint unsigned", 5)],
        models.CharValue: [
            ("longtext", "a"),
            ("varchar(9)", "a"),
            ("char(20)", "a"),
            ("enum('a','b')", "a"),
            ("set('b','a','it''s')", "b,it's"),
            ("set('a','b')", ""),
            ("tinytext", "a"),
        ],
        models.BooleanValue: [("tinyint(4)", True), ("int", True), ("tinyint(1) unsigned", True)],
        models.DateTimeValue: [
            ("datetime", datetime(2020, 1, 2, 3, tzinfo=UTC)),
            ("timestamp(6)", MOMENT),
            ("datetime(3)", MOMENT.replace(microsecond=0)),
        ],
        models.DurationValue: [("int", SPAN), ("bigint unsigned", SPAN)],
        models.UUIDValue: [("char(36)", SOME_UUID), ("varchar(40)", SOME_UUID)],
        models.BinaryValue: [("binary(2)", b"ab"), ("varbinary(9)", b"ab")],
        models.JSONValue: [("text", {"a": 1}), ("mediumtext", {"a": 1})],
        models.IPAddressValue: [("varchar(39)", "10.0.0.1"), ("varchar(15)", "10.0.0.1")],
        models.EmailValue: [("varchar(75)", "a@example.org")],
        models.MoneyValue: [("decimal(20,4)", Decimal("1.25"))],
    },
    "sqlite": {
        models.CharValue: [("text", "007"), ("varchar(3)", "007"), ("", "007"), ("blob", "007"), ("char(3)", "007")],
        models.BigIntegerValue: [("integer", 2**62), ("int", 7), ("decimal", 2**62), ("bigint unsigned", 7)],
        models.FloatValue: [("double precision", 0.5), ("float", 0.5), ("numeric", 0.5)],
        models.MoneyDecimalValue: [("numeric(9, 2)", Decimal("1.50")), ("real", Decimal("1.50"))],
        models.BooleanValue: [("integer", True), ("tinyint(1)", True)],
        models.DateTimeValue: [("timestamp", MOMENT), ("text", MOMENT), ("varchar(30)", MOMENT)],
        models.DateValue: [("text", date(2020, 1, 2))],
        models.UUIDValue: [("varchar(36)", SOME_UUID), ("text", SOME_UUID)],
        models.JSONValue: [("varchar", {"a": 1}), ("json_text", {"a": 1})],
        models.EmailValue: [("varchar(75)", "a@example.org")],
    },
}


def alter(alias: str, model: type[Model], declared: str) -> None:
    """Give a model's column ``value`` another type; the table is empty."""
    table = connections[alias].ops.quote_name(model._meta.db_table)
    if connections[alias].vendor == "sqlite":
        key, label = '"id" integer NOT NULL PRIMARY KEY AUTOINCREMENT', '"label" varchar(80) NOT NULL UNIQUE'
        execute(alias, f"DROP TABLE {table}", f'CREATE TABLE {table} ({key}, {label}, "value" {declared} NULL)')
        return
    execute(alias, f"ALTER TABLE {table} DROP COLUMN value", f"ALTER TABLE {table} ADD COLUMN value {declared} NULL")


def rounds(cases: Cases) -> Iterator[Mapping[type[Model], tuple[str, Any]]]:
    """Give each model's first case, then each one's second, and so on: one command looks at all of a round."""
    for number in range(max(map(len, cases.values()))):
        yield {model: of_model[number] for model, of_model in cases.items() if number < len(of_model)}


def prepared(pair: Pair, cases: Mapping[type[Model], tuple[str, Any]]) -> list[str]:
    """Put the values of a round into the source, give the destination its types, and return the models' labels."""
    for model, (declared, value) in cases.items():
        for alias in pair:
            execute(alias, f"DELETE FROM {connections[alias].ops.quote_name(model._meta.db_table)}")
        insert_rows(model, pair.source, [{"label": "the value", "value": value}])
        if "citext" in declared:
            execute(pair.dest, "CREATE EXTENSION IF NOT EXISTS citext")
        alter(pair.dest, model, declared)
    return [model._meta.label for model in cases]


def move(pair: Pair, *words: str) -> Finished:
    return run("batch_migrate", "--source", pair.source, "--dest", pair.dest, "--no-input", *words)


def value_read(alias: str, model: type[Model], declared: str) -> Any:
    """Read the value as Django does, which cannot read a json column of PostgreSQL."""
    if declared == "json":
        with connections[alias].cursor() as cursor:
            cursor.execute(f"SELECT value::text FROM {model._meta.db_table}")
            return json.loads(cursor.fetchone()[0])
    return QuerySet(model, using=alias).values_list("value", flat=True).get()


@pytest.mark.parametrize(
    ("engine", "db_type", "declared"),
    [
        ("postgresql", "timestamp with time zone DEFAULT now()", "timestamptz"),
        ("postgresql", "numeric(12, 2) NOT NULL", "numeric(12,2)"),
        ("postgresql", "varchar(9)[]", "varchar(20)[]"),
        ("postgresql", "NUMRANGE", "numrange"),
        ("postgresql", "bit varying(5)", "bit varying(5)"),
        ("mysql", "TIMESTAMP NULL DEFAULT NULL", "timestamp"),
        ("mysql", "integer(11) UNSIGNED", "int(10) unsigned"),
        ("mysql", "ENUM('A', 'b')", "enum('A','b')"),
        ("mysql", "double precision", "double"),
        ("mysql", "year", "year(4)"),
        ("mysql", "point", "point"),
        ("sqlite", "NUMERIC(12, 2)", "decimal"),
        ("sqlite", None, "anything"),
    ],
)
def test_a_type_of_the_projects_own_is_no_obstacle(
    databases: FreshDatabases, engine: str, db_type: str | None, declared: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = Pair(f"{'postgresql' if engine == 'sqlite' else 'sqlite'}_a", f"{engine}_b")
    databases.fresh(*pair)
    alter(pair.dest, models.MoneyValue, declared)
    monkeypatch.setattr(type(models.MoneyValue._meta.get_field("value")), "db_type", lambda self, connection: db_type)
    finished = move(pair, "--dry-run", "testapp.MoneyValue")
    assert finished.code == 0, finished.err


@pytest.mark.parametrize(
    ("engine", "db_type", "declared"),
    [
        ("postgresql", "integer[]", "bigint"),
        ("postgresql", "integer", "integer[]"),
        ("sqlite", "text", "date text"),
    ],
)
def test_another_type_than_the_projects_own_is_refused(
    databases: FreshDatabases, engine: str, db_type: str, declared: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = Pair(f"{'postgresql' if engine == 'sqlite' else 'sqlite'}_a", f"{engine}_b")
    databases.fresh(*pair)
    alter(pair.dest, models.MoneyValue, declared)
    monkeypatch.setattr(type(models.MoneyValue._meta.get_field("value")), "db_type", lambda self, connection: db_type)
    assert found_before_the_first_write(pair, ["testapp.MoneyValue"]) == {"testapp.MoneyValue"}


@pytest.mark.parametrize("engine", ENGINES)
def test_what_migrate_makes_is_what_the_models_say(databases: FreshDatabases, engine: str) -> None:
    pair = Pair("sqlite_a", f"{engine}_b")
    databases.fresh(*pair)
    finished = move(pair, "--dry-run", "--replace", pair.dest)
    assert finished.code == 0, finished.err
    assert "other types than" not in finished.out


@pytest.fixture(params=[(source, dest) for dest in ENGINES for source in ENGINES], ids="-to-".join)
def pair(request: pytest.FixtureRequest, databases: FreshDatabases) -> Pair:
    source, dest = request.param
    databases.fresh(f"{source}_a", f"{dest}_b")
    return Pair(f"{source}_a", f"{dest}_b")


def is_what_django_makes(alias: str, model: type[Model], declared: str) -> bool:
    """Whether this server is one for which the type is Django's own, as char(32) is for UUIDs on MySQL."""
    return model._meta.get_field("value").db_type(connections[alias]) == declared


def found_before_the_first_write(pair: Pair, labels: Sequence[str]) -> set[str]:
    """Return the models of which a dry run says that it stops at their values' column."""
    with nothing_changes(pair.dest):
        finished = move(pair, "--dry-run", *labels)
    return {label for label in labels if finished.code == 1 and f"  - {label}.value: " in finished.err}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_column_that_the_destination_computes_is_found_before_the_first_write(
    databases: FreshDatabases, engine: str
) -> None:
    pair = Pair("sqlite_a", f"{engine}_b")
    databases.fresh(*pair)
    insert_rows(models.IntegerValue, pair.source, [{"label": "the value", "value": 5}])
    if engine == "mysql":
        table = models.IntegerValue._meta.db_table
        execute(pair.dest, f"ALTER TABLE {table} DROP COLUMN value", f"ALTER TABLE {table} ADD value int AS (7) STORED")
    else:
        alter(pair.dest, models.IntegerValue, "integer GENERATED ALWAYS AS (7) STORED")
    with nothing_changes(pair.dest):
        finished = move(pair, "testapp.IntegerValue")
    assert finished.code == 1
    assert f"ordinary fields are generated columns in {pair.dest!r}: value" in finished.err


def test_a_type_that_does_not_hold_the_values_is_found_before_the_first_write(pair: Pair) -> None:
    missed = []
    for cases in rounds(REFUSED[pair.engines[1]]):
        labels = prepared(pair, cases)
        found = found_before_the_first_write(pair, labels)
        # No value is looked at while a type stops the run.
        if rest := [label for label in labels if label not in found]:
            found |= found_before_the_first_write(pair, rest)
        missed += [
            (model._meta.label, declared)
            for model, (declared, _) in cases.items()
            if model._meta.label not in found and not is_what_django_makes(pair.dest, model, declared)
        ]
    assert not missed, missed


@pytest.mark.driver
def test_a_type_that_holds_the_values_is_no_obstacle(pair: Pair) -> None:
    missed = []
    for cases in rounds(HELD[pair.engines[1]]):
        labels = prepared(pair, cases)
        finished = move(pair, "--verify", "full", *labels)
        if finished.code:
            missed.append(({model._meta.label: declared for model, (declared, _) in cases.items()}, finished.err))
        missed += [
            (model._meta.label, declared, value, read)
            for model, (declared, value) in cases.items()
            if not finished.code and (read := value_read(pair.dest, model, declared)) != value
        ]
    assert not missed, missed


# Types into which something else is written than the source has, and what verification has to bear with.
COMPARED: Mapping[str, Sequence[tuple[type[Model], str, Any, str]]] = {
    "postgresql": [
        (models.DateTimeValue, "date", MOMENT, "'2020-01-02'"),
        (models.DateTimeValue, "timestamp", MOMENT, "'2020-01-02 23:05:06'"),
        (models.CharValue, "integer", "007", "7"),
        (models.LongDecimalValue, "double precision", LONG_DECIMAL, "1234567.9"),
        (models.FloatValue, "real", LONG_FLOAT, "0.12345679"),
        (models.FloatValue, "numeric", LONG_FLOAT, "0.5"),
        (models.IPAddressValue, "varchar(39)", "2001:db8::1", "'2001:db8::1/128'"),
        (models.BooleanValue, "varchar(5)", True, "'t'"),
        (models.JSONValue, "integer[]", {"a": 1}, "'{1}'"),
        (models.UUIDValue, "text", SOME_UUID, "'no uuid'"),
    ],
    "mysql": [
        (models.DateTimeValue, "date", MOMENT, "'2020-01-02'"),
        (models.CharValue, "int", "007", "7"),
        (models.BooleanValue, "bit(1)", True, "b'1'"),
        (models.FloatValue, "float", LONG_FLOAT, "0.123457"),
        (models.UUIDValue, "binary(16)", SOME_UUID, "'1234567890123456'"),
        (models.LongDecimalValue, "varchar(9)", LONG_DECIMAL, "'no number'"),
    ],
    "sqlite": [
        (models.DateTimeValue, "integer", MOMENT, "5"),
        (models.CharValue, "integer", "007", "7"),
        (models.LongDecimalValue, "text", LONG_DECIMAL, "'no number'"),
        (models.JSONValue, "blob", {"a": 1}, "x'00ff'"),
        (models.UUIDValue, "text", SOME_UUID, "'no uuid'"),
    ],
}


@pytest.mark.driver
@pytest.mark.parametrize("pair", [("sqlite", dest) for dest in ENGINES], ids="-to-".join, indirect=True)
def test_columns_of_other_types_are_compared_without_an_error(pair: Pair) -> None:
    missed = []
    for model, declared, value, stored in COMPARED[pair.engines[1]]:
        (label,) = prepared(pair, {model: (declared, value)})
        execute(pair.dest, f"INSERT INTO {model._meta.db_table} (id, label, value) VALUES (1, 'the value', {stored})")
        ends = ("--source", pair.source, "--dest", pair.dest)
        compared = run("verify_counts", *ends, "--mode", "full", label)
        updated = move(pair, "--update", label)
        is_refused = updated.code == 1 and "1 problem stops this run" in updated.err
        if compared.code != 3 or not (is_refused or updated.code == 0):
            missed.append((label, declared, compared.code, compared.err, updated.err))
    assert not missed, missed


@pytest.mark.driver
def test_json_null_arrives_in_a_json_column(databases: FreshDatabases) -> None:
    pair = Pair("sqlite_a", "postgresql_b")
    databases.fresh(*pair)
    labels = prepared(pair, {models.JSONValue: ("json", JSON_NULL)})
    finished = move(pair, "--verify", "full", *labels)
    assert finished.code == 0, finished.err
    with connections[pair.dest].cursor() as cursor:
        cursor.execute("SELECT value::text FROM testapp_jsonvalue")
        assert cursor.fetchall() == [("null",)]


def test_what_is_stored_otherwise_is_named_in_the_plan(databases: FreshDatabases) -> None:
    pair = Pair("sqlite_a", "postgresql_b")
    databases.fresh(*pair)
    labels = prepared(pair, {models.CharValue: ("text", "a"), models.SmallIntegerValue: ("bigint", 5)})
    finished = move(pair, *labels)
    assert finished.code == 0, finished.err
    (note,) = (line for line in finished.out.splitlines() if "other types than" in line)
    assert note.endswith("testapp.CharValue.value as text (Django: character varying(20)).")


def test_columns_that_both_databases_have_alike_are_no_obstacle(databases: FreshDatabases) -> None:
    pair = Pair("postgresql_a", "postgresql_b")
    databases.fresh(*pair)
    for alias in pair:
        alter(alias, models.DateTimeValue, "timestamp(3)")
        alter(alias, models.CharValue, "integer")
    execute(
        pair.source,
        "INSERT INTO testapp_datetimevalue (label, value) VALUES ('a', '2020-01-02 03:04:05.678')",
        "INSERT INTO testapp_charvalue (label, value) VALUES ('a', 7)",
    )
    finished = move(pair, "--verify", "full", "testapp.DateTimeValue", "testapp.CharValue")
    assert finished.code == 0, finished.err


def test_rows_that_are_added_are_held_to_it_as_well(databases: FreshDatabases) -> None:
    pair = Pair("sqlite_a", "postgresql_b")
    databases.fresh(*pair)
    prepared(pair, {models.CharValue: ("integer", "007")})
    ends = ("--source", pair.source, "--dest", pair.dest, "--no-input")
    finished = run("batch_migrate_models", "testapp.CharValue", *ends)
    assert finished.code == 1
    assert "testapp.CharValue.value: 'postgresql_b' stores it as integer" in finished.err


# By source: types under which it has something else than the field would write, but from which that can be told.
UNDERSTOOD: Mapping[str, Sequence[tuple[type[Model], str, str, Any]]] = {
    "postgresql": [
        (models.CharValue, "integer", "7", "7"),
        (models.MoneyDecimalValue, "double precision", "1234567.89", Decimal("1234567.89")),
        (models.BooleanValue, "integer", "1", True),
        (models.FloatValue, "numeric", "0.5", 0.5),
        (models.CharValue, "char(5)", "'abcde'", "abcde"),
        (models.IntegerValue, "numeric(9,2)", "5.00", 5),
        (models.UUIDValue, "varchar(36)", f"'{SOME_UUID}'", SOME_UUID),
        (models.DateValue, "timestamp", "'2020-01-02 00:00'", date(2020, 1, 2)),
    ],
    "mysql": [
        (models.CharValue, "int", "7", "7"),
        (models.CharValue, "date", "'2020-01-02'", "2020-01-02"),
        (models.IntegerValue, "varchar(9)", "'7'", 7),
        (models.FloatValue, "decimal(9,2)", "0.5", 0.5),
        (models.MoneyDecimalValue, "double", "1234567.89", Decimal("1234567.89")),
        (models.CharValue, "enum('a','b')", "'a'", "a"),
        (models.SmallIntegerValue, "year", "2020", 2020),
        (models.UUIDValue, "char(32)", f"'{SOME_UUID.hex}'", SOME_UUID),
    ],
    "sqlite": [
        (models.CharValue, "integer", "7", "7"),
        (models.BooleanValue, "integer", "1", True),
        (models.FloatValue, "numeric", "1", 1.0),
        # Of such types the driver makes something else, and Django reads it so.
        (models.IntegerValue, "bool", "5", 5),
        (models.FloatValue, "bool", "0.5", 0.5),
        (models.MoneyDecimalValue, "date", "1.5", Decimal("1.50")),
        (models.TimeValue, "datetime", "'01:02:03'", time(1, 2, 3)),
        (models.DateValue, "timestamp", "'2020-01-02 00:00:00'", date(2020, 1, 2)),
        (models.DateTimeValue, "text", "'2020-01-02 03:04:05'", datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)),
    ],
}


@pytest.mark.driver
@pytest.mark.parametrize("pair", [pair.engines for pair in PAIRS[1:8]], ids="-to-".join, indirect=True)
def test_what_the_source_has_in_another_type_arrives_as_the_field_means_it(pair: Pair) -> None:
    missed = []
    for model, declared, stored, value in UNDERSTOOD[pair.engines[0]]:
        execute(pair.dest, f"DELETE FROM {model._meta.db_table}")
        execute(pair.source, f"DELETE FROM {model._meta.db_table}")
        alter(pair.source, model, declared)
        execute(pair.source, f"INSERT INTO {model._meta.db_table} (label, value) VALUES ('the value', {stored})")
        finished = move(pair, "--verify", "full", model._meta.label)
        read = None if finished.code else value_read(pair.dest, model, declared)
        if read != value or type(read) is not type(value):
            missed.append((model._meta.label, declared, read, finished.err))
    assert not missed, missed


# By source: a type, and what it holds that is no value of the field's, or that the field would only keep a part of.
NOT_MEANT: Mapping[str, Sequence[tuple[type[Model], str, str]]] = {
    "postgresql": [
        (models.IntegerValue, "numeric", "5.5"),
        (models.IntegerValue, "text", "'007'"),
        (models.CharValue, "bytea", "'ab'"),
        (models.TextValue, "json", "'{}'"),
        (models.CharValue, "text[]", "'{a}'"),
        (models.CharValue, "interval", "'1 day'"),
        (models.FloatValue, "numeric", "12345678901234567890.5"),
        (models.MoneyDecimalValue, "numeric", "1.2345678901"),
        (models.MoneyDecimalValue, "double precision", "1.2345"),
        (models.DateValue, "timestamp", "'2020-01-02 03:04'"),
        (models.TimeValue, "timetz", "'01:02+05'"),
        (models.BooleanValue, "integer", "2"),
        (models.DurationValue, "bigint", "5"),
        (models.JSONValue, "text[]", "'{a}'"),
    ],
    "mysql": [
        (models.IntegerValue, "decimal(5,2)", "5.50"),
        (models.IntegerValue, "varchar(9)", "'007'"),
        (models.CharValue, "varbinary(9)", "'ab'"),
        (models.DateValue, "datetime", "'2020-01-02 03:04'"),
        (models.MoneyDecimalValue, "double", "1.2345"),
        (models.BooleanValue, "year", "2020"),
        (models.DateTimeValue, "varchar(30)", "'2020-01-02 03:04'"),
        (models.BinaryValue, "text", "'ab'"),
    ],
    "sqlite": [
        (models.IntegerValue, "real", "5.5"),
        (models.IntegerValue, "text", "'007'"),
        (models.TextValue, "blob", "x'6162'"),
        (models.MoneyDecimalValue, "real", "1.2345"),
        (models.DateValue, "datetime", "'2020-01-02 03:04:05'"),
        (models.BooleanValue, "text", "'yes'"),
        (models.UUIDValue, "blob", "x'00112233445566778899aabbccddeeff'"),
        (models.BinaryValue, "text", "'ab'"),
    ],
}


@pytest.mark.parametrize(
    "pair", [("postgresql", "sqlite"), ("mysql", "postgresql"), ("sqlite", "mysql")], ids="-to-".join, indirect=True
)
def test_what_the_field_means_otherwise_is_found_before_the_first_write(pair: Pair, tmp_path: Path) -> None:
    missed = []
    for number, (model, declared, stored) in enumerate(NOT_MEANT[pair.engines[0]]):
        label, table = model._meta.label, model._meta.db_table
        alter(pair.source, model, declared)
        for alias in pair:
            execute(alias, f"DELETE FROM {table}")
        execute(pair.source, f"INSERT INTO {table} (label, value) VALUES ('the value', {stored}), ('none', NULL)")
        found = found_before_the_first_write(pair, [label])
        skip = ("--on-error", "skip", "--rejects", str(tmp_path / str(number)))
        skipped = move(pair, *skip, label)
        rows = list(QuerySet(model, using=pair.dest).values_list("label", flat=True))
        if not found or skipped.code != 4 or rows != ["none"]:
            missed.append((label, declared, found, skipped, rows))
    assert not missed, missed


def test_a_character_of_a_document_that_its_column_lacks_is_found(databases: FreshDatabases) -> None:
    """PostgreSQL's own documents have characters as they are; Django writes others with escapes."""
    pair = Pair("postgresql_a", "mysql_b")
    databases.fresh(*pair)
    omega = {"a": "\N{GREEK SMALL LETTER OMEGA}"}
    labels = prepared(pair, {models.JSONValue: ("longtext character set latin1", omega)})
    assert found_before_the_first_write(pair, labels) == set(labels)


@pytest.mark.parametrize("declared", ["date", "timestamp"])
def test_a_source_from_which_no_moment_can_be_told_is_named(databases: FreshDatabases, declared: str) -> None:
    pair = Pair("postgresql_a", "sqlite_b")
    databases.fresh(*pair)
    alter(pair.source, models.DateTimeValue, declared)
    with override_settings(TIME_ZONE="Europe/Paris"):
        finished = move(pair, "testapp.DateTimeValue")
    assert finished.code == 1
    assert f"testapp.DateTimeValue.value: 'postgresql_a' stores it as {declared}" in finished.err


def test_the_message_says_how_local_times_become_moments(databases: FreshDatabases) -> None:
    """Whatever the zone of the session that changes the type."""
    pair = Pair("sqlite_a", "postgresql_b")
    databases.fresh(*pair)
    alter(pair.dest, models.DateTimeValue, "timestamp")
    execute(pair.dest, "INSERT INTO testapp_datetimevalue (label, value) VALUES ('there', '2020-01-02 03:04:05')")
    insert_rows(models.DateTimeValue, pair.source, [{"label": "new", "value": MOMENT}])
    finished = move(pair, "testapp.DateTimeValue", "--replace", pair.dest)
    assert finished.code == 1
    statement = finished.err.partition("(ALTER TABLE ")[2].partition(")")[0]
    execute(pair.dest, "SET TimeZone = 'Asia/Tokyo'", f"ALTER TABLE {statement}")
    (there,) = QuerySet(models.DateTimeValue, using=pair.dest).values_list("value", flat=True)
    assert there == datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert move(pair, "testapp.DateTimeValue", "--replace", pair.dest).code == 0
