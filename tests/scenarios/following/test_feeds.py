"""Whatever a feed reports twice, too early or in another order: the destination equals the source after each round."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from migrator.databases.engines.base.change_feed import Change, ChangeFeed, FeedLost, Moment
from migrator.databases.engines.sqlite.engine import SQLite as Engine
from tests.scenarios.following.scripted import execute, follow, followed_of, read
from tests.scenarios.following.writers import held
from tests.servers.databases import FreshDatabases, Pair
from tests.testapp.models import AutoKey, TreeNode, UniqueCode

A, B = "sqlite_a", "sqlite_b"
MODELS = (AutoKey, TreeNode, UniqueCode)
LABELS = ["testapp.AutoKey", "testapp.TreeNode", "testapp.UniqueCode"]
AUTO, TREE, CODE = "testapp_autokey", "testapp_treenode", "testapp_uniquecode"
ROWS, ROUNDS, SEEDS = 12, 7, range(6)


@dataclass
class Transaction:
    """Statements to execute at once, and the rows that they change: table, key, and whether it may be gone."""

    statements: list[str]
    rows: list[tuple[str, int, bool]]


def made(choose: random.Random, number: int) -> Transaction:
    """Make up a transaction. Numbers are those of new rows, too."""
    one, other = choose.sample(range(1, ROWS + 1), 2)
    new = 100 + number
    match choose.randrange(6):
        case 0:
            return Transaction([f"INSERT INTO {AUTO} VALUES ({new}, 'new')"], [(AUTO, new, False)])
        case 1:
            return Transaction([f"UPDATE {AUTO} SET label = 'label {number}' WHERE id = {one}"], [(AUTO, one, True)])
        case 2:
            return Transaction([f"DELETE FROM {AUTO} WHERE id = {one}"], [(AUTO, one, True)])
        case 3:
            sql = f"UPDATE {AUTO} SET id = {new} WHERE id = {one}"
            return Transaction([sql], [(AUTO, one, True), (AUTO, new, True)])
        case 4:  # a child that refers to a new parent
            insert = f"INSERT INTO {TREE} (id, name) VALUES ({new}, 'parent')"
            update = f"UPDATE {TREE} SET parent_id = {new} WHERE id = {one}"
            return Transaction([insert, update], [(TREE, new, False), (TREE, one, False)])
        case _:  # unique values that two rows exchange
            sql = [
                f"UPDATE {CODE} SET code = 'swapped {number}' WHERE id = {one}",
                f"UPDATE {CODE} SET code = 'swapped {number}b' WHERE id = {other}",
                f"UPDATE {CODE} SET code = 'code {number}' WHERE id = {one}",
                f"UPDATE {CODE} SET code = 'swapped {number}' WHERE id = {other}",
            ]
            return Transaction(sql, [(CODE, one, False), (CODE, other, False)])


class Seen(Moment):
    """Sees the transactions up to a number; of some it is not certain."""

    def __init__(self, last: int, uncertain: int) -> None:
        self._certain, self._last = last - uncertain, last

    def sees(self, transaction: int) -> bool:
        return transaction <= self._certain

    def may_see(self, transaction: int) -> bool:
        return transaction <= self._last


@dataclass
class Careless(ChangeFeed):
    """Reports what is done and what will be, in any order, and some of it again."""

    choose: random.Random
    planned: list[Transaction]
    done: int = 0
    reported: int = 0
    losses: int = 0
    is_certain: bool = True
    is_careless: bool = True
    unreported: frozenset[str] = field(default_factory=frozenset)

    snapshot_query = None

    def moment(self, snapshot: str) -> Moment:
        is_certain = self.is_certain or not self.is_careless
        return Seen(self.done, 0 if is_certain else min(self.done, self.choose.randint(0, 2)))

    def read(self) -> Iterator[Change]:
        if self.losses and self.done > ROUNDS:
            self.losses -= 1
            raise FeedLost("it was careless")
        early, late = (self.choose.randint(0, 5), self.choose.randint(0, 3)) if self.is_careless else (0, 0)
        until = min(len(self.planned), max(self.done + early, self.reported))
        new = list(range(self.reported, until))
        again = self.choose.sample(range(until), min(until, late))
        changes = [
            Change(table, None if self.choose.random() < 0.05 else (str(key),), number + 1, removes=is_gone)
            for number in [*new, *again]
            for table, key, is_gone in self.planned[number].rows
        ]
        self.choose.shuffle(changes)
        self.reported = until
        yield from changes

    def settled(self, transaction: int) -> bool:
        return self.is_certain and transaction <= self.done and self.choose.random() < 0.5

    def check(self, source: Any) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.mark.parametrize("seed", SEEDS)
def test_a_careless_feed_changes_nothing(databases: FreshDatabases, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    databases.fresh(A, B)
    choose = random.Random(seed)  # noqa: S311 - the same transactions in each run
    execute(
        A,
        "PRAGMA journal_mode = WAL",
        *(f"INSERT INTO {AUTO} VALUES ({n}, 'old')" for n in range(1, ROWS + 1)),
        *(f"INSERT INTO {TREE} (id, name) VALUES ({n}, 'node')" for n in range(1, ROWS + 1)),
        *(f"INSERT INTO {CODE} VALUES ({n}, 'first {n}', 'label')" for n in range(1, ROWS + 1)),
    )
    planned = [made(choose, number) for number in range(1, 4 * ROUNDS)]
    feed = Careless(choose, planned, losses=seed % 3 == 0, is_certain=seed % 2 == 0)
    monkeypatch.setattr(Engine, "feed_obstacles", lambda engine: iter(()))
    monkeypatch.setattr(Engine, "open_change_feed", lambda *args: feed)
    monkeypatch.setattr(Engine, "typed_parameter", lambda *args: "CAST(%s AS INTEGER)")

    def write(count: int) -> None:
        assert_equal()
        for transaction in planned[feed.done : feed.done + count]:
            execute(A, *transaction.statements)
            feed.done += 1

    def step() -> None:
        write(choose.randint(0, 6))

    def end() -> None:
        feed.is_careless = False
        write(len(planned))

    def assert_equal() -> None:
        for model in MODELS:
            assert read(A, f"SELECT * FROM {model._meta.db_table} ORDER BY id") == read(
                B, f"SELECT * FROM {model._meta.db_table} ORDER BY id"
            ), (model._meta.label, feed.done)

    found = followed_of(follow(Pair(A, B), LABELS, *[step] * ROUNDS, end, verify="none"))
    assert len(found.lost_feeds) == (seed % 3 == 0)
    for model in MODELS:
        assert held(A, model) == held(B, model)
