"""What the reports of all runs say alike: both databases, a failed verification, and what to do next."""

from __future__ import annotations

from collections.abc import Iterator

from ...console.reports import Fact, Mood, Verdict
from ...console.wording import listed, plural
from ..planning.plan import Plan
from ..result import RunResult
from ..verification.counts import Verification
from .commands import command_line


def ends_facts(plan: Plan) -> tuple[Fact, ...]:
    """Return both databases, for files: on a terminal, the plan has shown them."""
    return Fact("from", "", full=str(plan.source)), Fact("to", "", full=str(plan.dest))


def not_a_copy(found: Verification) -> Verdict:
    """Return the verdict of a run whose verification found differences."""
    wrong = []
    if found.differing:
        wrong.append(f"row counts differ in {plural(len(found.differing), 'table')}")
    if found.differing_contents:
        wrong.append(f"values differ in {plural(len(found.differing_contents), 'table')}")
    if found.late_sequences:
        wrong.append(f"{plural(len(found.late_sequences), 'sequence is', 'sequences are')} out of sync")
    if rows := sum(orphans.rows for orphans in found.orphans):
        wrong.append(f"{plural(rows, 'row has', 'rows have')} no matching row for a foreign key")
    return Verdict(Mood.BAD, "NOT A COPY", f"The destination is NOT a copy of the source: {listed(wrong)}.")


def unchecked(found: Verification) -> Verdict:
    """Return the verdict of a run whose verification could not compare everything."""
    tables = plural(len(found.unchecked), "table")
    return Verdict(Mood.WARNING, "NOT VERIFIED", f"The values of {tables} could not be compared.")


def next_steps(result: RunResult) -> Iterator[str]:
    """Yield the command that shows more of what a run has left open.

    There is none for a run that adds rows: whole tables, which commands compare, need not be equal after it.
    """
    plan = result.plan
    ends = plan.source.alias, plan.dest.alias, plan.choice
    if plan.adds_rows:
        return
    if result.followed and result.followed.late:
        yield command_line("batch_migrate", *ends, "--update", "--follow")
    elif result.rows_rejected:
        yield command_line("verify_counts", *ends, "--mode", "full", "--rejects", str(result.rejects or "FILE"))
    elif not (result.verification and len(result.verification.contents) == len(plan.tables)):
        yield command_line("verify_counts", *ends, "--mode", "full")
    elif result.exit_code == 3 and result.updates is None:
        yield command_line("batch_migrate", *ends, "--update", "--dry-run")
