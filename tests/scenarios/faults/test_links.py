"""A link that is lost, at the worst byte: what was committed is counted once, what was not is copied once."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from django.db import connections
from django.test import override_settings

from migrator.databases.api import Console, RunResult
from migrator.errors import Interrupted, MigratorError
from tests.databases.copying.test_retry import At, Heard, end_session
from tests.management.running import run
from tests.scenarios.faults.oracle import (
    FROM_SERVERS,
    ROWS,
    TO_SERVERS,
    Oracle,
    assert_ended,
    assert_says_how_to_go_on,
    move,
    words,
)
from tests.scenarios.faults.proxy import Action, cut_after, cut_before, cut_within, fall_silent, through_proxy
from tests.servers.databases import PAIRS
from tests.testapp.models import Player, Tag

pytestmark = pytest.mark.driver

RECORDED = rb"UPDATE .migrator_chunk."
# Of a plain table, and of a circle of two tables, which is committed as a whole.
CHUNKS = {"a chunk": rb"(INSERT INTO|COPY) .testapp_tag.", "a circle": rb"(INSERT INTO|COPY) .testapp_player."}
ALL_ROWS = 10 * ROWS + ROWS // 2 + ROWS // 4
to_servers = pytest.mark.parametrize("pair", TO_SERVERS, ids=str, indirect=True)
from_servers = pytest.mark.parametrize("pair", FROM_SERVERS, ids=str, indirect=True)


def assert_copied_once(outcome: RunResult) -> None:
    assert outcome.exit_code == 0
    assert sum(tally.rows_written for tally in outcome.row_counts.values()) == ALL_ROWS


@pytest.mark.parametrize("action", [cut_before, cut_after], ids=["COMMIT never came", "its answer never came"])
@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.parametrize("pair", [PAIRS[4], PAIRS[8]], ids=str, indirect=True)
def test_a_link_cut_at_the_commit_counts_the_chunk_once(oracle: Oracle, chunk: str, action: Action) -> None:
    heard = Heard()
    with through_proxy(oracle.pair.dest, [CHUNKS[chunk], RECORDED, b"COMMIT"], action) as proxy:
        outcome = move(oracle.pair, console=Console(progress=heard))
        assert proxy.has_acted.is_set()
    assert_copied_once(outcome)
    assert len([text for text in heard.messages if "trying again" in text]) == 1
    oracle.assert_complete()


@pytest.mark.parametrize(
    ("pair", "chunk"),
    [
        *((pair, "a chunk") for pair in PAIRS if pair.engines[1] != "sqlite"),
        *((pair, "a circle") for pair in (PAIRS[5], PAIRS[7])),
    ],
    ids=str,
    indirect=["pair"],
)
def test_a_link_cut_in_the_middle_of_the_rows_is_made_again(oracle: Oracle, chunk: str) -> None:
    """The source has been asked for rows that nobody has taken yet, and has to be asked again."""
    with through_proxy(oracle.pair.dest, [CHUNKS[chunk]], cut_within) as proxy:
        outcome = move(oracle.pair, chunk_size=15)
        assert proxy.has_acted.is_set()
    assert_copied_once(outcome)
    oracle.assert_complete()


@to_servers
def test_a_session_of_the_destination_that_is_ended_is_made_again(oracle: Oracle) -> None:
    """By the administrator, and once more after that; seen as a command."""
    dest = oracle.pair.dest
    first, second = (At(number, "UPDATE migrator_chunk", lambda: end_session(dest)) for number in (5, 14))
    with connections[dest].execute_wrapper(first), connections[dest].execute_wrapper(second):
        finished = run(*words(oracle.pair))
    assert_ended(finished, 0, f"{dest!r}: ", "; trying again in 0.2 s")
    oracle.assert_complete()


@from_servers
def test_a_session_of_the_source_that_is_ended_stops_the_run_for_its_snapshot_is_gone(oracle: Oracle) -> None:
    source = oracle.pair.source
    with connections[oracle.pair.dest].execute_wrapper(At(5, "UPDATE migrator_chunk", lambda: end_session(source))):
        finished = run(*words(oracle.pair))
    assert_ended(finished, 1, f"{source!r}", "rows are committed in", "--resume", "--cleanup")
    oracle.assert_goes_on()


@from_servers
def test_a_session_of_the_source_that_is_ended_before_the_first_write_is_said_to_be_lost(oracle: Oracle) -> None:
    source = oracle.pair.source
    with connections[source].execute_wrapper(At(1, "COUNT(*) FROM (SELECT 1", lambda: end_session(source))):
        finished = run(*words(oracle.pair))
    lost = f"The connection to the source {source!r} is lost, and its snapshot with it: "
    assert_ended(finished, 1, lost, "Run the command again.")
    with through_proxy(source, [rb"COUNT\(\*\) FROM \(SELECT 1"], cut_before):
        finished = run(*words(oracle.pair))
    assert_ended(finished, 1, lost, "Run the command again.")
    assert "value" not in finished.err  # no row is the cause
    oracle.assert_untouched()
    assert_ended(run(*words(oracle.pair)), 0)
    oracle.assert_complete()


@pytest.mark.parametrize("moment", [CHUNKS["a chunk"], b"COMMIT"], ids=["rows", "COMMIT"])
@to_servers
def test_a_destination_that_falls_silent_is_missed_soon(oracle: Oracle, moment: bytes) -> None:
    """Packets are dropped. Its server does not notice, and holds the lost session's locks until that is ended."""
    heard, settings = Heard(), {"LINK_TIMEOUT": 2, "RETRY_FOR": 60}
    with (
        through_proxy(oracle.pair.dest, [CHUNKS["a chunk"], RECORDED, moment], fall_silent) as proxy,
        override_settings(MIGRATOR=settings),
    ):
        outcome = move(oracle.pair, console=Console(progress=heard))
        assert proxy.has_acted.is_set()
    assert_copied_once(outcome)
    assert [text for text in heard.messages if "trying again" in text]
    oracle.assert_complete()


