"""A plan as an assessment, to be decided upon: its checks, the tables that need most attention, and the way back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from ...console.reports import Assessment, Check, Grid, Mood, Verdict
from ...console.wording import plural
from ..planning.plan import Plan
from .checks import checks_grid, described
from .commands import command_line

WORST = 3


def assess(plan: Plan) -> Assessment:
    """Assess a plan."""
    checks = described(plan.checks, plan)
    return Assessment(
        title=f"Assessment: {plan.source.alias!r} to {plan.dest.alias!r}",
        verdict=_verdict(checks),
        checks=checks,
        grid=checks_grid(plan.checks),
        worst=_worst(plan),
        way_back=tuple(_way_back(plan)),
    )


def _verdict(checks: Sequence[Check]) -> Verdict:
    """Say whether the run can start."""
    counts = Counter(check.mood for check in checks)
    counted = f"{counts[Mood.GOOD]} of {plural(len(checks), 'check')} passed"
    if failed := counts[Mood.BAD]:
        return Verdict(Mood.BAD, "NOT READY", f"{counted}, {failed} failed. Nothing was written.")
    if warned := counts[Mood.WARNING]:
        counted += f", {warned} with a warning"
    if later := counts[Mood.NEUTRAL]:
        counted += f"; {later} can only be made by the run itself"
    mood = Mood.WARNING if warned or later else Mood.GOOD
    return Verdict(mood, "READY", f"{counted}. The run can start. Nothing was written.")


def _worst(plan: Plan) -> Grid | None:
    """Return the tables with the most rows to reject, then those with the most rows."""
    every = [(t.table.label, t.source_rows, plan.rejected.get(t.table.name, 0), t.dest_rows or 0) for t in plan.every]
    rows = sorted((row for row in every if row[1]), key=lambda row: (-row[2], -row[1]))[:WORST]
    headers = ("model", "rows in the source", "rows to reject", "rows in the destination")
    return Grid("Tables that need most attention", headers, tuple(rows)) if rows else None


def _way_back(plan: Plan) -> Iterator[str]:
    """Say what undoes the run, at which moment."""
    source, dest = plan.source.alias, plan.dest.alias
    yield f"{source!r} is only read. Until the site has written to {dest!r}, revert the settings: nothing is lost."
    if plan.updates:
        yield f"All changes are made in one transaction: if it fails, {dest!r} is as it was before."
    else:
        yield "If the run fails or is interrupted, --resume completes it, and --cleanup abandons it."
    if plan.updates or plan.destroyed:
        yield f"The run overwrites or deletes rows of {dest!r}. Only a backup of it brings them back."
    if plan.adds_rows:
        yield f"Rows of {dest!r} stay unchanged. To go back, delete the added ones, or restore a backup."
    else:
        command = command_line("batch_migrate", dest, source, plan.choice, "--update")
        yield f"When the site has written to {dest!r}, copy the difference back: {command}"
