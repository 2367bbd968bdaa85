"""A forecast copies a sample into a scratch, writes nothing to the destination, and leaves no row anywhere."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import call_command
from django.db import connections
from django.db.models import QuerySet

from migrator.console.report_text import to_text
from migrator.databases.api import RunResult, batch_migrate
from migrator.databases.forecasting import sample
from migrator.databases.forecasting.model import Forecast
from migrator.databases.forecasting.trial import Trial
from migrator.databases.reports.run import result_report
from tests.databases.forecasting.scratches import scratch_for
from tests.databases.planning.test_deferred_objects import definitions
from tests.databases.snapshots import insert_rows
from tests.management.running import contents, execute, nothing_changes, run
from tests.pairs import in_turn
from tests.scenarios.faults.oracle import LABELS as MOST
from tests.scenarios.faults.oracle import fill as fill_most
from tests.servers.databases import PAIRS, Pair
from tests.testapp.models import Ring, Tag, TextKey, UUIDKey

if TYPE_CHECKING:
    from tests.servers.databases import FreshDatabases

ROWS = 120
LABELS = (*MOST, "testapp.UUIDKey", "testapp.TextKey", "testapp.Ring", "testapp.Empty")
SHORT = 22


def fill(alias: str) -> None:
    """Put rows into tables with numbers, texts and UUIDs as keys, tables that refer to themselves, and a cycle."""
    fill_most(alias, ROWS)
    insert_rows(UUIDKey, alias, [{"id": uuid.UUID(int=n << 100), "label": f"row {n}"} for n in range(ROWS)])
    insert_rows(TextKey, alias, [{"code": f"key {n:04}", "label": f"row {n}"} for n in range(ROWS)])
    insert_rows(Ring, alias, [{"id": n, "name": f"{n}", "following_id": ROWS + 1 - n} for n in range(1, ROWS + 1)])


@pytest.fixture
def scratch(pair: Pair, databases: FreshDatabases) -> Iterator[str]:
    with scratch_for(pair, databases) as alias:
        yield alias


@pytest.fixture
def filled(pair: Pair, monkeypatch: pytest.MonkeyPatch, few_rows_are_many: None) -> Pair:
    """Fill a source with tables of which most are too large to be copied whole."""
    monkeypatch.setattr(sample, "WHOLE_ROWS", 10)
    monkeypatch.setattr(sample, "LEAST_ROWS", 600)
    fill(pair.source)
    return pair


def forecast(pair: Pair, scratch: str, **options: Any) -> RunResult:
    """Forecast the move of these tables alone, which takes less time."""
    ends = {"source": pair.source, "dest": pair.dest, "labels": LABELS}
    return batch_migrate(**{**ends, **options}, forecast=True, scratch=scratch)


def of(result: RunResult) -> Forecast:
    assert result.forecast is not None
    return result.forecast


def filled_tables(alias: str) -> set[str]:
    return {table for table, rows in contents(alias).items() if rows and table.startswith("testapp_")}


@in_turn
def test_leaves_the_destination_as_it_was_and_the_scratch_without_rows(filled: Pair, scratch: str) -> None:
    before = definitions(scratch)
    with nothing_changes(filled.dest, filled.source):
        found = of(forecast(filled, scratch, verify="full", labels=()))
    assert definitions(scratch) == before
    left = contents(scratch)
    assert {table for table, rows in left.items() if rows} <= {"django_migrations", "sqlite_sequence"}
    assert "migrator_run" not in left
    assert 0 < found.plan < found.low < found.high
    by_label = {table.label: table for table in found.tables}
    for label in ("testapp.Tag", "testapp.TreeNode", "testapp.UUIDKey", "testapp.TextKey", "testapp.Ring"):
        assert by_label[label].rows == ROWS
        if filled.engines != ("sqlite", "sqlite"):  # there, a small file is copied table by table
            assert 10 <= by_label[label].sampled_rows < ROWS / 2
        assert by_label[label].seconds_rows > 0
    assert by_label["testapp.Restaurant"].rows == ROWS / 2
    assert "testapp.Empty" not in by_label
    assert found.compares_values
    assert found.values > 0


@pytest.mark.parametrize("pair", [PAIRS[1], PAIRS[5], PAIRS[6]], ids=str, indirect=True)
def test_copies_rows_from_all_over_a_table_without_their_parents(
    filled: Pair, scratch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keys of both samples are read just before the scratch is emptied again."""
    seen: dict[Any, list[list[Any]]] = {Tag: [], UUIDKey: [], TextKey: [], Ring: []}
    check_keys = Trial._check_keys

    def remember(trial: Trial, part: Any) -> None:
        for model, found in seen.items():
            found.append(sorted(QuerySet(model, using=scratch).values_list("pk", flat=True)))
        check_keys(trial, part)

    monkeypatch.setattr(Trial, "_check_keys", remember)
    forecast(filled, scratch)
    for model, (small, large) in seen.items():
        every = sorted(QuerySet(model, using=filled.source).values_list("pk", flat=True))
        assert set(small) < set(large) < set(every)
        # In each fifth of the table, as the source sorts its keys.
        ordered = list(QuerySet(model, using=filled.source).order_by("pk").values_list("pk", flat=True))
        fifth = len(ordered) // 5
        for piece in range(5):
            assert set(ordered[piece * fifth : (piece + 1) * fifth]) & set(large), (model, piece)


