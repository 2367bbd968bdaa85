"""A run that dies right before or after any step of its own goes on, and ends as a run that nothing befell."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connections

from migrator.databases import run as conductor
from migrator.databases.engines.registry import engine_for
from migrator.databases.journal.journal import Journal
from migrator.databases.journal.records import Run
from tests.databases.snapshots import recorded_chunks
from tests.scenarios.faults.amounts import IS_WHOLE
from tests.scenarios.faults.oracle import (
    MODELS,
    THREE_PAIRS,
    Oracle,
    count_rows,
    journal_tables,
    move,
    wait_until_unlocked,
)
from tests.scenarios.test_resume import Trap, in_a_process_of_its_own
from tests.servers.databases import Pair

# What of the destination's catalogue a run calls, and what of its journal; and which of the calls is the fatal one.
CATALOGUE = {
    "objects are dropped": ("drop", 1),
    "objects are recreated": ("recreate", 2),
    "statistics are refreshed": ("refresh_statistics", 1),
}
JOURNAL = {
    "the run is recorded": ("begin", 1),
    "the run is copying": ("set_state", 1),
    "tables of one chunk are recorded": ("add_whole", 1),
    "a table's chunks are recorded": ("add_chunks", 4),
    "a chunk is recorded as done": ("save", 9),
    "small tables are recorded as done": ("save_tables", 1),
    "the run is finishing": ("set_state", 2),
    "the run is recorded as finished": ("end", 1),
    "the journal is dropped": ("drop", 1),
}
CONDUCTOR = {"tables are emptied": ("empty", 1), "counters are set": ("reset_sequences", 1)}
MOMENTS = {**CATALOGUE, **JOURNAL, **CONDUCTOR}


def fatal(function: Callable[..., Any], at: int, when: str) -> Callable[..., Any]:
    """Make a function at whose nth call this process dies, before it begins or when it is through."""
    calls = 0

    def trapped(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == at and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*args, **options)
        if calls == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return trapped


def die_at(alias: str, moment: str, when: str) -> None:
    """Lay a trap, in a process that will not outlive it."""
    name, at = MOMENTS[moment]
    engine = type(engine_for(connections[alias]))
    owner: Any = Journal if moment in JOURNAL else engine.catalogue_class
    if moment in CONDUCTOR:
        owner = engine if name == "empty" else conductor
    setattr(owner, name, fatal(getattr(owner, name), at, when))


WHEN = ("before", "after")
CASES = [
    (pair, moment, when)
    for number, moment in enumerate(MOMENTS)
    for part, when in enumerate(WHEN)
    for place, pair in enumerate(THREE_PAIRS)
    if IS_WHOLE or (number + part) % len(THREE_PAIRS) == place
]


@pytest.mark.parametrize(("pair", "moment", "when"), CASES, ids=str, indirect=["pair"])
def test_a_run_that_died_goes_on(pair: Pair, oracle: Oracle, moment: str, when: str) -> None:
    options: dict[str, Any] = {"chunk_size": None} if moment == "small tables are recorded as done" else {}
    if moment == "tables are emptied":
        move(pair)
        options |= {"replace": pair.dest}

    def run() -> None:
        die_at(pair.dest, moment, when)
        move(pair, **options)

    assert in_a_process_of_its_own(run) == -signal.SIGKILL
    wait_until_unlocked(pair.dest)
    if is_through(pair.dest):
        assert move(pair, resume=True).remark is not None
        oracle.assert_complete()
    elif journal_tables(pair.dest):
        oracle.assert_goes_on()
    else:
        assert (moment, when) == ("the run is recorded", "before")
        oracle.assert_untouched()
        assert move(pair).exit_code == 0
        oracle.assert_complete()


def is_through(alias: str) -> bool:
    """Tell whether the run had come to its end, but for its journal."""
    return Journal(alias).current() is None and count_rows(MODELS[0], alias) > 0


@pytest.mark.parametrize("pair", THREE_PAIRS[:1], ids=str, indirect=True)
def test_the_traps_are_where_they_say(pair: Pair, oracle: Oracle) -> None:
    """Or those above would prove nothing: it dies with a chunk sent, and neither rows nor record there."""
    died = in_a_process_of_its_own(lambda: (die_at(pair.dest, "a chunk is recorded as done", "after"), move(pair)))
    assert died == -signal.SIGKILL
    wait_until_unlocked(pair.dest)
    journal = Journal(pair.dest)
    run = journal.current()
    assert isinstance(run, Run)
    done = [chunk for model in MODELS for chunk in recorded_chunks(pair.dest, model._meta.db_table) if chunk.is_done]
    assert len(done) == 8
    assert sum(count_rows(model, pair.dest) for model in MODELS) == sum(chunk.rows_written for chunk in done)
    oracle.assert_goes_on()


@pytest.mark.parametrize("table", ["chunk", "run"])
@pytest.mark.parametrize("pair", THREE_PAIRS, ids=str, indirect=True)
def test_a_journal_without_a_run_does_not_stay(pair: Pair, oracle: Oracle, table: str) -> None:
    """Where tables are made outside of transactions, a run may die before it is recorded."""

    def run() -> None:
        with connections[pair.dest].execute_wrapper(Trap(1, f"CREATE TABLE .migrator_{table}", is_after=True)):
            move(pair)

    assert in_a_process_of_its_own(run) == -signal.SIGKILL
    wait_until_unlocked(pair.dest)
    nothing = move(pair, resume=True)
    assert nothing.exit_code == 3
    assert "nothing to resume" in str(nothing.remark)
    oracle.assert_untouched()
    assert move(pair).exit_code == 0
    oracle.assert_complete()
