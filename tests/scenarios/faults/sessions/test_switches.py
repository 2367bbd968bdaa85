"""What workers of both settings do to one session while a site is switched."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from migrator.clock import now
from migrator.stores.base import digest
from tests.management.running import run
from tests.scenarios.faults.oracle import assert_ended
from tests.sessions.copying.test_passes import end, save
from tests.sessions.places import CACHE, ROWS, Place, data_of, put

pytestmark = pytest.mark.redis
OTHER = Place("cache", "redis_other", "cache")
TO_OTHER = ("copy_sessions_cache_to_cache", "--source", "redis", "--dest", "redis_other", "--no-input")
TO_ROWS = ("copy_sessions_cache_to_db", "--source", "redis", "--dest", "sqlite_a", "--no-input")


@pytest.mark.parametrize(("words", "dest"), [(TO_OTHER, OTHER), (TO_ROWS, ROWS)], ids=["cache", "table"])
def test_a_logout_that_the_switch_missed_is_counted_until_it_is_made_good(
    words: tuple[str, ...], dest: Place, ready: Callable[..., None], tmp_path: Path
) -> None:
    ready(CACHE, dest)
    words = (*words, "--manifest", str(tmp_path / "manifest"))
    ann, bob, eve = (put(CACHE, {"who": who}) for who in ("ann", "bob", "eve"))
    passing = put(CACHE, {"who": "somebody whose time in the source is over"}, expires=now() + 2_500_000)
    assert_ended(run(*words, "--catch-up", "2"), 0)
    for key in (ann, passing):
        save(dest, key, {"basket": key})
    for key in (ann, bob):
        end(CACHE, key)
    time.sleep(2.6)
    for _ in range(2):
        finished = run(*words, "--after-switch", "--catch-up", "2", "--format", "json")
        assert_ended(finished, 4, "1 session ended in the source and changed here since", "--end-missed")
        found = json.loads(finished.out)
        assert found["total"]["missed"] == 1
        assert found["problems"] == [{"digest": digest(ann), "what": "ended in the source, and changed here since"}]
        assert data_of(dest).keys() == {ann, eve, passing}
    assert_ended(run(*words, "--after-switch", "--end-missed"), 0)
    assert data_of(dest).keys() == {eve, passing}
    assert_ended(run(*words, "--after-switch"), 0)
    assert_ended(run(*words, "--end-missed"), 2, "--end-missed needs --follow-up or --after-switch")


def test_the_logouts_of_all_are_followed_if_that_is_what_has_emptied_the_source(
    ready: Callable[..., None], tmp_path: Path
) -> None:
    ready(CACHE, OTHER)
    words = (*TO_OTHER, "--manifest", str(tmp_path / "manifest"))
    keys = [put(CACHE, {"n": n}) for n in range(2)]
    assert_ended(run(*words), 0)
    for key in keys:
        end(CACHE, key)
    assert_ended(run(*words), 1, "are the two ends swapped?")
    assert_ended(run(*words, "--after-switch"), 1, "has no sessions any more", "--end-missed", "Nothing was written")
    assert data_of(OTHER).keys() == set(keys)
    assert_ended(run(*words, "--after-switch", "--end-missed"), 0)
    assert data_of(OTHER) == {}


def test_sessions_are_counted_once_in_several_passes(ready: Callable[..., None]) -> None:
    ready(CACHE, ROWS)
    for number in range(4):
        put(CACHE, {"n": number})
    put(CACHE, {(1, 2): "JSON takes no such key"})
    finished = run(*TO_ROWS, "--catch-up", "3", "--format", "json")
    assert_ended(finished, 4, "1 session could not be copied")
    found = json.loads(finished.out)
    assert [one["read"] for one in found["passes"]] == [5, 5]
    assert (found["total"]["read"], found["total"]["written"], found["total"]["unfit"]) == (5, 4, 1)
    assert (found["total"]["present"], found["total"]["unchanged"]) == (0, 0)
    assert len(found["problems"]) == 1
