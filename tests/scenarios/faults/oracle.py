"""The one judge of all faults: whatever happened, in the end the destination is as after a run without any.

Nothing lost, nothing doubled, counters right, indexes and foreign keys back, no lock and no table of ours left.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from django.db import connections, transaction

from migrator.databases.api import RunResult, batch_migrate
from migrator.databases.comparison import verify_counts
from migrator.databases.engines.registry import engine_for
from tests.databases.planning.test_deferred_objects import definitions
from tests.databases.snapshots import differences, insert_rows, snapshot, unchecked
from tests.manage import Finished
from tests.servers.base import PASSWORD
from tests.servers.databases import PAIRS, Pair
from tests.testapp.models import (
    Article,
    Constrained,
    Pizzeria,
    Place,
    Player,
    Rating,
    Restaurant,
    Tag,
    Team,
    TreeNode,
)

# Each engine once as source and once as destination.
THREE_PAIRS = [PAIRS[1], PAIRS[5], PAIRS[6]]
TO_SERVERS = [PAIRS[1], PAIRS[2]]
FROM_SERVERS = [PAIRS[3], PAIRS[6]]
# Plain tables, many-to-many tables, a table that points at itself, a circle of two, inheritance, unique columns.
MODELS = (
    Tag, Article, Article.tags.through, Article.cites.through, Rating, TreeNode, Team, Player, Constrained,
    Place, Restaurant, Pizzeria,
)  # fmt: skip
LABELS = tuple(
    f"testapp.{name}" for name in ("Tag", "Article", "Rating", "TreeNode", "Team", "Player", "Constrained", "Pizzeria")
)
ROWS = 20
JOURNAL = {"migrator_run", "migrator_chunk"}
SECONDS_TO_NOTICE = 20  # that a process was killed: a server's own affair, on a slow machine


def fill(alias: str, rows: int = ROWS) -> None:
    """Put rows into every table of :data:`LABELS`, with gaps in the keys and parents that come after their children."""
    numbers = range(1, rows + 1)
    insert_rows(Tag, alias, [{"id": 2 * n, "name": f"tag {n}"} for n in numbers])
    insert_rows(Article, alias, [{"id": n, "name": f"article {n}"} for n in numbers])
    insert_rows(Article.tags.through, alias, [{"article_id": n, "tag_id": 2 * n} for n in numbers])
    insert_rows(Article.cites.through, alias, [{"from_article_id": n, "to_article_id": rows + 1 - n} for n in numbers])
    insert_rows(Rating, alias, [{"id": n, "article_id": n, "tag_id": 2 * n, "stars": n % 6} for n in numbers])
    insert_rows(TreeNode, alias, [{"id": n, "name": f"node {n}", "parent_id": rows + 1 - n} for n in numbers])
    with unchecked(connections[alias]):  # each points at the other
        insert_rows(Team, alias, [{"id": n, "name": f"team {n}", "captain_id": n} for n in numbers])
        insert_rows(Player, alias, [{"id": n, "name": f"player {n}", "team_id": rows + 1 - n} for n in numbers])
    insert_rows(
        Constrained, alias,
        [{"id": -n, "code": f"c{n}", "serial": n, "low": -n, "high": n, "mail": f"{n}@example.org"} for n in numbers],
    )  # fmt: skip
    insert_rows(Place, alias, [{"id": n, "name": f"place {n}"} for n in numbers])
    insert_rows(Restaurant, alias, [{"place_ptr_id": n, "seats": n} for n in numbers if n % 2])
    insert_rows(Pizzeria, alias, [{"restaurant_ptr_id": n} for n in numbers if n % 4 == 1])


def move(pair: Pair, **options: Any) -> RunResult:
    """Move all of it in small chunks, in this process."""
    arguments = {"labels": LABELS, "chunk_size": 6} | options
    return batch_migrate(source=pair.source, dest=pair.dest, **arguments)


def words(pair: Pair, *more: str) -> tuple[str, ...]:
    """Give the command that does the same, without the program before it."""
    ends = ("--source", pair.source, "--dest", pair.dest)
    return ("batch_migrate", *ends, "--no-input", "--chunk-size", "6", *more, *LABELS)


class Oracle:
    """Judges one destination; made while it is still as before the run."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self._definitions = definitions(pair.dest)

    def assert_complete(self) -> None:
        """Assert that the destination is as after a run in which nothing went wrong."""
        self.assert_tidy()
        assert differences(snapshot(self.pair.source, MODELS), snapshot(self.pair.dest, MODELS)) == []
        source, dest = self.pair
        compared = verify_counts(source=source, dest=dest, labels=LABELS, mode="full")
        assert compared.exit_code == 0, compared.verification
        assert_next_keys_are_free(dest)

    def assert_tidy(self) -> None:
        """Assert that nothing of ours is left, and all that was dropped is recreated."""
        assert journal_tables(self.pair.dest) == set()
        assert definitions(self.pair.dest) == self._definitions
        assert_unlocked(self.pair.dest)

    def assert_untouched(self) -> None:
        """Assert that nothing was written."""
        self.assert_tidy()
        assert {model: count for model in MODELS if (count := count_rows(model, self.pair.dest))} == {}

    def assert_goes_on(self, **options: Any) -> None:
        """Resume the run, and assert that it is complete then."""
        wait_until_unlocked(self.pair.dest)
        assert move(self.pair, resume=True, **options).exit_code == 0
        self.assert_complete()


