"""Another terminal sees how far a run is, while it works and after it was interrupted."""

from __future__ import annotations

import fcntl
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest
from django.db import connections

from migrator.console.progress import Progress, Task
from migrator.databases.api import Console, batch_migrate
from migrator.databases.engines.sqlite.engine import LOCK_ENDING
from migrator.databases.journal.journal import Journal
from migrator.databases.journal.status import Activity, RunStatus, StatusReader, migrator_status
from migrator.databases.reports.status import status_report
from migrator.databases.run_lock import locked
from tests.databases.snapshots import insert_rows
from tests.management.running import contents, facts, run
from tests.servers.databases import ENGINES, Pair
from tests.testapp.models import Rating, Tag

if TYPE_CHECKING:
    from tests.servers.databases import FreshDatabases

ROWS = 9
COMMAND = "migrator.management.commands.migrator_status"


class Stop(Exception):
    """Ends a run as a crash would: the journal learns nothing of it."""


class Watched(Progress):
    """Calls a function after each chunk."""

    def __init__(self, after_chunk: Callable[[], None]) -> None:
        self._after_chunk = after_chunk

    @contextmanager
    def task(self, label: str, total: int | None, *, done: int = 0, unit: str = "rows") -> Iterator[Task]:
        yield self

    def advance(self, count: int) -> None:
        self._after_chunk()


def elsewhere(action: Callable[[], Any]) -> Any:
    """Do something over connections of its own, as another process would."""
    found: list[Any] = []

    def act() -> None:
        found.append(action())
        connections.close_all()

    thread = threading.Thread(target=act)
    thread.start()
    thread.join(60)
    return found[0]


@pytest.fixture(params=ENGINES)
def pair(request: pytest.FixtureRequest, databases: FreshDatabases) -> Pair:
    pair = Pair("sqlite_a", f"{request.param}_b")
    databases.fresh(*pair)
    insert_rows(Tag, pair.source, [{"id": number, "name": f"tag {number}"} for number in range(1, ROWS + 1)])
    return pair


def move(pair: Pair, after_chunk: Callable[[], None]) -> None:
    batch_migrate(
        source=pair.source,
        dest=pair.dest,
        labels=["testapp.Tag", "testapp.Rating"],
        chunk_size=4,
        console=Console(progress=Watched(after_chunk)),
    )


@pytest.mark.usefixtures("few_rows_are_many")
def test_shows_a_run_that_works(pair: Pair) -> None:
    seen: list[RunStatus] = []
    move(pair, lambda: seen.append(elsewhere(lambda: migrator_status(dest=pair.dest))))
    assert {status.activity for status in seen} == {Activity.WORKING}
    copying = [status for status in seen if status.phase == "copying"]
    assert [status.rows_read for status in copying][-1] == ROWS
    assert [status.rows_read for status in copying] == sorted(status.rows_read for status in copying)
    assert {(status.rows_total, status.tables_total) for status in copying} == {(ROWS, 2)}
    assert all(status.rate for status in copying if status.rows_read)
    assert copying[-1].seconds_left == 0
    ended = run("migrator_status", "--dest", pair.dest)
    assert (ended.code, ended.err) == (0, "")
    nothing = f"There is no run: none is working in {pair.dest!r}, and none is unfinished there."
    assert ended.out.startswith(f"NO RUN  {nothing}\n")


