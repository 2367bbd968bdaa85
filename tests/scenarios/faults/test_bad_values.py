"""A value that cannot be stored stops the run at its place, or is set aside whole: never changed, never lost."""

from __future__ import annotations

import json
import signal
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from django.db.models import QuerySet
from django.test import override_settings

from tests.databases.edge_values import EDGES, Dirt
from tests.databases.snapshots import differences, insert_rows, snapshot
from tests.manage import Finished
from tests.management.running import execute, run
from tests.scenarios.faults.oracle import assert_ended, journal_tables, wait_until_unlocked
from tests.scenarios.test_resume import CHUNK_RECORDED, Trap, in_a_process_of_its_own
from tests.scenarios.test_values import BAD_KEY, insert_dirt, session_time_zone
from tests.servers.databases import FreshDatabases, Pair
from tests.testapp import models

pytestmark = pytest.mark.driver

GOOD_KEYS = (1, 2, 99999)
PARIS = "Europe/Paris"
THREE_BYTES = "ALTER TABLE testapp_textvalue MODIFY value longtext CHARACTER SET utf8mb3 NULL"


@dataclass(frozen=True)
class Fault:
    """A value as SQL in the source, and why this destination cannot hold it."""

    name: str
    pair: Pair
    model: Any
    sql: str
    reason: str
    prepare: str = ""
    time_zone: str | None = None

    def __str__(self) -> str:
        return f"{self.name}-{self.pair}"


def fault(name: str, pairs: str, model: Any, sql: str, reason: str, **more: Any) -> Iterator[Fault]:
    """Describe a value for several pairs: "sqlite-postgresql sqlite-mysql"."""
    for words in pairs.split():
        source, dest = words.split("-")
        yield Fault(name, Pair(f"{source}_a", f"{dest}_b"), model, sql, reason, **more)


FROM_SQLITE = "sqlite-postgresql sqlite-mysql"
FAULTS = [
    *fault("nul", "sqlite-postgresql", models.TextValue, "'a' || char(0) || 'b'", "NUL"),
    *fault("nul", "mysql-postgresql", models.TextValue, "concat('a', char(0), 'b')", "NUL"),
    *fault("broken-utf-8", FROM_SQLITE, models.TextValue, "CAST(x'41ff42' AS TEXT)", "UTF-8"),
    *fault("half-a-surrogate", FROM_SQLITE, models.TextValue, "CAST(x'eda080' AS TEXT)", "UTF-8"),
    *fault("overlong", FROM_SQLITE, models.CharValue, f"'{'x' * 21}'", "20"),
    *fault("beyond-32-bits", FROM_SQLITE, models.IntegerValue, str(2**40), "outside the range"),
    *fault("unsigned", "mysql-postgresql", models.PositiveIntegerValue, str(2**32 - 1), "outside the range"),
    *fault("zero-date", "mysql-postgresql mysql-sqlite mysql-mysql", models.DateValue, "'0000-00-00'", "a zero date"),
    *fault("zero-month", "mysql-postgresql", models.DateTimeValue, "'2021-00-01 10:00:00'", "a zero date"),
    *fault("not-a-number", "postgresql-mysql postgresql-sqlite", models.FloatValue, "'NaN'", "NaN"),
    *fault("infinity", "postgresql-mysql", models.FloatValue, "'-Infinity'", "infinity"),
    *fault("infinity", "sqlite-mysql", models.FloatValue, "9e999", "infinity"),
    *fault("third-place", FROM_SQLITE, models.MoneyDecimalValue, "1.005", "2 decimals"),
    *fault("exact-integer", FROM_SQLITE, models.LongDecimalValue, "1234567890123456789", "15 significant digits"),
    *fault("sixteen-digits", "postgresql-sqlite mysql-sqlite", models.LongDecimalValue, "123456.7890123456", "15"),
    *fault("high-version", "postgresql-mysql sqlite-mysql", models.UUIDValue, f"'{'8' * 16}01{'8' * 14}'", "7th byte"),
    *fault("json-not-a-number", "sqlite-postgresql", models.JSONValue, "'{\"a\": NaN}'", "JSON"),
    *fault("four-bytes", "postgresql-mysql sqlite-mysql", models.TextValue, "'😀'", "four bytes", prepare=THREE_BYTES),
    *fault(
        "ambiguous-hour", "postgresql-sqlite postgresql-mysql", models.DateTimeValue, "'2026-10-25 01:30:00+00'", PARIS,
        time_zone=PARIS,
    ),
]  # fmt: skip


def move(pair: Pair, model: Any, *more: str) -> Finished:
    ends = ("--source", pair.source, "--dest", pair.dest)
    if journal_tables(pair.dest):
        more = ("--resume", *more)
    return run("batch_migrate", *ends, "--no-input", "--verify", "full", *more, model._meta.label)


