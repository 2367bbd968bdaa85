"""The result of an update as a report, or what its dry run says that it would write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...console.reports import Cell, Fact, Grid, Mood, Report, Verdict, totals
from ...console.wording import plural, seconds_text
from ..planning.plan import TablePlan
from ..result import RunResult
from ..update import Update
from .figures import update_figures
from .following import follow_document, follow_facts, follow_verdict
from .outcome import ends_facts, next_steps, not_a_copy, unchecked
from .plan import named, plan_document, plan_report
from .row_grids import row_grids
from .times import times_document
from .verification import (
    VALUES,
    differing_grids,
    shortened_grid,
    verification_document,
    verification_facts,
    verification_grids,
    verification_points,
)

KINDS = ("inserted", "rewritten", "deleted")


def update_report(result: RunResult, updates: Mapping[str, Update], again: str) -> Report:
    """Describe what an update did or would do; ``updates`` are by table name, ``again`` repeats a dry run."""
    plan, is_dry = result.plan, result.is_dry_run
    document = {
        "schema": "migrator/batch-migrate-update@1",
        "plan": plan_document(plan),
        "remark": result.remark,
        "dry_run": is_dry,
        "updates": [_update_document(table, updates[table.table.name], is_dry=is_dry) for table in plan.tables],
        **times_document(result),
        "seconds_comparing": round(result.seconds_comparing, 3),
        "follow": follow_document(result.followed),
        "verification": verification_document(result.verification) if result.verification else None,
    }
    return Report(
        title=f"Update of {plan.dest.alias!r} from {plan.source.alias!r}{', dry run' if is_dry else ''}",
        verdict=_forecast(updates) if is_dry else _verdict(result, updates),
        facts=(*ends_facts(plan), *_facts(result, updates)),
        grids=(*_short_grids(result, updates, is_dry=is_dry), *differing_grids(result.verification)),
        points=tuple(verification_points(result.verification)) if result.verification else (),
        details=(_grid(plan.tables, updates, is_dry=is_dry), *verification_grids(result.verification)),
        figures=update_figures(result, updates),
        row_grids=row_grids(result.verification),
        timings=dict(result.timings),
        next=tuple(_next_steps(result, again)),
        document=document,
        exit_code=result.exit_code,
        preface=plan_report(plan),
        is_dry_run=is_dry,
    )


def _next_steps(result: RunResult, again: str) -> Iterator[str]:
    if result.is_dry_run:
        yield from [again] if result.changes else []
    elif result.changes or result.exit_code:
        yield from next_steps(result)


def _short_grids(result: RunResult, updates: Mapping[str, Update], *, is_dry: bool) -> Iterator[Grid]:
    """Yield the tables with the most changes, if there are any."""
    changed = sorted(result.plan.tables, key=lambda t: -updates[t.table.name].changes)
    grid = _grid([t for t in changed if updates[t.table.name].changes], updates, is_dry=is_dry)
    if grid.rows:
        yield shortened_grid(grid, grid.title)


def _row(planned: TablePlan, updates: Mapping[str, Update]) -> tuple[Cell, ...]:
    return (planned.table.label, *vars(updates[planned.table.name]).values())


def _grid(tables: Sequence[TablePlan], updates: Mapping[str, Update], *, is_dry: bool) -> Grid:
    rows = [_row(t, updates) for t in tables]
    kinds = ("to insert", "to rewrite", "to delete") if is_dry else KINDS
    title = "What an update would write" if is_dry else "Updated"
    return Grid(title, ("model", "compared", *kinds, "seconds"), tuple(rows), ("total", *totals(rows)))


def _facts(result: RunResult, updates: Mapping[str, Update]) -> Iterator[Fact]:
    compared = plural(sum(update.compared for update in updates.values()), "row")
    yield Fact("compared", f"{compared} of {plural(len(result.plan.tables), 'table')}, by all their values")
    if result.followed:
        yield from follow_facts(result.followed)
    else:
        # What people ask before the last pass: for how long the site has to stop.
        next_pass = f"about {seconds_text(result.seconds_comparing)} to compare, as now, plus what it writes"
        yield Fact("next pass", next_pass)
    if result.verification:
        for fact in verification_facts(result.verification, None, option="--verify full"):
            # What it compared before is all that there is to know, unless it wrote.
            if fact.label != VALUES or result.changes or result.verification.contents:
                yield fact


def _verdict(result: RunResult, updates: Mapping[str, Update]) -> Verdict:
    if result.verification and not result.verification.is_clean:
        return not_a_copy(result.verification)
    if result.verification and result.verification.unchecked:
        return unchecked(result.verification)
    if result.followed:
        return follow_verdict(result, result.followed)
    if not result.changes:
        return Verdict(Mood.GOOD, "EQUAL", "The destination was already equal to the source: no row was written.")
    done = f"{plural(result.changes, 'row')} of {result.plan.dest.alias!r} changed in {seconds_text(result.seconds)}"
    return Verdict(Mood.GOOD, "UPDATED", f"{done}: {_kinds_text(updates)}.")


def _forecast(updates: Mapping[str, Update]) -> Verdict:
    """Say what an update would write."""
    count = sum(update.changes for update in updates.values())
    if not count:
        sentence = "Nothing was written, and nothing would be: the destination equals the source."
        return Verdict(Mood.GOOD, "DRY RUN", sentence)
    would = f"{plural(count, 'row')} would change: {_kinds_text(updates)}"
    return Verdict(Mood.WARNING, "DRY RUN", f"Nothing was written. {would}.")


def _kinds_text(updates: Mapping[str, Update]) -> str:
    return ", ".join(f"{sum(getattr(update, kind) for update in updates.values()):,} {kind}" for kind in KINDS)


def _update_document(planned: TablePlan, update: Update, *, is_dry: bool) -> dict[str, Any]:
    """Describe for programs what was done to a table, or would be: then the names begin with ``to_be_``."""
    counts = {f"to_be_{kind}" if is_dry else kind: getattr(update, kind) for kind in KINDS}
    return {**named(planned.table), "compared": update.compared, **counts, "seconds": update.seconds}
