"""Limits of time that an administrator has set for every session are shorter than the move, and do not end it."""

from __future__ import annotations

import time

import pytest
from django.db import connections

from migrator.databases.api import Console
from tests.databases.copying.test_retry import At, Heard
from tests.scenarios.faults.oracle import Oracle, move
from tests.servers.databases import PAIRS

pytestmark = pytest.mark.driver

# What the settings of a role or a server would do, done at the login.
SHORT = {
    "postgresql": (
        "options",
        "-c idle_in_transaction_session_timeout=400 -c idle_session_timeout=400 -c statement_timeout=400",
    ),
    "mysql": (
        "init_command",
        "SET SESSION wait_timeout = 1, SESSION idle_transaction_timeout = 1, SESSION max_statement_time = 0.4,"
        " SESSION idle_write_transaction_timeout = 1, SESSION idle_readonly_transaction_timeout = 1",
    ),
}
LONGER_THAN_THEY_ARE = 1.3
SLOW_STATEMENT = {"postgresql": "SELECT pg_sleep(0.8)", "mysql": "SELECT SLEEP(0.8)"}


@pytest.mark.parametrize("words", ["UPDATE migrator_chunk", "UPDATE migrator_run"], ids=["in it", "between two"])
@pytest.mark.parametrize("pair", [PAIRS[5], PAIRS[7]], ids=str, indirect=True)
def test_sessions_that_wait_or_work_for_long_are_not_ended(
    oracle: Oracle, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both sides wait for a program that is busy, and then for a statement that takes long."""
    source, dest = (connections[alias] for alias in oracle.pair)

    def dawdle() -> None:
        time.sleep(LONGER_THAN_THEY_ARE)
        for connection in (source, dest):
            with connection.cursor() as cursor:
                cursor.execute(SLOW_STATEMENT[connection.vendor])
                cursor.fetchall()

    heard = Heard()
    with monkeypatch.context() as patch, dest.execute_wrapper(At(1, words, dawdle)):
        for connection in (source, dest):
            patch.setitem(connection.settings_dict["OPTIONS"], *SHORT[connection.vendor])
            connection.close()
        outcome = move(oracle.pair, console=Console(progress=heard))
    assert outcome.exit_code == 0
    assert not [text for text in heard.messages if "trying again" in text]
    oracle.assert_complete()
