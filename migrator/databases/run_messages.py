"""What a run says when it is refused or asks, or when it stops after its first write."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from ..console.wording import plural, shortened
from .engines.base.catalogue import kinds_text
from .journal.records import Run
from .planning.plan import Plan

SHOWN = 10  # tables that a message names
FOLLOWED = "The destination has the state of the last round. Go on with --update --follow."
UPDATED = "The update is complete. Call again with --update to have it verified."


def loss(plan: Plan) -> str:
    """Name the tables whose rows a run would delete first, with their row counts, the largest first."""
    rows = sorted(((table.dest_rows or 0, table.table.label) for table in plan.destroyed), reverse=True)
    text = f"{plan.dest} holds rows that will be LOST: {shortened([f'{label} ({n:,})' for n, label in rows], SHOWN)}."
    if len(rows) > SHOWN:
        text += f" That is {plural(sum(n for n, _ in rows), 'row')} of {len(rows)} tables; -v 2 lists them all."
    return text


def refusal_to_destroy(plan: Plan) -> str:
    """Return why a run does not begin that would delete rows without a confirmation."""
    way_on = f"Pass --replace {plan.dest.alias} if they may be lost, or choose an empty destination."
    return f"{loss(plan)} {plan.untouched} {way_on}"


def refusal_of_unfinished(alias: str, run: Run, *, updates: bool) -> str:
    """Return why a new run does not begin in a destination that holds an unfinished one."""
    if run.is_forecast:
        return (
            f"{alias!r} holds the sample of a forecast that has not ended ({run.holder()}). Nothing was written. Pass "
            "--cleanup to delete the sample and to recreate what was dropped."
        )
    holds = f"{alias!r} holds an unfinished run ({run.holder()})."
    if updates:
        return (
            f"{holds} Nothing was written. Repeat the command of that run with --resume to complete it, or with "
            "--cleanup to abandon it; then update."
        )
    return (
        f"{holds} Pass --resume to complete it, or --cleanup to abandon it: that recreates what it dropped, and keeps "
        "the copied rows."
    )


def refusal_of_other_plan(differences: Sequence[str]) -> str:
    """Return why an unfinished run is not resumed whose plan was different."""
    return (
        f"The unfinished run cannot be resumed, because its plan was different: {'; '.join(differences)}. Call with "
        "the same arguments and code as then, or abandon it with --cleanup."
    )


def refusal_of_unsigned(alias: str) -> str:
    """Return why an unfinished run is not resumed whose record holds SQL that this project has not signed."""
    return (
        f"The unfinished run in {alias!r} is not signed with this project's SECRET_KEY, so the SQL in its record is "
        "not executed. Nothing was written. If the key has changed since, add the old one to SECRET_KEY_FALLBACKS and "
        "call again. Otherwise pass --cleanup: it ends the run and lists the SQL for you."
    )


def refusal_of_changed(plan: Plan, tables: Sequence[str]) -> str:
    """Return why a run does not empty tables that have changed since its plan was made."""
    return f"{shortened(tables)} changed while this run was planned. {plan.untouched} Call again."


def question_to_copy(plan: Plan) -> str:
    """Ask whether to begin a run that destroys nothing."""
    rows = sum(table.source_rows for table in plan.tables)
    what = f"{plural(rows, 'row')} of {plural(len(plan.tables), 'table')}"
    return f"Copy {what} from {plan.source.alias!r} to {plan.dest.alias!r}?"


def question_to_update(plan: Plan) -> str:
    """Ask whether to begin an update."""
    return f"Insert, rewrite and delete rows of {plan.dest} until it equals {plan.source.alias!r}?"


def nothing_to_resume(alias: str, finished: Run | None, differing: Sequence[str]) -> str:
    """Return the remark of a run that found nothing to resume; ``differing`` are labels whose row counts differ."""
    if finished:
        rejected = f"{plural(finished.rows_rejected, 'row')} rejected"
        return f"The run in {alias!r} has already finished, with {rejected}. Nothing is left to do."
    remark = f"No unfinished run in {alias!r}: nothing to resume."
    if differing:
        remark += (
            f" It is NOT a copy of the source: row counts differ in {shortened(differing)}. Call without --resume."
        )
    return remark


def followed_until(alias: str, moment: dt.datetime | None) -> str:
    """Return which moment of its source a destination has that was followed, and how to go on."""
    state = (
        "all rows of the copy" if moment is None else f"the state of its source as of {moment:%Y-%m-%d %H:%M:%S} UTC"
    )
    return f"{alias!r} has {state}. Go on with --update --follow."


def announcement_of_recheck(rows: int) -> str:
    """Return what a resumed run does first, and when that can be left out."""
    return (
        f"Comparing {plural(rows, 'committed row')} with the source first. --trust-done leaves that out: the copy is "
        "then only right if nothing has written to the source since the run began."
    )


def state_of(alias: str, run: Run, rows_written: int) -> str:
    """Return what an interrupted or failed run leaves in the destination."""
    text = f"{plural(rows_written, 'row is', 'rows are')} committed in {alias!r}."
    if items := run.dropped_objects():
        text += f" Until the run is completed or abandoned, it lacks what was dropped: {kinds_text(items)}."
    return text
