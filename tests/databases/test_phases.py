"""Where the time of a run went: its phases add up to the whole, without the wait for an answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from migrator.console.prompts import Prompter
from migrator.databases import phases
from migrator.databases.api import RunResult, batch_migrate
from migrator.databases.phases import Phase, Stopwatch
from migrator.databases.reports.run import result_report
from migrator.databases.run_options import Console
from tests.databases.snapshots import insert_rows
from tests.servers.databases import Pair
from tests.testapp.models import Tag

if TYPE_CHECKING:
    from tests.servers.databases import FreshDatabases

SQLITE = Pair("sqlite_a", "sqlite_b")
WAIT = 0.05


class Slow(Prompter):
    """Answers after a while, and knows how long that was."""

    seconds = 0.0

    def proceed(self, question: str) -> bool:
        started = time.perf_counter()
        time.sleep(WAIT)
        self.seconds = time.perf_counter() - started
        return True


@pytest.fixture
def prompter(databases: FreshDatabases) -> Slow:
    """Give someone who thinks about a copy of one row."""
    databases.fresh(*SQLITE)
    insert_rows(Tag, SQLITE.source, [{"id": 1, "name": "one"}])
    return Slow()


def move(prompter: Slow, **options: bool) -> tuple[RunResult, float]:
    """Return the result of a run, and how long the caller waited for it without the answer."""
    started = time.perf_counter()
    result = batch_migrate(
        source=SQLITE.source,
        dest=SQLITE.dest,
        labels=["testapp.Tag"],
        console=Console(prompter=prompter),
        **options,  # type: ignore[arg-type]
    )
    return result, time.perf_counter() - started - prompter.seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(phases.time, "perf_counter", lambda: now[0])
    return now


def test_adds_up_phases_that_come_again(clock: list[float]) -> None:
    stopwatch = Stopwatch()
    for clock[0], phase in ((103.0, Phase.MIGRATIONS), (105.0, Phase.CHECKS), (106.0, Phase.WAITING)):
        stopwatch.begin(phase)
    clock[0] = 166.0
    stopwatch.begin(Phase.COPYING)
    clock[0] = 168.5
    assert stopwatch.timings() == (("checks", 4.0), ("migrations", 2.0), ("copying", 2.5))
    assert stopwatch.seconds(Phase.WAITING) == 60.0


def test_the_phases_of_a_run_add_up_to_its_time(prompter: Slow) -> None:
    result, waited = move(prompter)
    assert [phase for phase, _ in result.timings] == [
        "checks", "preparation", "copying", "indexes and keys", "sequences", "verification"
    ]  # fmt: skip
    assert waited / 2 < result.seconds <= waited
    assert prompter.seconds <= result.seconds_waiting
    assert 0 < result.seconds_finishing == result.seconds_of(Phase.INDEXES, Phase.SEQUENCES) < result.seconds


@pytest.mark.parametrize(("dry_run", "more"), [(True, []), (False, ["writing", "sequences", "verification"])])
def test_an_update_tells_comparing_from_writing(prompter: Slow, dry_run: bool, more: list[str]) -> None:
    result, waited = move(prompter, update=True, dry_run=dry_run)
    assert [phase for phase, _ in result.timings] == ["checks", "comparing", *more]
    assert result.seconds_comparing == dict(result.timings)["comparing"] > 0
    assert result_report(result).document["seconds_comparing"] == round(result.seconds_comparing, 3)
    assert waited / 2 < result.seconds <= waited