def count_rows(model: Any, alias: str) -> int:
    """Count a model's rows, whatever its managers hide."""
    return int(model._base_manager.using(alias).count())


def journal_tables(alias: str) -> set[str]:
    """Name the tables of the journal that are there."""
    return JOURNAL & set(connections[alias].introspection.table_names())


def try_lock(alias: str) -> bool:
    """Take the lock of a run in a session of our own, and give it back."""
    connection = connections[alias].copy()
    engine = engine_for(connection)
    try:
        connection.ensure_connection()
        if not engine.lock():
            return False
        engine.unlock()
        return True
    finally:
        connection.close()


def assert_unlocked(alias: str) -> None:
    """Assert that the next run could begin at once, and that no file of a lock is left."""
    assert try_lock(alias), "the run's lock is still held"
    name = str(connections[alias].settings_dict["NAME"])
    assert not Path(f"{name}.migrator-lock").exists()


def wait_until_unlocked(alias: str) -> None:
    """Wait until the server has noticed that a killed process is gone."""
    deadline = time.monotonic() + SECONDS_TO_NOTICE
    while not try_lock(alias):
        assert time.monotonic() < deadline, "the killed run's lock was never given back"
        time.sleep(0.02)


def assert_next_keys_are_free(alias: str) -> None:
    """Insert a row into every counted table as the application would, and take it back."""
    with suppress(_TakeBack), transaction.atomic(using=alias):
        for model in (Tag, Article, TreeNode, Team, Place):
            largest = max(model._base_manager.using(alias).values_list("pk", flat=True), default=0)
            new = model(name="new")
            new.save(using=alias, force_insert=True)
            assert new.pk > largest, model
        raise _TakeBack


class _TakeBack(Exception):
    """Ends a transaction whose rows nobody wants."""


def assert_says_how_to_go_on(text: str) -> None:
    """Assert that a message of a run that stopped names both ways on."""
    assert "resume" in text, text
    assert "cleanup" in text, text


def assert_ended(finished: Finished, code: int, *parts: str) -> None:
    """Assert how a command ended: its code, what it said, and that it said it plainly and without secrets."""
    assert finished.code == code, finished.err
    assert "Traceback" not in finished.out + finished.err
    assert PASSWORD not in finished.out + finished.err
    # A command that has done its work says its verdict in its report.
    said = finished.err + (finished.out if code in (3, 4, 5) else "")
    for part in parts:
        assert part in said, said