def skipping(path: Path) -> tuple[str, ...]:
    return ("--on-error", "skip", "--rejects", str(path))


def rows_of(model: Any, alias: str) -> QuerySet[Any, Any]:
    return QuerySet(model, using=alias)


def assert_only_missing(pair: Pair, model: Any, *keys: int) -> None:
    """Assert that these rows are not in the destination, and all others as they were."""
    for alias in pair:
        rows_of(model, alias).filter(pk__in=keys)._raw_delete(alias)
    found = {alias: snapshot(alias, [model]) for alias in pair}
    assert differences(*found.values()) == []


def rejected(path: Path) -> list[dict[str, Any]]:
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("given", FAULTS, ids=str)
def test_it_is_named_and_set_aside(given: Fault, databases: Any, tmp_path: Path) -> None:
    pair, model, file = given.pair, given.model, tmp_path / "rejects.jsonl"
    databases.fresh(*pair)
    if given.prepare:
        execute(pair.dest, given.prepare)
    insert_rows(model, pair.source, [{"id": key, "label": f"row {key}", "value": None} for key in GOOD_KEYS])
    insert_dirt(pair.source, Dirt(given.name, model, given.sql))
    with ExitStack() as stack:
        if given.time_zone:
            stack.enter_context(session_time_zone(pair.dest, given.time_zone))
        stopped = move(pair, model)
        assert_ended(stopped, 1, model._meta.label, "value", str(BAD_KEY), given.reason, "--on-error skip")
        assert BAD_KEY not in rows_of(model, pair.dest).values_list("pk", flat=True)
        assert_ended(move(pair, model, *skipping(file)), 4)
        keys = rows_of(model, pair.dest).order_by("pk").values_list("pk", flat=True)
        assert list(keys) == list(GOOD_KEYS)
    [line] = rejected(file)
    assert (line["model"], line["pk"], line["field"]) == (model._meta.label, str(BAD_KEY), "value")
    assert line["code"]
    assert line["row"].keys() == {"id", "label", "value"}


@pytest.mark.parametrize("dest", ["postgresql_b", "mysql_b"])
def test_a_row_that_cannot_even_be_read_does_not_keep_a_run_from_going_on(
    dest: str, databases: Any, tmp_path: Path
) -> None:
    pair, model, file = Pair("sqlite_a", dest), models.TextValue, tmp_path / "rejects.jsonl"
    databases.fresh(*pair)
    insert_rows(model, pair.source, [{"id": key, "label": f"row {key}", "value": "x"} for key in (1, 99998, 99999)])
    insert_dirt(pair.source, Dirt("broken", model, "CAST(x'41ff42' AS TEXT)"))

    def killed() -> None:
        with connections[dest].execute_wrapper(Trap(2, CHUNK_RECORDED, is_after=True)):
            move(pair, model, "--chunk-size", "2", *skipping(file))

    assert in_a_process_of_its_own(killed) == -signal.SIGKILL
    wait_until_unlocked(dest)
    rows_of(model, pair.source).filter(pk=1).update(value="changed since")
    assert_ended(move(pair, model, *skipping(file)), 4)
    [line] = rejected(file)
    assert line["pk"] == str(BAD_KEY)
    assert line["row"] == {"id": BAD_KEY, "label": f"bad {BAD_KEY}", "value": {"base64": "Qf9C"}}
    assert dict(rows_of(model, dest).values_list("pk", "value")) == {1: "changed since", 99998: "x", 99999: "x"}


@pytest.mark.sqlite
def test_bytes_that_are_no_text_stay_what_they_are_between_sqlite_files(databases: Any) -> None:
    """Also where the run is killed, and goes on from a source that has changed."""
    pair, model = Pair("sqlite_a", "sqlite_b"), models.TextValue
    databases.fresh(*pair)
    insert_rows(model, pair.source, [{"id": key, "label": f"row {key}", "value": "x"} for key in (1, 99998, 99999)])
    insert_dirt(pair.source, Dirt("broken", model, "CAST(x'41ff42' AS TEXT)"))

    def killed() -> None:
        with connections[pair.dest].execute_wrapper(Trap(2, CHUNK_RECORDED, is_after=True)):
            move(pair, model, "--chunk-size", "2")

    assert in_a_process_of_its_own(killed) == -signal.SIGKILL
    wait_until_unlocked(pair.dest)
    rows_of(model, pair.source).filter(pk=1).update(value="changed since")
    finished = move(pair, model)
    with connections[pair.dest].cursor() as cursor:
        cursor.execute("SELECT id, hex(value), typeof(value) FROM testapp_textvalue ORDER BY id")
        found = cursor.fetchall()
    assert_ended(finished, 0)
    assert (BAD_KEY, "41FF42", "text") in found
    assert [key for key, *_ in found] == [1, BAD_KEY, 99998, 99999]


