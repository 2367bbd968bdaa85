"""Keys are used in the first round whose snapshot sees their transaction, and forgotten after it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from migrator.databases.engines.base.change_feed import Change, Moment
from migrator.databases.engines.postgresql.change_feed import XIDS, SlotFeed, Snapshot
from migrator.databases.following.changed_keys import ChangedKeys


@dataclass
class Seen(Moment):
    """A snapshot that sees some transactions, and perhaps others."""

    certain: frozenset[int]
    possible: frozenset[int] = frozenset()

    def sees(self, transaction: int) -> bool:
        return transaction in self.certain

    def may_see(self, transaction: int) -> bool:
        return transaction in self.certain | self.possible


def of(*transactions: int) -> Seen:
    return Seen(frozenset(transactions))


@pytest.fixture
def changed() -> Iterator[ChangedKeys]:
    with closing(ChangedKeys()) as changed:
        yield changed


def tell(changed: ChangedKeys, changes: Iterable[Change], settled: Iterable[int] = ()) -> None:
    feed: Any = SimpleNamespace(read=lambda: iter(changes), settled=set(settled).__contains__)
    changed.read(feed)
    changed.settle(feed)


def keys_in(changed: ChangedKeys, table: str = "t") -> dict[Any, bool]:
    return dict(changed.keys(table))


def test_a_key_waits_until_its_transaction_is_seen(changed: ChangedKeys) -> None:
    tell(changed, [Change("t", ("1",), 7), Change("t", ("2",), 8)])
    changed.take(of(7))
    assert (keys_in(changed), changed.count(), changed.carried()) == ({("1",): True}, 1, 1)
    changed.forget()
    changed.take(of(7, 8))
    assert (keys_in(changed), changed.count(), changed.carried()) == ({("2",): True}, 1, 0)
    changed.forget()
    changed.take(of(7, 8))
    assert (keys_in(changed), changed.tables()) == ({}, [])


def test_a_round_that_failed_has_its_keys_again(changed: ChangedKeys) -> None:
    tell(changed, [Change("t", ("1",), 7)])
    changed.take(of(7))
    tell(changed, [Change("t", ("2",), 9)], settled=[7])
    changed.take(of(7))
    assert keys_in(changed) == {("1",): True}


def test_a_key_that_is_used_must_not_hide_a_later_change_of_it(changed: ChangedKeys) -> None:
    tell(changed, [Change("t", ("1",), 7), Change("t", ("1",), 9)])
    changed.take(of(7))
    changed.forget()
    changed.take(of(7, 9))
    assert keys_in(changed) == {("1",): True}


def test_settling_forgets_nothing_and_joins_transactions(changed: ChangedKeys) -> None:
    tell(changed, [Change("t", ("1",), n, removes=n == 5) for n in range(1, 9)], settled=range(1, 7))
    changed.take(of())
    assert (keys_in(changed), changed.carried()) == ({("1",): False}, 2)
    changed.forget()
    changed.take(of(7))
    assert (keys_in(changed), changed.carried()) == ({("1",): True}, 1)


def test_what_a_snapshot_may_see_is_used_now_and_once_more(changed: ChangedKeys) -> None:
    """It may not be in either database yet."""
    tell(changed, [Change("t", ("1",), 7)])
    changed.take(Seen(frozenset(), frozenset({7})))
    assert keys_in(changed) == {("1",): False}
    changed.forget()
    changed.take(of(7))
    assert keys_in(changed) == {("1",): True}


def test_any_row_is_no_key(changed: ChangedKeys) -> None:
    tell(changed, [Change("t", None, 7), Change("t", ("",), 7), Change("u", ("",), 7)])
    changed.take(of(7))
    assert (changed.has_any_row("t"), changed.has_any_row("u")) == (True, False)
    assert keys_in(changed) == {("",): True}
    assert sorted(changed.tables()) == ["t", "u"]


def test_keys_of_several_columns_and_of_bytes_are_kept_apart(changed: ChangedKeys) -> None:
    keys: list[Any] = [("a", "b"), ("a,b",), ('a", "b',), (b"ab",), ("ab",), ("6162",), ("",), ("\0",), ("é\udce9",)]
    tell(changed, [Change("t", key, 7) for key in keys])
    changed.take(of(7))
    assert set(keys_in(changed)) == set(keys)


def test_only_what_feeds_tell_is_counted(changed: ChangedKeys) -> None:
    tell(changed, [Change("t", ("1",), 7), Change("t", ("1",), 8)])
    changed.mark(["u"])
    assert changed.changes == 2


# -- of PostgreSQL ---------------------------------------------------------------------------------------------------


def test_a_transaction_that_runs_is_not_seen_although_it_was_decoded() -> None:
    snapshot = Snapshot("726:730:726,728")
    assert [number for number in range(724, 733) if snapshot.sees(number)] == [724, 725, 727, 729]
    assert Snapshot("7:7:").sees(6)


@pytest.mark.parametrize(
    ("xid", "after", "number"),
    [
        (900, 1000, 900),
        (1001, 1000, 1001),
        (XIDS - 5, 3 * XIDS + 7, 3 * XIDS - 5),
        (7, 3 * XIDS - 5, 3 * XIDS + 7),
        (5, 2_000_000_000, 5),
        (2_000_000_005, 5 * XIDS + 2_000_000_000, 5 * XIDS + 2_000_000_005),
    ],
)
def test_numbers_of_transactions_are_completed_by_those_of_snapshots(xid: int, after: int, number: int) -> None:
    """Changes have the lower 32 bits alone, which begin anew after four thousand million transactions."""
    feed: Any = SimpleNamespace(_next=after)
    assert SlotFeed._numbered(feed, xid) == number
