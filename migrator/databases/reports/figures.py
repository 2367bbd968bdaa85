"""The numbers that readers of a page look for first, and the tables that took longest."""

from __future__ import annotations

from collections.abc import Mapping

from ...console.reports import Figure, Mood
from ..comparison import Comparison
from ..planning.plan import Plan
from ..result import RunResult
from ..row_counts import RowCounts
from ..update import Update
from ..verification.contents import SAMPLED, UNCHECKED
from ..verification.counts import Verification


def plan_figures(plan: Plan) -> tuple[Figure, ...]:
    """Return the rows that a run will copy, delete and reject."""
    deleted = sum(table.dest_rows or 0 for table in plan.destroyed)
    rejected = sum(plan.rejected.values())
    at_least = "" if plan.knows_rejected else "at least "
    return (
        _figure("rows in the source", sum(t.source_rows for t in plan.every)),
        _figure("rows to delete first", deleted, bad=Mood.WARNING),
        Figure("rows to reject", f"{at_least}{rejected:,}", mood=Mood.WARNING if rejected else Mood.NEUTRAL),
    )


def run_figures(result: RunResult) -> tuple[Figure, ...]:
    """Return the rows that were copied, rejected, and found to differ."""
    return (
        _figure("rows copied", sum(counts.rows_written for counts in result.row_counts.values())),
        _figure("rows rejected", result.rows_rejected, bad=Mood.WARNING),
        _differing(result.verification),
    )


def update_figures(result: RunResult, updates: Mapping[str, Update]) -> tuple[Figure, ...]:
    """Return the rows that an update compared and changed, and those that differ afterwards."""
    would = "rows to change" if result.is_dry_run else "rows changed"
    figures = (
        _figure("rows compared", sum(update.compared for update in updates.values())),
        _figure(would, result.changes),
    )
    return figures if result.is_dry_run else (*figures, _differing(result.verification))


def comparison_figures(comparison: Comparison) -> tuple[Figure, ...]:
    """Return the tables and rows that were compared, and the rows that differ."""
    verification = comparison.verification
    rows = sum(found.checked for found in verification.contents)
    return (
        _figure("tables compared", len(verification.counts)),
        Figure("rows compared by value", f"{rows:,}" if verification.contents else "none"),
        _differing(verification),
    )


def _figure(label: str, count: int, remark: str = "", bad: Mood = Mood.NEUTRAL) -> Figure:
    return Figure(label, f"{count:,}", remark, bad if count else Mood.NEUTRAL)


def _differing(found: Verification | None) -> Figure:
    """Return how many rows differ, except those that were rejected; where no values were compared, by the counts."""
    if not found or not (found.counts or found.contents):
        return Figure("rows differing", "unknown", "nothing was compared", Mood.WARNING)
    by_table = {count.table: abs((count.difference or 0) + count.rejected) for count in found.counts}
    compared = [contents for contents in found.contents if contents.status != UNCHECKED]
    by_table |= {each.table.name: each.differing - min(each.missing, each.rejected) for each in compared}
    remark = "by row counts only"
    if compared:
        has_samples = any(each.method == SAMPLED for each in compared)
        is_whole = len(compared) >= len(found.counts) and not has_samples
        remark = "all values compared" if is_whole else "a sample compared" if has_samples else "some values compared"
    differing = sum(by_table.values())
    return Figure("rows differing", f"{differing:,}", remark, Mood.BAD if differing else Mood.GOOD)


def seconds_by_table(result: RunResult) -> Mapping[str, float]:
    """Return how long each table took, with its indexes, by label; the slowest first."""
    seconds = {t.table.label: spent(result.row_counts[t.table.name]) for t in result.plan.tables}
    return dict(sorted(((label, each) for label, each in seconds.items() if each), key=lambda item: -item[1]))


def spent(counts: RowCounts) -> float:
    """Return how long a table took."""
    return counts.seconds + counts.indexing
