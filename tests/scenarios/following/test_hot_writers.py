"""Nothing is lost while writers do their worst: ten short runs, or a hundred of twenty seconds in `make faults`."""

from __future__ import annotations

import pytest

from migrator.databases.api import batch_migrate
from tests.scenarios.faults.amounts import IS_WHOLE
from tests.scenarios.following.writers import assert_equal, fill, writing
from tests.servers.databases import PAIRS, FreshDatabases, Pair

FOLLOWED = [pair for pair in PAIRS if pair.engines[0] != "sqlite"]
RUNS, TRANSACTIONS = (100, 500) if IS_WHOLE else (10, 80)


@pytest.mark.parametrize(
    ("pair", "seed"),
    [pytest.param(pair := FOLLOWED[run % len(FOLLOWED)], run, id=f"{pair}-{run}") for run in range(RUNS)],
    indirect=["pair"],
)
def test_all_changes_arrive(pair: Pair, seed: int, databases: FreshDatabases) -> None:
    fill(pair.source)
    with writing(pair.source, seed=seed, transactions=TRANSACTIONS):
        result = batch_migrate(source=pair.source, dest=pair.dest, follow=True, until_quiet=4)
    followed = result.followed
    assert followed is not None
    assert followed.late == {}, "the writers had paused for longer than --until-quiet"
    assert result.exit_code == 0
    assert followed.rounds > 2
    assert followed.lost_feeds == []
    assert followed.proven_at is not None
    assert followed.rows > 50
    assert_equal(pair.source, pair.dest)