@pytest.mark.usefixtures("few_rows_are_many")
def test_shows_an_interrupted_run_and_how_to_continue_it(pair: Pair) -> None:
    def stop() -> None:
        raise Stop

    with pytest.raises(Stop):
        move(pair, stop)
    before = contents(pair.dest)
    connections.close_all()
    shown = run("migrator_status", "--dest", pair.dest)
    assert shown.code == 3
    assert shown.err == ""
    assert shown.out.splitlines()[0].endswith(
        f"The run in {pair.dest!r} was interrupted. Repeat its command with --resume to complete it, or with --cleanup "
        "to abandon it: that recreates what it dropped, and keeps the copied rows."
    )
    assert len((shown.out + shown.err).splitlines()) <= 20
    assert re.fullmatch(r"[1-8] of 9 \(\d\d? %\)", facts(shown.out)["rows"]), shown.out
    assert "tables" in facts(shown.out)
    assert "(0 %)" not in shown.out, "only tables of which rows are copied"
    document = json.loads(run("migrator_status", "--dest", pair.dest, "--format", "json").out)
    assert (document["schema"], document["status"]) == ("migrator/status@1", "interrupted")
    assert document["phase"] == "copying"
    assert (document["rows_total"], document["tables_total"], document["exit_code"]) == (ROWS, 2, 3)
    assert 0 < document["rows_read"] < ROWS
    if pair.engines[1] != "sqlite":
        assert {item["table"] for item in document["dropped"]} == {Rating._meta.db_table}
        assert "dropped until the end of the run, then recreated" in facts(shown.out)["rebuild"]
    assert contents(pair.dest) == before, "it only reads"
    assert run("batch_migrate", "--source", pair.source, "--dest", pair.dest, "--cleanup", "--no-input").code == 0


def test_a_run_that_has_recorded_nothing_yet(pair: Pair) -> None:
    with StatusReader(pair.dest) as reader, locked(reader.engine, Journal(pair.dest)):
        status = elsewhere(lambda: migrator_status(dest=pair.dest))
    report = status_report(status)
    assert len(report.facts) == 1
    assert report.verdict.sentence.startswith(
        f"A run is working in {pair.dest!r}, and has not recorded anything there: it checks, "
    )
    assert elsewhere(lambda: migrator_status(dest=pair.dest)).activity is Activity.NONE


def test_a_finished_run_that_kept_its_journal(databases: FreshDatabases) -> None:
    databases.fresh("sqlite_a", "sqlite_b")
    insert_rows(Tag, "sqlite_a", [{"id": 1, "name": "one"}])
    words = ["testapp.Tag", "--source", "sqlite_a", "--dest", "sqlite_b", "--no-input", "--keep-journal"]
    assert run("batch_migrate", *words).code == 0
    shown = run("migrator_status", "--dest", "sqlite_b", "--watch")
    assert (shown.code, shown.err) == (0, "")
    assert facts(shown.out)["rows"] == "1 of 1 (100 %)"
    assert shown.out.startswith("FINISHED  ")


@pytest.fixture
def held(databases: FreshDatabases) -> Iterator[IO[bytes]]:
    """Hold the lock of a run, until the file is closed."""
    databases.fresh("sqlite_b")
    path = Path(f"{connections['sqlite_b'].settings_dict['NAME']}{LOCK_ENDING}")
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file
    path.unlink()


def test_watching_ends_with_the_run(held: IO[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{COMMAND}.time.sleep", lambda seconds: held.close())
    shown = run("migrator_status", "--dest", "sqlite_b", "--watch")
    assert shown.code == 0
    assert shown.err.startswith("A run is working in 'sqlite_b', ")
    assert "There is no run: " in shown.out


def test_ctrl_c_ends_the_watch_and_not_the_run(held: IO[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    def press(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"{COMMAND}.time.sleep", press)
    shown = run("migrator_status", "--dest", "sqlite_b", "--watch")
    assert shown.code == 130
    assert shown.err.endswith("CommandError: Stopped watching. The run in 'sqlite_b' goes on.\n")


def test_a_watched_run_that_is_gone_has_ended(databases: FreshDatabases) -> None:
    databases.fresh("sqlite_b")
    report = status_report(migrator_status(dest="sqlite_b"), was_working=True)
    assert report.verdict
    assert report.verdict.sentence == (
        "The run in 'sqlite_b' has ended, and its record is gone: it finished, or was abandoned."
    )


def test_an_unknown_database_is_refused() -> None:
    assert run("migrator_status", "--dest", "nowhere").code == 2
