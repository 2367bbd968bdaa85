"""A source that lives on while it is read: its rows change, its tables change, it is reached by a pooler."""

from __future__ import annotations

import random
import threading

import pytest
from django.db import OperationalError, connections
from django.db.models import QuerySet, Sum

from tests.databases.copying.test_retry import At, another_session, execute
from tests.management.running import run
from tests.scenarios.faults.oracle import ROWS, Oracle, assert_ended, move, words
from tests.servers.databases import PAIRS
from tests.testapp.models import Rating


@pytest.mark.parametrize("pair", [PAIRS[4], PAIRS[6], PAIRS[1]], ids=str, indirect=True)
def test_rows_that_change_meanwhile_are_all_of_one_moment(oracle: Oracle) -> None:
    """Stars go from rating to rating, so that their sum tells a mixture of moments."""
    source = oracle.pair.source
    if connections[source].vendor == "sqlite":
        execute(source, "PRAGMA journal_mode = WAL")
        connections[source].close()
    before, finished, started = total(source), threading.Event(), threading.Event()

    def transfer() -> None:
        chosen = random.Random(3)  # noqa: S311
        with another_session(source) as other:
            while not finished.is_set():
                other.set_autocommit(False)
                with other.cursor() as cursor:
                    for change in ("+ 1", "- 1"):
                        key = chosen.randint(1, ROWS)
                        cursor.execute(f"UPDATE testapp_rating SET stars = stars {change} WHERE id = {key}")
                other.commit()
                other.set_autocommit(True)
                started.set()

    thread = threading.Thread(target=transfer)
    thread.start()
    try:
        assert started.wait(20)
        outcome = move(oracle.pair, chunk_size=2)
    finally:
        finished.set()
        thread.join()
    assert outcome.exit_code == 0
    assert total(oracle.pair.dest) == total(source) == before
    oracle.assert_tidy()


def total(alias: str) -> int:
    found: int = QuerySet(Rating, using=alias).aggregate(sum=Sum("stars"))["sum"]
    return found


@pytest.mark.parametrize("pair", [PAIRS[6]], ids=str, indirect=True)
def test_a_table_that_is_changed_after_the_snapshot_was_taken_stops_the_run_before_its_first_write(
    oracle: Oracle,
) -> None:
    """Until it was read once, nothing keeps it from being changed, and the snapshot of it is worth nothing."""

    def change() -> None:
        with another_session(oracle.pair.source) as other, other.cursor() as cursor:
            cursor.execute("ALTER TABLE testapp_treenode ADD COLUMN extra integer, ALGORITHM = COPY")

    with connections[oracle.pair.source].execute_wrapper(At(1, "SELECT COUNT(*)", change)):
        finished = run(*words(oracle.pair))
    assert_ended(finished, 1, f"{oracle.pair.source!r}", "Table definition has changed")
    oracle.assert_untouched()
    assert run(*words(oracle.pair)).code == 0
    oracle.assert_complete()


@pytest.mark.parametrize("pair", [PAIRS[4]], ids=str, indirect=True)
def test_a_table_that_is_about_to_be_emptied_is_copied_whole(oracle: Oracle) -> None:
    """A snapshot of a moment before would see it empty, and call the copy of nothing complete."""
    source, waited = oracle.pair.source, []

    def empty() -> None:
        with another_session(source) as other, other.cursor() as cursor:
            cursor.execute("SET lock_timeout = '100ms'")
            with pytest.raises(OperationalError, match="lock timeout"):
                cursor.execute("TRUNCATE testapp_rating")
            waited.append(True)

    # The snapshot is taken, and no table was looked at.
    with connections[source].execute_wrapper(At(1, "pg_attribute", empty)):
        assert move(oracle.pair).exit_code == 0
    assert waited
    oracle.assert_complete()
