"""The report of a cache copy, from its records."""

from __future__ import annotations

from typing import Any

from ..console.reports import Report
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
    lines = [f"Values are copied {plan.encoding}."]
    return reports.plan_report("Copy a cache", "key", plan, in_dest=None, lines=lines)


def copy_report(result: CopyResult[CachePlan]) -> Report:
    """Return the report of what a copy did. Exit code 4 if a key was not copied that should have been."""
    counts = result.total
    document = _document(result)
    if result.is_dry_run:
        done = "Dry run: nothing was written."
        if result.plan.in_source == 0:
            return Report("", (), (done, result.plan.nothing_found), document, 3)
        return Report(done, (), (), document)
    code = 4 if counts.unfit or result.evicted else 3 if _is_nothing(counts) else 0
    grids = reports.count_grids("key", counts, WORDS, also=["unfit"])
    return Report(reports.heading("key", result), tuple(grids), tuple(_lines(result)), document, code)


def _lines(result: CopyResult[CachePlan]) -> list[str]:
    plan, counts, lines = result.plan, result.total, []
    if plan.own:
        lines.append(f"{plural(plan.own, 'key')} of migrator's own in the source {_was(plan.own)} not copied.")
    lines += [*reports.limit_lines("key", result), *reports.eviction_lines(result)]
    copied = listed(["was read", "had not expired", *(["was not dropped meanwhile"] if counts.removed else [])])
    if counts.unfit:
        others = "" if result.evicted else f"; every other key that {copied} is in the destination"
        lines.append(f"{plural(counts.unfit, 'key')} could not be copied{others}.")
    elif not result.evicted:
        lines.append(plan.nothing_found if _is_nothing(counts) else f"Every key that {copied} is in the destination.")
    return lines


def _document(result: CopyResult[CachePlan]) -> dict[str, Any]:
    return {**reports.document("migrator/copy-cache@1", result), "counts": result.total.by_name(WORDS)}


def _was(count: int) -> str:
    return "was" if count == 1 else "were"


def _is_nothing(counts: CopyCounts) -> bool:
    """Whether no key was found; given keys that do not exist count as expired."""
    return counts.read == counts.expired