@pytest.mark.parametrize("pair", [PAIRS[0]], ids=str, indirect=True)
def test_copies_whole_tables_where_the_destination_copies_them_itself(
    filled: Pair, scratch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite copies their indexes along with the rows, so that none is left to recreate."""

    def indexes() -> list[str]:
        return [text for text in definitions(scratch) if "CREATE INDEX" in text and "testapp_treenode" in text]

    before, seen = indexes(), []
    recreate = Trial._recreate_indexes

    def remember(trial: Trial) -> Any:
        seen.append(indexes())
        return recreate(trial)

    monkeypatch.setattr(Trial, "_recreate_indexes", remember)
    found = of(forecast(filled, scratch))
    assert {table.label for table in found.tables if table.sampled_rows == table.rows} >= {
        "testapp.Tag",
        "testapp.Ring",
    }
    assert before
    assert seen == [before, before]


@in_turn
def test_a_project_without_rows_has_a_forecast(pair: Pair, scratch: str) -> None:
    found = of(forecast(pair, scratch, labels=["testapp.Tag", "testapp.Article"]))
    assert found.tables == ()
    assert found.plan <= found.low <= found.high


@pytest.mark.parametrize("pair", [PAIRS[1], PAIRS[5]], ids=str, indirect=True)
def test_copies_in_several_processes(filled: Pair, scratch: str) -> None:
    with nothing_changes(filled.dest):
        found = of(forecast(filled, scratch, jobs=2))
    assert found.tables
    assert all(table.sampled_rows for table in found.tables)
    assert filled_tables(scratch) == set()


@pytest.mark.parametrize("pair", [PAIRS[3]], ids=str, indirect=True)
def test_migrates_the_scratch_and_not_the_destination(filled: Pair, scratch: str) -> None:
    for alias in (filled.dest, scratch):
        call_command("migrate", "testapp", "zero", database=alias, verbosity=0, interactive=False)
        connections[alias].close()
    with nothing_changes(filled.dest):
        found = of(forecast(filled, scratch, migrate=True))
    assert {"testapp.Tag", "testapp.UUIDKey"} <= {table.label for table in found.tables}
    assert f"The migrations of {filled.dest!r} are not part of it." in found.notes
    assert filled_tables(scratch) == set()
    assert "testapp_tag" in contents(scratch)


@pytest.mark.parametrize("pair", [PAIRS[3]], ids=str, indirect=True)
def test_a_large_table_that_has_no_index_of_its_key_is_not_sampled(filled: Pair, scratch: str) -> None:
    execute(filled.source, "ALTER TABLE testapp_uuidkey DROP CONSTRAINT testapp_uuidkey_pkey CASCADE")
    result = forecast(filled, scratch)
    (table,) = [table for table in of(result).tables if table.label == "testapp.UUIDKey"]
    assert (table.is_measured, table.sampled_rows) == (False, 0)
    assert table.seconds_rows > 0
    assert "No sample could be taken of testapp.UUIDKey" in to_text(result_report(result))


# -- what people and programs read ------------------------------------------------------------------------------------


@pytest.mark.parametrize("pair", [PAIRS[3]], ids=str, indirect=True)
def test_the_report_is_short_and_ends_with_the_command_of_the_move(filled: Pair, scratch: str, tmp_path: Path) -> None:
    words = ("--source", filled.source, "--dest", filled.dest, "--no-input", "--verify", "full", *LABELS)
    page = tmp_path / "forecast.html"
    done = run("batch_migrate", *words, "--forecast", "--scratch", scratch, "--report", page)
    assert done.code == 0, done.err
    shown = done.out[done.out.index("FORECAST") :]
    assert re.match(r"FORECAST  .+ to .+ for [\d,]+ rows of \d+ tables from 'postgresql_a' to 'sqlite_b'\.\n", shown)
    last = shown.strip().splitlines()[-1]
    assert last.endswith(f"batch_migrate {' '.join(words)}")
    assert shown.partition("  ")[2].partition(".\n")[0].partition(" for ")[0] in page.read_text()
    assert "comparison of values" in shown
    assert re.search(rf"Forecast: copy \d+ rows of 15 tables from {filled.source!r} to {scratch!r}", done.err)
    assert f"Nothing is written to {filled.dest!r}." in done.err
    text = to_text(result_report(forecast(filled, scratch)), 80)
    assert len(text.splitlines()) <= SHORT


@pytest.mark.parametrize("pair", [PAIRS[3]], ids=str, indirect=True)
def test_the_document_has_the_forecast(filled: Pair, scratch: str) -> None:
    insert_rows(Tag, filled.dest, [{"id": 1, "name": "mine"}])
    words = ("--source", filled.source, "--dest", filled.dest, "--no-input", *LABELS)
    with nothing_changes(filled.dest):
        done = run("batch_migrate", *words, "--forecast", "--scratch", scratch, "--format", "json")
    document = json.loads(done.out)["forecast"]
    assert document["scratch"] == scratch
    assert 0 < document["plan"] < document["low"] < document["high"]
    by_label = {table["label"]: table for table in document["tables"]}
    assert by_label["testapp.Tag"]["rows"] == ROWS
    assert document["notes"] == [f"The time to empty the tables of {filled.dest!r} is not part of it."]
