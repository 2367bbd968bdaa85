"""What a forecast refuses before its first write, and what an interrupted one leaves."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections
from django.db.models import QuerySet
from django.test import override_settings

from migrator.databases.api import batch_migrate
from migrator.databases.endpoints import open_engine
from migrator.databases.forecasting import sample
from migrator.databases.forecasting.trial import Trial
from migrator.databases.journal.journal import Journal
from migrator.databases.journal.records import Run, RunState
from migrator.errors import MigratorError, Refused
from tests.databases.forecasting.scratches import third
from tests.databases.forecasting.test_forecast import LABELS, fill, filled_tables
from tests.databases.planning.test_deferred_objects import definitions
from tests.databases.snapshots import insert_rows
from tests.manage import start_manage
from tests.management.running import another_alias, at_terminal, entry_of, execute, nothing_changes, run
from tests.scenarios.faults.oracle import assert_ended, wait_until_unlocked
from tests.servers.databases import PAIRS, Pair
from tests.testapp.models import Tag, TextKey

if TYPE_CHECKING:
    from tests.servers.databases import FreshDatabases

TO_SQLITE, TO_POSTGRESQL, TO_MYSQL = PAIRS[3], PAIRS[1], PAIRS[5]
each_engine = pytest.mark.parametrize("pair", [TO_SQLITE, TO_POSTGRESQL, TO_MYSQL], ids=str, indirect=True)
to_sqlite = pytest.mark.parametrize("pair", [TO_SQLITE], ids=str, indirect=True)


@pytest.fixture
def scratch(pair: Pair, databases: FreshDatabases) -> str:
    """Give a scratch that the settings have, so that other processes find it."""
    alias = third(pair)
    assert alias is not None
    databases.fresh(alias)
    return alias


@pytest.fixture
def filled(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> Pair:
    """Fill a source; forecasts of this process copy pieces of its tables."""
    monkeypatch.setattr(sample, "WHOLE_ROWS", 10)
    monkeypatch.setattr(sample, "LEAST_ROWS", 600)
    fill(pair.source)
    return pair


def words(pair: Pair, scratch: str, *more: str) -> tuple[str, ...]:
    ends = ("--source", pair.source, "--dest", pair.dest)
    return ("batch_migrate", *ends, "--forecast", "--scratch", scratch, "--no-input", *more, *LABELS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--forecast"], "--forecast needs --scratch ALIAS"),
        (["--scratch", "sqlite_a"], "--scratch requires --forecast."),
        (["--forecast", "--scratch", "sqlite_a", "--dry-run"], "--forecast and --dry-run exclude each other"),
        (["--forecast", "--scratch", "sqlite_a", "--update"], "--forecast and --update exclude each other"),
        (["--forecast", "--scratch", "sqlite_a", "--follow"], "--forecast and --follow exclude each other"),
        (["--forecast", "--scratch", "sqlite_a", "--resume"], "--forecast and --resume exclude each other"),
        (["--forecast", "--scratch", "sqlite_a", "--cleanup"], "--forecast and --cleanup exclude each other"),
        (
            ["--forecast", "--scratch", "sqlite_a", "--on-error", "skip", "--rejects", "rows.jsonl"],
            "--forecast and --on-error skip exclude each other",
        ),
        (["--forecast", "--scratch", "sqlite_b"], "--scratch and --dest are both 'sqlite_b'. Nothing was written."),
        (["--forecast", "--scratch", "default"], "--scratch and --source are both 'default'. Nothing was written."),
        (["--forecast", "--scratch", "nowhere"], "There is no database 'nowhere'."),
    ],
)
def test_refuses_options_that_make_no_forecast(options: list[str], message: str, databases: FreshDatabases) -> None:
    databases.fresh("default", "sqlite_b")
    assert_ended(run("batch_migrate", "--source", "default", "--dest", "sqlite_b", "--no-input", *options), 2, message)


@to_sqlite
def test_refuses_a_scratch_that_is_protected_or_of_another_engine_or_holds_rows(
    filled: Pair, scratch: str, databases: FreshDatabases
) -> None:
    other = "postgresql_b"
    databases.fresh(other)
    with nothing_changes(filled.dest, filled.source, scratch):
        with override_settings(MIGRATOR={"PROTECTED": [scratch]}):
            assert_ended(run(*words(filled, scratch)), 1, f"{scratch!r} is in MIGRATOR['PROTECTED']")
        with override_settings(MIGRATOR={"PROTECTED": [filled.dest]}):
            assert_ended(run(*words(filled, scratch)), 1, f"{filled.dest!r} is in MIGRATOR['PROTECTED']")
        assert_ended(run(*words(filled, other)), 1, f"{other!r} is PostgreSQL, and {filled.dest!r} is SQLite.")
        with another_alias("same", **entry_of(filled.dest)) as same:
            assert_ended(run(*words(filled, same)), 1, "are the same database", "Nothing was written.")
    insert_rows(Tag, scratch, [{"id": 1, "name": "mine"}])
    with nothing_changes(filled.dest, filled.source, scratch):
        refused = run(*words(filled, scratch))
        assert_ended(refused, 1, "holds 1 row that no forecast has copied: testapp.Tag", "Nothing was written.")


@each_engine
def test_refuses_to_delete_rows_that_others_reference(pair: Pair, scratch: str) -> None:
    """Permissions, which `migrate` has made in the scratch, reference the content types there."""
    execute(pair.dest, "DELETE FROM auth_permission", "DELETE FROM django_content_type")
    ends = ("--source", pair.source, "--dest", pair.dest, "--forecast", "--scratch", scratch, "--no-input")
    with nothing_changes(pair.dest, scratch):
        refused = run("batch_migrate", *ends, "contenttypes")
        assert_ended(
            refused, 1, f"The tables of {scratch!r} would be emptied", "auth.Permission", "Nothing was written."
        )


@to_sqlite
def test_writes_nothing_without_a_yes(filled: Pair, scratch: str) -> None:
    asked = [word for word in words(filled, scratch) if word != "--no-input"]
    with nothing_changes(filled.dest, filled.source, scratch):
        declined = run(*asked)
        assert declined.code == 1
        assert "There is no terminal to ask on (Copy " in declined.err
        connections.close_all()
        answered = at_terminal(*asked, answers=[("[y/N]", "n\n")])
        assert answered.code == 1
        assert "Nothing was written." in answered.err


@pytest.mark.parametrize("pair", [TO_POSTGRESQL], ids=str, indirect=True)
def test_refuses_what_the_move_would_be_refused_for(filled: Pair, scratch: str) -> None:
    QuerySet(TextKey, using=filled.source).update(label="x" * 81)
    with nothing_changes(filled.dest, scratch):
        assert_ended(run(*words(filled, scratch)), 1, "1 problem stops this run", "testapp.TextKey")


# -- interrupted ------------------------------------------------------------------------------------------------------


@pytest.fixture
def interrupted(filled: Pair, scratch: str, monkeypatch: pytest.MonkeyPatch, few_rows_are_many: None) -> Any:
    """Give a scratch whose forecast has failed, with rows in it and without its indexes and keys."""
    before = definitions(scratch)

    def fail(trial: Trial) -> None:
        raise MigratorError("Something is wrong.")

    with monkeypatch.context() as patch:
        patch.setattr(Trial, "_recreate_indexes", fail)
        failed = run(*words(filled, scratch))
    assert_ended(failed, 1, "Something is wrong.", f"{scratch!r} holds a part of the sample", "--cleanup")
    assert {"testapp_tag", "testapp_uuidkey"} <= filled_tables(scratch)
    assert definitions(scratch) != before
    return before


@each_engine
def test_cleanup_deletes_the_sample_of_an_interrupted_forecast(pair: Pair, scratch: str, interrupted: Any) -> None:
    ends = ("batch_migrate", "--source", pair.source, "--dest", scratch, "--no-input", *LABELS)
    assert_ended(run(*ends), 1, f"{scratch!r} holds the sample of a forecast that has not ended", "Pass --cleanup")
    assert_ended(run(*ends, "--resume"), 1, f"{scratch!r} holds the sample of a forecast that has not ended")
    tried = run(*ends, "--cleanup", "--dry-run")
    assert f"--cleanup would delete the sample of a forecast from {scratch!r}." in tried.out
    assert "testapp_tag" in filled_tables(scratch)
    shown = run("migrator_status", "--dest", scratch)
    assert shown.code == 3
    assert "--cleanup" in shown.out
    cleaned = run(*ends, "--cleanup")
    assert_ended(cleaned, 0)
    assert "The sample of the forecast is deleted." in cleaned.out
    assert filled_tables(scratch) == set()
    assert definitions(scratch) == interrupted


@each_engine
def test_the_next_forecast_deletes_the_sample_of_an_interrupted_one(pair: Pair, scratch: str, interrupted: Any) -> None:
    with nothing_changes(pair.dest):
        done = run(*words(pair, scratch))
    assert_ended(done, 0)
    assert "FORECAST" in done.out
    assert "delete the sample of an interrupted forecast" in done.err
    assert filled_tables(scratch) == set()
    assert definitions(scratch) == interrupted


@to_sqlite
def test_a_forecast_leaves_the_unfinished_run_of_others_alone(filled: Pair, scratch: str) -> None:
    journal = Journal(scratch)
    journal.set_state(journal.begin({"tables": {}}, [], empties=False), RunState.COPYING)
    assert_ended(run(*words(filled, scratch)), 1, f"{scratch!r} holds an unfinished run")
    assert QuerySet(Run, using=scratch).get().state == RunState.COPYING


@to_sqlite
def test_a_sample_of_another_project_is_not_deleted(pair: Pair, scratch: str, interrupted: Any) -> None:
    with override_settings(SECRET_KEY="another project"):
        assert_ended(run(*words(pair, scratch)), 1, "is not signed with this project's SECRET_KEY")
        run("batch_migrate", "--source", pair.source, "--dest", scratch, "--no-input", "--cleanup")
    assert "testapp_tag" in filled_tables(scratch)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
@each_engine
def test_a_killed_forecast_is_followed_by_another_one(filled: Pair, scratch: str, number: signal.Signals) -> None:
    before = definitions(scratch)
    connections.close_all()
    with nothing_changes(filled.dest):
        with start_manage(*words(filled, scratch)) as process:
            assert process.stderr
            while "rows, " not in (line := process.stderr.readline()):
                assert line, "the command ended before it copied a row"
            process.send_signal(number)
            _, said = process.communicate(timeout=60)
        assert process.returncode in (-signal.SIGKILL, 130), said
        wait_until_unlocked(scratch)
        current = Journal(scratch).current()
        assert current is not None
        assert current.is_forecast
        if number is signal.SIGINT:
            assert f"{scratch!r} holds a part of the sample" in " ".join(said.split())
        assert_ended(run(*words(filled, scratch)), 0)
    assert filled_tables(scratch) == set()
    assert definitions(scratch) == before


@to_sqlite
def test_another_run_into_the_scratch_keeps_a_forecast_out(filled: Pair, scratch: str) -> None:
    held = open_engine(scratch)
    assert held.lock()
    try:
        with pytest.raises(Refused, match="Another run is writing to"):
            batch_migrate(source=filled.source, dest=filled.dest, forecast=True, scratch=scratch)
    finally:
        held.unlock()
        held.close()
