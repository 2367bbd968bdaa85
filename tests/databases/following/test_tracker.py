"""A feed is read while the run does something else, and what goes wrong then is raised when its keys are needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from migrator.databases.engines.base.change_feed import Change, ChangeFeed, FeedLost, Moment
from migrator.databases.following import tracker as module
from migrator.databases.following.tracker import ChangeTracker


class Counted(ChangeFeed):
    """Reports one change each time, and knows how often it was read."""

    snapshot_query = None

    def __init__(self) -> None:
        self.reads, self.is_lost, self.is_open = 0, False, True

    def moment(self, snapshot: str) -> Moment:
        raise NotImplementedError

    def read(self) -> Iterator[Change]:
        assert self.is_open
        if self.is_lost:
            raise FeedLost("it is gone")
        self.reads += 1
        yield Change("t", (str(self.reads),), 7)

    def settled(self, transaction: int) -> bool:
        return True

    def check(self, source: Any) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self.is_open = False


@pytest.fixture
def feed() -> Counted:
    return Counted()


@pytest.fixture
def tracker(feed: Counted, monkeypatch: pytest.MonkeyPatch) -> Iterator[ChangeTracker]:
    monkeypatch.setattr(module, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(module, "TIMES_THE_LAST", 0)
    with closing(ChangeTracker(feed)) as tracker:
        yield tracker


def test_is_read_when_that_is_due(feed: Counted, tracker: ChangeTracker, monkeypatch: pytest.MonkeyPatch) -> None:
    tracker.keep_up()
    monkeypatch.setattr(module, "EVERY_SECONDS", 60.0)
    tracker.keep_up()
    tracker.keep_up()
    assert (feed.reads, tracker.changed.changes) == (2, 2)


def test_is_not_read_while_a_round_uses_the_keys(feed: Counted, tracker: ChangeTracker) -> None:
    with tracker.in_round():
        tracker.keep_up()
    assert feed.reads == 0
    tracker.keep_up()
    assert feed.reads == 1


def test_a_loss_is_raised_when_the_keys_are_needed(feed: Counted, tracker: ChangeTracker) -> None:
    feed.is_lost = True
    tracker.keep_up()
    feed.is_lost = False  # what it reports now is not all
    tracker.keep_up()
    with pytest.raises(FeedLost, match="it is gone"):
        tracker.read()
    assert feed.reads == 0


def test_a_feed_that_has_ended_is_not_read_and_another_one_takes_its_place(
    feed: Counted, tracker: ChangeTracker
) -> None:
    tracker.keep_up()
    tracker.end()
    tracker.keep_up()
    assert (tracker.has_ended, feed.is_open, feed.reads) == (True, False, 1)
    other = Counted()
    tracker.replace(other)
    assert not tracker.has_ended
    assert tracker.changed.carried() == 0
    tracker.keep_up()
    assert other.reads == 1