COLLISIONS = {
    "case": ("strasse", "STRASSE"),
    "accents": ("ideeën", "ideeen"),
    "spaces at the end": ("twin", "twin  "),
}


@pytest.mark.parametrize("texts", COLLISIONS.values(), ids=COLLISIONS)
@pytest.mark.parametrize("source", ["postgresql_a", "sqlite_a"])
def test_unique_texts_that_become_one_are_named(
    source: str, texts: tuple[str, str], databases: Any, tmp_path: Path
) -> None:
    pair, file = Pair(source, "mysql_b"), tmp_path / "rejects.jsonl"
    databases.fresh(*pair)
    codes = ["first", texts[0], "other", texts[1]]
    insert_rows(
        models.UniqueCode, source, [{"id": n, "code": code, "label": "x"} for n, code in enumerate(codes, start=1)]
    )
    assert_ended(move(pair, models.UniqueCode), 1, "testapp.UniqueCode", "code", "--on-error skip")
    assert_ended(move(pair, models.UniqueCode, *skipping(file)), 4)
    [line] = rejected(file)
    assert (line["pk"], line["field"], line["row"]["code"]) == ("4", "code", texts[1])
    assert_only_missing(pair, models.UniqueCode, 4)


KEPT: dict[str, tuple[Any, list[Any]]] = {
    "empty and NULL": (models.TextValue, ["", None, " ", "x  "]),
    "documents": (models.JSONValue, [{"b": 1, "a": {"ä": [2**53 + 1, 10**19, -1.5, None, "", True]}}, [], "text", 0]),
    "instants": (
        models.DateTimeValue, [e.value for e in EDGES[models.DateTimeValue] if e.name not in ("year-1", "year-9999")]
    ),
    "characters": (models.TextValue, ["😀", "e\u0301", "é", "日本", "a\\b'c\"", "\t\r\n"]),
}  # fmt: skip


@pytest.mark.parametrize("what", KEPT)
def test_what_every_engine_holds_arrives_as_it_is(pair: Pair, what: str) -> None:
    model, values = KEPT[what]
    insert_rows(model, pair.source, [{"label": f"row {n}", "value": value} for n, value in enumerate(values)])
    before = snapshot(pair.source, [model])
    assert_ended(move(pair, model), 0)
    assert differences(before, snapshot(pair.dest, [model])) == []


@contextmanager
def local_time() -> Iterator[None]:
    with override_settings(USE_TZ=False, TIME_ZONE=PARIS):
        yield


@pytest.mark.parametrize("source", ["sqlite_a", "mysql_a"])
def test_a_local_time_that_clocks_leave_out_is_named(source: str, databases: Any, tmp_path: Path) -> None:
    pair = Pair(source, "postgresql_b")
    databases.fresh(*pair)
    with local_time():
        execute(source, f"INSERT INTO testapp_datetimevalue VALUES ({BAD_KEY}, 'bad', '2026-03-29 02:30:00')")
        assert_ended(move(pair, models.DateTimeValue), 1, "testapp.DateTimeValue", "value", str(BAD_KEY))
        assert_ended(move(pair, models.DateTimeValue, *skipping(tmp_path / "rejects.jsonl")), 4)
        assert rejected(tmp_path / "rejects.jsonl")[0]["pk"] == str(BAD_KEY)
        assert not rows_of(models.DateTimeValue, pair.dest).exists()


@pytest.mark.parametrize("dest", ["postgresql_b", "mysql_b"])
def test_a_decimal_of_sqlite_with_too_many_places_is_one_problem_with_a_way_out(
    databases: FreshDatabases, dest: str
) -> None:
    databases.fresh("sqlite_a", dest)
    execute("sqlite_a", "INSERT INTO testapp_moneydecimalvalue (id, label, value) VALUES (1, 'half', 0.025)")
    move = ("batch_migrate", "--source", "sqlite_a", "--dest", dest, "--no-input", "testapp.MoneyDecimalValue")

    assert_ended(run(*move), 1, "1 problem stops this run", "MoneyDecimalValue.objects.bulk_update(rows, ['value'])")
    rows = QuerySet(models.MoneyDecimalValue, using="sqlite_a")
    rows.bulk_update(list(rows), ["value"])

    assert_ended(run(*move), 0)
    assert QuerySet(models.MoneyDecimalValue, using=dest).get().value == Decimal("0.02")
