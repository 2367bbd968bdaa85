"""Nothing is lost while writers do their worst: ten short runs, or a hundred of twenty seconds in `make faults`."""

from __future__ import annotations

import threading

import pytest

from migrator.console.progress import Progress
from migrator.databases.api import Console, batch_migrate
from tests.scenarios.faults.amounts import IS_WHOLE
from tests.scenarios.following.writers import assert_equal, fill, writing
from tests.servers.databases import PAIRS, FreshDatabases, Pair

FOLLOWED = [pair for pair in PAIRS if pair.engines[0] != "sqlite"]
RUNS, TRANSACTIONS = (100, 500) if IS_WHOLE else (10, 80)


class Following(Progress):
    """Sets an event when the copy is complete, and changes are followed."""

    def __init__(self, event: threading.Event) -> None:
        self._event = event

    def message(self, text: str) -> None:
        if text.startswith("Comparing all rows"):
            self._event.set()


@pytest.mark.parametrize(
    ("pair", "seed"),
    [pytest.param(pair := FOLLOWED[run % len(FOLLOWED)], run, id=f"{pair}-{run}") for run in range(RUNS)],
    indirect=["pair"],
)
def test_all_changes_arrive(pair: Pair, seed: int, databases: FreshDatabases) -> None:
    fill(pair.source)
    with writing(pair.source, seed=seed, transactions=TRANSACTIONS) as counts:
        console = Console(progress=Following(counts))
        result = batch_migrate(source=pair.source, dest=pair.dest, follow=True, until_quiet=4, console=console)
    followed = result.followed
    assert followed is not None
    assert followed.late == {}, "the writers had paused for longer than --until-quiet"
    assert result.exit_code == 0
    assert followed.rounds > 2
    assert followed.lost_feeds == []
    assert followed.proven_at is not None
    assert followed.rows > 50
    assert_equal(pair.source, pair.dest)