@from_servers
def test_a_source_that_falls_silent_stops_the_run_soon(oracle: Oracle) -> None:
    read_rows = rb"(SELECT|FETCH|COPY \(SELECT).*testapp_constrained.*ORDER BY"
    with through_proxy(oracle.pair.source, [read_rows], fall_silent) as proxy:
        with override_settings(MIGRATOR={"LINK_TIMEOUT": 2}), pytest.raises(MigratorError) as caught:
            move(oracle.pair)
        assert proxy.has_acted.is_set()
        assert repr(oracle.pair.source) in str(caught.value)
        assert_says_how_to_go_on(str(caught.value))
        oracle.assert_goes_on()  # by the same address


@pytest.mark.parametrize("chunk", CHUNKS)
@to_servers
def test_a_rejected_row_is_listed_once_though_its_chunk_is_tried_twice(
    oracle: Oracle, chunk: str, tmp_path: Path
) -> None:
    path, long = tmp_path / "rejects.jsonl", "long " * 30
    for model in (Tag, Player):
        model._base_manager.using(oracle.pair.source).filter(pk__in=(2, 4)).update(name=long)
    with through_proxy(oracle.pair.dest, [CHUNKS[chunk], RECORDED, b"COMMIT"], cut_before) as proxy:
        finished = run(*words(oracle.pair, "--on-error", "skip", "--rejects", str(path)))
        assert proxy.has_acted.is_set()
    assert_ended(finished, 4, "trying again")
    listed = [(line["model"], line["pk"]) for line in map(json.loads, path.read_text().splitlines())]
    assert len(listed) == len(set(listed))
    assert {(model, str(key)) for model in ("testapp.Tag", "testapp.Player") for key in (2, 4)} <= set(listed)


@pytest.mark.parametrize("pair", [PAIRS[1]], ids=str, indirect=True)
def test_a_signal_is_heard_while_the_run_waits_for_a_server(oracle: Oracle) -> None:
    class Impatient(Heard):
        def message(self, text: str) -> None:
            super().message(text)
            if "trying again" in text:
                os.kill(os.getpid(), signal.SIGTERM)

    heard = Impatient()
    with through_proxy(oracle.pair.dest, [CHUNKS["a chunk"]], cut_before):
        with pytest.raises(Interrupted) as caught:
            move(oracle.pair, console=Console(progress=heard))
        assert caught.value.exit_code == 143
        assert_says_how_to_go_on(str(caught.value))
        assert len([text for text in heard.messages if "trying again" in text]) == 1
        oracle.assert_goes_on()  # by the same address
