"""Another terminal sees how far a run is, while it works and after it was interrupted."""

from __future__ import annotations

import fcntl
import io
import json
import os
import re
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest
from django.db import connections
from django.db.models.query import QuerySet

from migrator.console.progress import Progress, Task
from migrator.console.reports import Fact, Mood, Report, Verdict
from migrator.databases.api import Console, batch_migrate
from migrator.databases.engines.sqlite.engine import LOCK_ENDING
from migrator.databases.journal.format import stamped
from migrator.databases.journal.journal import Journal
from migrator.databases.journal.records import Run
from migrator.databases.journal.status import Activity, RunStatus, StatusReader, migrator_status
from migrator.databases.reports.status import ENDED, status_report
from migrator.databases.run_lock import locked
from migrator.databases.verification.counts import TableCount, Verification
from migrator.management.commands.migrator_status import Command
from tests.databases.snapshots import insert_rows
from tests.management.running import contents, facts, run
from tests.servers.databases import ENGINES, Pair
from tests.testapp.models import Rating, Tag

if TYPE_CHECKING:
    from tests.servers.databases import FreshDatabases

ROWS = 9
COMMAND = "migrator.management.commands.migrator_status"


class Terminal(io.StringIO):
    """A terminal of this size."""

    def __init__(self, columns: int, lines: int) -> None:
        super().__init__()
        self._descriptor, self._other = os.openpty()
        termios.tcsetwinsize(self._descriptor, (lines, columns))

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def close(self) -> None:
        super().close()
        os.close(self._descriptor)
        os.close(self._other)


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
    assert document["outcome"] is None
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
    assert [fact.label for fact in report.facts] == ["to", "switch"]
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
    right = "all rows are copied, and row counts, sequences and foreign keys are right"
    assert shown.out.startswith(f"FINISHED  The run has finished: {right}.\n")
    assert facts(shown.out)["switch"].startswith("yes, unless rows of the source were written since the run began")


def test_a_finished_run_that_is_not_a_copy_says_so(databases: FreshDatabases, monkeypatch: pytest.MonkeyPatch) -> None:
    databases.fresh("sqlite_a", "sqlite_b")
    insert_rows(Tag, "sqlite_a", [{"id": 1, "name": "one"}])
    lost = TableCount(Tag._meta.label, Tag._meta.db_table, 1, 0)
    monkeypatch.setattr("migrator.databases.run.verify_run", lambda *args: Verification((lost,), (), ()))
    words = ["testapp.Tag", "--source", "sqlite_a", "--dest", "sqlite_b", "--no-input", "--keep-journal"]
    assert run("batch_migrate", *words).code == 3
    shown = run("migrator_status", "--dest", "sqlite_b")
    assert shown.code == 3
    assert shown.out.startswith("NOT A COPY  The run has finished, and its verification found differences.\n")
    assert facts(shown.out)["switch"] == "no: it is not a copy of the source"
    document = json.loads(run("migrator_status", "--dest", "sqlite_b", "--format", "json").out)
    assert document["outcome"] == {"exit_code": 3, "verify": "count"}


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("kept", "The record of the finished run in 'sqlite_b' cannot be read. Nothing depends on it"),
        (
            "copying",
            "The journal of the unfinished run in 'sqlite_b' is damaged: the record of the run cannot be read.",
        ),
    ],
)
@pytest.mark.parametrize("identity", ["x", "{}", "[]", '{"source": "a", "tables": 3}'])
def test_a_record_that_cannot_be_read_is_an_error_with_a_way_on(
    databases: FreshDatabases, state: str, message: str, identity: str
) -> None:
    databases.fresh("sqlite_b")
    journal = Journal("sqlite_b")
    journal.begin({"source": "a", "tables": {}}, (), empties=False)
    QuerySet(Run, using="sqlite_b").update(state=state, identity=identity)
    shown = run("migrator_status", "--dest", "sqlite_b")
    assert shown.code == 1
    assert shown.err.startswith(f"CommandError: {message}")
    assert "migrator_run and migrator_chunk" in shown.err


def test_an_interrupted_run_shows_the_command_that_continues_it(databases: FreshDatabases) -> None:
    databases.fresh("sqlite_b")
    journal = Journal("sqlite_b")
    hint = "Resume:\n    python manage.py batch_migrate \x1b[2J --resume"
    identity = {"source": "a", "tables": {}}
    journal.begin(identity, (), empties=False, hint=hint)
    shown = run("migrator_status", "--dest", "sqlite_b")
    assert shown.out.endswith(
        "Next: Resume:\n      python manage.py batch_migrate \\x1b[2J --resume\n",
    )
    assert facts(shown.out)["switch"].startswith("no: ")
    QuerySet(Run, using="sqlite_b").update(identity=json.dumps(stamped(identity, {}, "Run another program.")))
    assert "Next: " not in run("migrator_status", "--dest", "sqlite_b").out, "another project has written it"


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
    assert re.match(r"\d{4}-\d\d-\d\dT[\d:+]+ A run is working in 'sqlite_b', ", shown.err)
    assert shown.out.startswith("ENDED  The run in 'sqlite_b' has ended and left no record: ")
    assert facts(shown.out)["switch"] == ENDED


def test_a_watch_without_output_writes_nothing(held: IO[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{COMMAND}.time.sleep", lambda seconds: held.close())
    shown = run("migrator_status", "--dest", "sqlite_b", "--watch", "-v", "0")
    assert (shown.code, shown.out, shown.err) == (0, "", "")


@pytest.mark.parametrize("lines", [5, 24])
def test_what_is_drawn_fits_into_the_terminal(monkeypatch: pytest.MonkeyPatch, lines: int) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.delenv("LINES", raising=False)
    terminal = Terminal(40, lines)
    command = Command(stdout=terminal, no_color=True)
    report = Report("A run", Verdict(Mood.GOOD, "WORKING", "word " * 60), tuple(Fact("a", "word " * 40) for _ in "abc"))
    drawn = command.fitting(report)
    assert drawn.startswith("WORKING  ")
    assert drawn.count("\n") == lines - 1, "the line of the cursor is left"
    assert max(map(len, drawn.split("\n"))) <= 40


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
    assert report.verdict.sentence == (
        "The run in 'sqlite_b' has ended and left no record: it finished, was refused or was abandoned."
    )


def test_an_unknown_database_is_refused() -> None:
    assert run("migrator_status", "--dest", "nowhere").code == 2
