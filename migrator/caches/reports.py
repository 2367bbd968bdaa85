"""The report of a cache copy, from its records."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..console.reports import Fact, Mood, Point, Report, Verdict
from ..console.wording import listed, plural
from ..stores.copying import reports
from ..stores.copying.records import CopyCounts, CopyResult
from .records import CachePlan

WORDS = {
    "read": "read from the source",
    "written": "written",
    "present": "already there, kept",
    "overwritten": "already there, overwritten",
    "refreshed": "changed in the source, written again",
    "removed": "dropped by the source, removed again",
    "expired": "expired, not copied",
    "no_ttl": "without time to live, copied without one",
    "unfit": "could not be copied",
}


def plan_report(plan: CachePlan) -> Report:
    """Return the report of what a copy would do, before it does anything."""
    facts = [Fact("values", f"copied {plan.encoding}")]
    return reports.plan_report("Copy a cache", "key", plan, in_dest=None, facts=facts)


def copy_report(result: CopyResult[CachePlan], again: str = "the same command without --dry-run") -> Report:
    """Return the report of what a copy did; ``again`` repeats a dry run in earnest.

    Exit code 4 if a key was not copied that should have been.
    """
    counts = result.total
    document = _document(result)
    if result.is_dry_run:
        return reports.dry_run_report("key", result, document, again)
    code = 4 if counts.unfit or result.evicted else 3 if _is_nothing(counts) else 0
    grid = reports.count_grid("key", counts, WORDS, also=["unfit"])
    return Report(
        title="Copy of a cache",
        verdict=_verdict(result, code),
        facts=reports.ends_facts(result.plan),
        grids=(grid, *reports.problem_grids(counts, reports.SHOWN_DIGESTS)),
        points=tuple(_points(result)),
        details=(grid, *reports.problem_grids(counts)),
        figures=reports.figures("key", result),
        document=document,
        exit_code=code,
    )


def _verdict(result: CopyResult[CachePlan], code: int) -> Verdict:
    plan, counts = result.plan, result.total
    copied = listed(["was read", "had not expired", *(["was not dropped meanwhile"] if counts.removed else [])])
    done = reports.copied_sentence("key", result)
    if counts.unfit:
        others = "" if result.evicted else f"; every other key that {copied} is in the destination"
        return Verdict(Mood.BAD, "INCOMPLETE", f"{plural(counts.unfit, 'key')} could not be copied{others}.")
    if result.evicted:
        return Verdict(Mood.BAD, "INCOMPLETE", f"{done}, but the destination evicted some keys.")
    if code == 3:
        return Verdict(Mood.WARNING, "NOTHING", plan.nothing_found)
    return Verdict(Mood.GOOD, "DONE", f"{done}. Every key that {copied} is in the destination.")


def _points(result: CopyResult[CachePlan]) -> Iterator[Point]:
    if own := result.plan.own:
        yield Point(Mood.NOTE, f"{plural(own, 'key')} of migrator's own in the source {_was(own)} not copied.")
    yield from reports.limit_points("key", result)
    yield from reports.eviction_points(result)


def _document(result: CopyResult[CachePlan]) -> dict[str, Any]:
    return {**reports.document("migrator/copy-cache@1", result), "counts": result.total.by_name(WORDS)}


def _was(count: int) -> str:
    return "was" if count == 1 else "were"


def _is_nothing(counts: CopyCounts) -> bool:
    """Whether no key was found; given keys that do not exist count as expired."""
    return counts.read == counts.expired
