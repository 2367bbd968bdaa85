"""The result of an update as a report, or what its dry run says that it would write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...console.reports import Grid, Report, totals
from ...console.wording import plural
from ..planning.plan import TablePlan
from ..result import RunResult
from ..update import Update
from .plan import named, plan_document, plan_report
from .times import times_document
from .verification import result_lines, verification_document, verification_grids

KINDS = ("inserted", "rewritten", "deleted")


def update_report(result: RunResult, updates: Mapping[str, Update]) -> Report:
    """Describe what an update did or would do; ``updates`` are by table name."""
    plan, is_dry = result.plan, result.verification is None
    heading = f"Update of {plan.dest.alias!r} from {plan.source.alias!r}{', dry run' if is_dry else ''}"
    document = {
        "schema": "migrator/batch-migrate-update@1",
        "plan": plan_document(plan),
        "remark": result.remark,
        "dry_run": is_dry,
        "updates": [_update_document(table, updates[table.table.name], is_dry=is_dry) for table in plan.tables],
        **times_document(result),
        "seconds_comparing": round(result.seconds_comparing, 3),
        "verification": verification_document(result.verification) if result.verification else None,
    }
    grids = (_grid(result, updates, is_dry=is_dry), *verification_grids(result.verification))
    lines = tuple(_lines(result, updates, is_dry=is_dry))
    return Report(heading, grids, lines, document, result.exit_code, plan_report(plan))


def _grid(result: RunResult, updates: Mapping[str, Update], *, is_dry: bool) -> Grid:
    rows = [(t.table.label, *vars(updates[t.table.name]).values()) for t in result.plan.tables]
    kinds = ("to insert", "to rewrite", "to delete") if is_dry else KINDS
    title = "What an update would write" if is_dry else "Updated"
    return Grid(title, ("model", "compared", *kinds, "seconds"), tuple(rows), ("total", *totals(rows)))


def _lines(result: RunResult, updates: Mapping[str, Update], *, is_dry: bool) -> Iterator[str]:
    rows = plural(sum(update.compared for update in updates.values()), "row")
    if is_dry:
        yield f"{rows} compared."
        yield _forecast(updates)
    else:
        yield f"{rows} compared, {plural(result.changes, 'row')} changed in {result.seconds:.1f} s."
        if not result.changes:
            yield "The destination was already equal to the source: no row was written."
        yield from result_lines(result)
    if result.exit_code == 3:
        yield "The destination is NOT a copy of the source: see above."


def _forecast(updates: Mapping[str, Update]) -> str:
    """Say what an update would write."""
    counts = {kind: sum(getattr(update, kind) for update in updates.values()) for kind in KINDS}
    if not any(counts.values()):
        return "Nothing was written, and nothing would be: the destination equals the source."
    would = ", ".join(f"{count:,} {kind}" for kind, count in counts.items())
    return f"Nothing was written. {plural(sum(counts.values()), 'row')} would change: {would}."


def _update_document(planned: TablePlan, update: Update, *, is_dry: bool) -> dict[str, Any]:
    """Describe for programs what was done to a table, or would be: then the names begin with ``to_be_``."""
    counts = {f"to_be_{kind}" if is_dry else kind: getattr(update, kind) for kind in KINDS}
    return {**named(planned.table), "compared": update.compared, **counts, "seconds": update.seconds}
