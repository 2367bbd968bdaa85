"""A pooler that shares sessions between transactions is reported before it can harm a run, or the run others."""

from __future__ import annotations

import pytest
from django.db import connections

from tests.databases.copying.test_retry import another_session
from tests.management.running import run
from tests.scenarios.faults.oracle import Oracle, assert_ended, words
from tests.scenarios.faults.pooler import through_pooler
from tests.servers.databases import PAIRS

pytestmark = pytest.mark.driver

ENDS = [(PAIRS[3], 0), (PAIRS[1], 1), (PAIRS[4], 0), (PAIRS[4], 1)]
each_end = pytest.mark.parametrize(("pair", "end"), ENDS, ids=str, indirect=["pair"])


@each_end
def test_refuses_a_pooler_that_shares_sessions(oracle: Oracle, end: int) -> None:
    alias = oracle.pair[end]
    with through_pooler(alias, by_transaction=True), another_session(alias) as application:
        with application.cursor() as cursor:
            cursor.execute("SELECT current_setting('DateStyle')")
            (usual,) = cursor.fetchone()
        finished = run(*words(oracle.pair))
        assert_ended(finished, 1, f"{alias!r} is reached through a pooler that gives every transaction another session")
        with application.cursor() as cursor:  # in whichever session
            cursor.execute("SELECT current_setting('default_transaction_read_only'), current_setting('DateStyle')")
            assert cursor.fetchone() == ("off", usual)
    oracle.assert_untouched()


@pytest.mark.parametrize("pair", [PAIRS[1]], ids=str, indirect=True)
def test_takes_a_session_that_a_pooler_keeps_for_it(oracle: Oracle) -> None:
    with through_pooler(oracle.pair.dest, by_transaction=False):
        connections[oracle.pair.dest].close()
        finished = run(*words(oracle.pair, "--dry-run"))
    assert_ended(finished, 0)
