"""The report of a copy claims what is true and no more, whatever the options left out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches

from migrator.caches.copying import copy_cache
from migrator.caches.records import CacheCounts, CacheOptions, CachePlan, CacheResult
from migrator.caches.reports import copy_report as cache_report
from migrator.sessions.copying.run import CopyResult, SessionPlan, copy_sessions
from migrator.sessions.records import CopyOptions, End, SessionCounts
from migrator.sessions.reports import copy_report
from tests.sessions.places import CACHE, ROWS, data_of, put

ALL = "Every session that was read and had not expired is in the destination."
LIMITED = "--limit let 1 session be read, and no more."
OTHERWISE = "Sessions whose keys begin otherwise than --match says were not copied."
NOT_GIVEN = "Sessions whose keys were not given were not looked for."


def lines(*passes: SessionCounts, evicted: int = 0, given: bool = False, **options: Any) -> tuple[str, ...]:
    plan = SessionPlan("here", "there", 5, 0, (), CopyOptions(**options), given)
    total = SessionCounts()
    for tally in passes:
        total.add(tally)
    return copy_report(CopyResult(plan, passes, 1.0, evicted, total=total)).lines


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (lines(SessionCounts(read=5, written=5)), [ALL]),
        (lines(SessionCounts(read=1), limit=1), [LIMITED, ALL]),
        (lines(SessionCounts(read=1), limit=2), [ALL]),
        (lines(SessionCounts(read=1), match="a"), [OTHERWISE, ALL]),
        (lines(SessionCounts(read=1), given=True), [NOT_GIVEN, ALL]),
        (
            lines(SessionCounts(read=5, written=3, skipped=1, removed=1)),
            [
                "Every session that was read, had not expired, had time to live and was not ended meanwhile "
                "is in the destination."
            ],
        ),
        (
            lines(SessionCounts(read=5, ended=1), after_switch=True),
            [
                "Every session that was read, had not expired and was not ended there since the switch "
                "is in the destination."
            ],
        ),
        (
            lines(SessionCounts(read=5, written=5), SessionCounts(), catch_up=3),
            ["Changes made by each pass: 5, 0.", ALL],
        ),
        (
            lines(SessionCounts(read=5, written=5), SessionCounts(refreshed=2), catch_up=1),
            [
                "Changes made by each pass: 5, 2.",
                "The last pass still made 2 changes, so that more may have changed since: run it again, or raise "
                "--catch-up.",
                ALL,
            ],
        ),
        (
            lines(SessionCounts(read=5, unreadable=1, removed=1)),
            [
                "1 session could not be moved; each other one that was read, had not expired and was not ended "
                "meanwhile is in the destination."
            ],
        ),
        (
            lines(SessionCounts(read=5, unreadable=1), evicted=2),
            [
                "The destination dropped 2 keys for want of room meanwhile: give it more memory, and copy again.",
                "1 session could not be moved.",
            ],
        ),
    ],
)
def test_claims_of_sessions_what_is_true(found: tuple[str, ...], expected: list[str]) -> None:
    assert list(found) == expected


@pytest.mark.redis
def test_says_what_options_left_out(ready: Callable[..., None], tmp_path: Path) -> None:
    ready(CACHE, ROWS)
    keys = [put(CACHE, {}) for _ in range(3)]
    (tmp_path / "keys").write_text(f"{keys[0]}\n")
    given = End("cache", "redis", "cache", keys_from=tmp_path / "keys")

    result = copy_sessions(source=given, dest=ROWS.end, options=CopyOptions(limit=1, match=keys[0][:9]))

    assert list(data_of(ROWS)) == keys[:1]
    assert copy_report(result).lines == (NOT_GIVEN, OTHERWISE, LIMITED, ALL)


def cache_lines(tally: CacheCounts, evicted: int = 0, **options: Any) -> tuple[str, ...]:
    plan = CachePlan("here", "there", 5, "as they are", (), CacheOptions(**options))
    return cache_report(CacheResult(plan, tally, 1.0, evicted)).lines


ALL_KEYS = "Every key that was read and had not expired is in the destination."


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (cache_lines(CacheCounts(read=5)), [ALL_KEYS]),
        (cache_lines(CacheCounts(read=5), limit=5), ["--limit let 5 keys be read, and no more.", ALL_KEYS]),
        (cache_lines(CacheCounts(read=5), limit=6), [ALL_KEYS]),
        (
            cache_lines(CacheCounts(read=1), match="a"),
            ["Keys that begin otherwise than --match says were not copied.", ALL_KEYS],
        ),
        (
            cache_lines(CacheCounts(unfit=1, removed=1)),
            [
                "1 key could not be moved; each other one that was read, had not expired and was not dropped meanwhile "
                "is in the destination."
            ],
        ),
        (
            cache_lines(CacheCounts(unfit=1), evicted=2),
            [
                "The destination dropped 2 keys for want of room meanwhile: give it more memory, and copy again.",
                "1 key could not be moved.",
            ],
        ),
    ],
)
def test_claims_of_keys_what_is_true(found: tuple[str, ...], expected: list[str]) -> None:
    assert list(found) == expected


@pytest.mark.redis
def test_says_that_only_given_keys_were_looked_for(ready: Callable[..., None], tmp_path: Path) -> None:
    ready(CACHE)
    caches["redis"].set_many({"a": 1, "b": 2})
    caches["redis_other"].clear()
    (tmp_path / "keys").write_text("a\n")

    result = copy_cache(source="redis", dest="redis_other", options=CacheOptions(keys_from=tmp_path / "keys"))

    assert cache_report(result).lines == ("Keys that were not given were not looked for.", ALL_KEYS)
