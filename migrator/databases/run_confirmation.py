"""What comes between a plan and its first write: the user's confirmation, and refusals of what changed since."""

from __future__ import annotations

from ..console.prompts import Prompter
from ..errors import Declined, Refused
from . import run_messages
from .engines.base.engine import Engine
from .journal.journal import Journal
from .journal.records import Run
from .planning.plan import Plan, differences
from .planning.rows_of_migrations import Made
from .run_options import RunOptions


def confirm(plan: Plan, options: RunOptions, prompter: Prompter) -> None:
    """Ask whether a run may begin; raise :exc:`Declined`, or :exc:`Refused` if it would delete rows unconfirmed."""
    if plan.destroyed and options.replace is None:
        if not prompter.type_to_destroy(run_messages.loss(plan), plan.dest.alias):
            raise Refused(run_messages.refusal_to_destroy(plan))
    elif not prompter.proceed(run_messages.question_to_copy(plan)):
        raise Declined(plan.untouched)


def refuse_changed(plan: Plan, options: RunOptions, journal: Journal, dest: Engine) -> None:
    """Refuse to empty tables that have changed since the plan was made, when all their rows were of migrations."""
    if options.replace is not None:
        return
    rows = {t.table.name: t.dest_rows for t in plan.tables if t.is_made_by_migrations}
    known = Made(journal.made_by_migrations()).tables(dest, rows)
    if changed := [t.table.label for t in plan.tables if t.table.name in rows.keys() - known]:
        raise Refused(run_messages.refusal_of_changed(plan, changed))


def refuse_unresumable(run: Run, plan: Plan) -> None:
    """Refuse to resume a run whose plan was different, or whose record this project has not signed."""
    if found := differences(run.recorded_identity(), plan.identity()):
        raise Refused(run_messages.refusal_of_other_plan(found))
    if not run.is_signed:
        raise Refused(run_messages.refusal_of_unsigned(plan.dest.alias))
