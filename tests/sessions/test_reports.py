"""The report of a copy claims what is true and no more, whatever the options left out."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches

from migrator.caches.copying import copy_cache
from migrator.caches.records import CacheOptions, CachePlan
from migrator.caches.reports import copy_report as cache_report
from migrator.console.reports import Fact, Report
from migrator.sessions.copying.run import copy_sessions
from migrator.sessions.records import CopyOptions, End, SessionPlan
from migrator.sessions.reports import copy_report
from migrator.stores.copying.records import CopyCounts, CopyResult, total_of
from tests.sessions.places import CACHE, ROWS, data_of, put

ALL = "Every session that was read and had not expired is in the destination."
LIMITED = "--limit stopped the copy after 1 session."
OTHERWISE = "Sessions with keys that do not begin with the --match prefix were not copied."
NOT_GIVEN = "Sessions with keys that were not given were not copied."


def sentences(report: Report) -> tuple[str, ...]:
    """Return what a report says, without how much was copied, and how fast."""
    verdict = re.sub(r"^\d+ \w+ copied in .* read per second\)\. ", "", report.verdict.sentence)
    return (*(point.sentence for point in report.points), verdict)


def lines(*passes: CopyCounts, evicted: int = 0, given: bool = False, **options: Any) -> tuple[str, ...]:
    plan = SessionPlan("here", "there", 5, 0, (), CopyOptions(**options), given)
    total = CopyCounts()
    for tally in passes:
        total.add(tally)
    return sentences(copy_report(CopyResult(plan, passes, 1.0, evicted, total=total)))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (lines(CopyCounts(read=5, written=5)), [ALL]),
        (lines(CopyCounts(read=1), limit=1), [LIMITED, ALL]),
        (lines(CopyCounts(read=1), limit=2), [ALL]),
        (lines(CopyCounts(read=1), match="a"), [OTHERWISE, ALL]),
        (lines(CopyCounts(read=1), given=True), [NOT_GIVEN, ALL]),
        (
            lines(CopyCounts(read=5, written=3, skipped=1, removed=1)),
            [
                "Every session that was read, had not expired, had time to live and was not ended meanwhile "
                "is in the destination."
            ],
        ),
        (
            lines(CopyCounts(read=5, ended=1), after_switch=True),
            [
                "Every session that was read, had not expired and was not ended there since the switch "
                "is in the destination."
            ],
        ),
        (
            lines(CopyCounts(read=5, written=5), CopyCounts(), catch_up=3),
            [ALL],
        ),
        (
            lines(CopyCounts(read=5, written=5), CopyCounts(refreshed=2), catch_up=1),
            [
                "The last pass still made 2 changes, so more may have changed since. Run the command again, or raise "
                "--catch-up.",
                ALL,
            ],
        ),
        (
            lines(CopyCounts(read=5, unreadable=1, removed=1)),
            [
                "1 session could not be copied; every other session that was read, had not expired and was not ended "
                "meanwhile is in the destination."
            ],
        ),
        (
            lines(CopyCounts(read=5, unreadable=1), evicted=2),
            [
                "The destination evicted 2 keys during the copy because its memory was full. Give it more memory, and "
                "copy again.",
                "1 session could not be copied.",
            ],
        ),
    ],
)
def test_claims_of_sessions_what_is_true(found: tuple[str, ...], expected: list[str]) -> None:
    assert list(found) == expected


def test_says_how_much_each_pass_changed() -> None:
    plan = SessionPlan("here", "there", 5, 0, (), CopyOptions(catch_up=3), False)
    passes = (CopyCounts(read=5, written=5), CopyCounts(refreshed=2), CopyCounts())
    report = copy_report(CopyResult(plan, passes, 1.0, 0, total=total_of(passes)))
    assert Fact("passes", "changes made by each: 5, 2, 0") in report.facts


@pytest.mark.redis
def test_says_what_options_left_out(ready: Callable[..., None], tmp_path: Path) -> None:
    ready(CACHE, ROWS)
    keys = [put(CACHE, {}) for _ in range(3)]
    (tmp_path / "keys").write_text(f"{keys[0]}\n")
    given = End("cache", "redis", "cache", keys_from=tmp_path / "keys")

    result = copy_sessions(source=given, dest=ROWS.end, options=CopyOptions(limit=1, match=keys[0][:9]))

    assert list(data_of(ROWS)) == keys[:1]
    assert sentences(copy_report(result)) == (NOT_GIVEN, OTHERWISE, LIMITED, ALL)


def cache_lines(tally: CopyCounts, evicted: int = 0, **options: Any) -> tuple[str, ...]:
    plan = CachePlan("here", "there", 5, None, (), CacheOptions(**options))
    return sentences(cache_report(CopyResult(plan, (tally,), 1.0, evicted, total=tally)))


ALL_KEYS = "Every key that was read and had not expired is in the destination."


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (cache_lines(CopyCounts(read=5)), [ALL_KEYS]),
        (cache_lines(CopyCounts(read=5), limit=5), ["--limit stopped the copy after 5 keys.", ALL_KEYS]),
        (cache_lines(CopyCounts(read=5), limit=6), [ALL_KEYS]),
        (
            cache_lines(CopyCounts(read=1), match="a"),
            ["Keys that do not begin with the --match prefix were not copied.", ALL_KEYS],
        ),
        (
            cache_lines(CopyCounts(unfit=1, removed=1)),
            [
                "1 key could not be copied; every other key that was read, had not expired and was not dropped "
                "meanwhile is in the destination."
            ],
        ),
        (
            cache_lines(CopyCounts(unfit=1), evicted=2),
            [
                "The destination evicted 2 keys during the copy because its memory was full. Give it more memory, and "
                "copy again.",
                "1 key could not be copied.",
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

    assert sentences(cache_report(result)) == ("Keys that were not given were not copied.", ALL_KEYS)
