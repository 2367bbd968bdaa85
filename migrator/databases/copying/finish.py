"""How a run ends after its last row: all that it dropped is recreated, or it is abandoned and the rest is listed."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from django.db import Error

from ...console.interrupts import Interrupts
from ...errors import MigratorError
from ..engines.base.catalogue import FOREIGN_KEY, TRIGGER, DeferredObject, kinds_text
from ..engines.base.engine import Engine
from ..journal.journal import Journal
from ..journal.records import TABLES, Run
from ..options import Console, RunOptions
from ..planning.plan import Plan
from ..tables import Table
from .orphans_and_sequences import reject_orphans
from .recreation import WAIT_SECONDS, Failed, RecreationFailed, Recreator
from .recreation_failures import (
    NotRecreated,
    explain,
    find_obstacles,
    list_dangling,
    list_failures,
    list_unsigned,
    reject_obstacles,
)
from .recreation_order import RecreationSchedule
from .rejects import Rejects
from .retry import Retries

TO_RESUME_WITH_ROWS = (
    "Correct the rows in the source, or the objects in the destination, and pass --resume. Or pass --resume --on-error "
    "skip --rejects FILE to reject the rows in the way."
)
TO_RESUME_WITH_OBJECTS = "Correct what the destination lacks or has in the way, and pass --resume."

# For other transactions that may still see rows which are deleted. They are mostly the server's own, and short.
DELETED_ROWS_SECONDS = 20.0


@dataclass(frozen=True)
class Ending:
    """What ends one run: its destination, its journal and what it was asked for."""

    dest: Engine
    journal: Journal
    options: RunOptions
    console: Console
    interrupts: Interrupts
    retries: Retries

    def schedule(self, items: Iterable[DeferredObject], tables: Sequence[tuple[Table, int]]) -> RecreationSchedule:
        """Give the order in which objects are recreated, of tables with their rows, parents first."""
        catalogue = self.dest.catalogue
        return RecreationSchedule(
            items,
            tables,
            by_table=self.dest.features.recreates_indexes_together,
            touched=catalogue.locked_tables,
            keys_wait=self.options.on_error == "skip",
        )

    def finish(self, run: Run, plan: Plan, finisher: Recreator, rejects: Rejects) -> dict[str, int]:
        """Recreate what is left, and return the number of rows that were rejected for it, by table name.

        Raises :exc:`~migrator.errors.DataRejected`, which names the rows in the way, unless those are skipped.
        """
        dest, tables, skips_rows = self.dest, _by_name(plan), self.options.on_error == "skip"
        rejected: dict[str, int] = {}
        failed = self._work_off(finisher, tables, dest.is_about_rows)
        deadline = time.monotonic() + DELETED_ROWS_SECONDS
        while failed:
            removed: dict[str, int] = {}
            off: list[DeferredObject] = []
            if skips_rows:
                off = self._make_room(run)
                removed = reject_obstacles(dest, tables, failed, rejects, self.journal)
            # A run that skips no rows has deleted none, either.
            if not (removed or (skips_rows and self._waits(failed, tables, deadline))):
                raise self._explained(tables, failed)
            for table, rows in (
                *removed.items(),
                *reject_orphans(plan.tables, rejects, self.journal, adds_rows=plan.adds_rows).items(),
            ):
                rejected[table] = rejected.get(table, 0) + rows
            again = [one.item for one in failed if one.item is not None and one.item not in off]
            finisher = Recreator(dest, self.schedule([*again, *off], rows_of(plan)))
            failed = self._work_off(finisher, tables, dest.is_about_rows)
        return rejected

    def _waits(self, failed: Sequence[Failed], tables: dict[str, Table], deadline: float) -> bool:
        """Wait a moment for deleted rows that are still indexed; return whether those may be all that is in the way.

        A row that is there is found, and so is not what this is about.
        """
        dest = self.dest
        hidden = (
            one.item is not None
            and one.table in tables
            and dest.is_about_rows(one.error)
            and not find_obstacles(dest, tables[one.table], one.item, 1)
            for one in failed
        )
        if not dest.features.indexes_deleted_rows or time.monotonic() > deadline or not all(hidden):
            return False
        self.interrupts.check()
        time.sleep(WAIT_SECONDS)
        return True

    def _make_room(self, run: Run) -> list[DeferredObject]:
        """Drop the foreign keys and triggers again that are there already, so that rows and their children can go."""
        dest = self.dest
        if dest.features.can_switch_off_foreign_keys:
            return []
        items = [item for item in run.dropped_objects() if item.kind in (FOREIGN_KEY, TRIGGER)]
        for item in items:
            dest.catalogue.drop(item)
        return items

    def _work_off(
        self, finisher: Recreator, tables: dict[str, Table], passes_over: Callable[[Error], bool]
    ) -> list[Failed]:
        try:
            return finisher.work_off(
                self.console.progress, self.interrupts.check, self.retries.run, passes_over=passes_over
            )
        except RecreationFailed as error:
            raise self._explained(tables, [error.failed]) from error

    def _explained(self, tables: dict[str, Table], failed: Sequence[Failed]) -> MigratorError:
        is_about_rows = any(self.dest.is_about_rows(one.error) for one in failed)
        hint = TO_RESUME_WITH_ROWS if is_about_rows else TO_RESUME_WITH_OBJECTS
        return explain(self.dest, tables, failed, hint)

    # -- abandoning a run ---------------------------------------------------------------------------------------

    def abandon(self, run: Run, tables: Sequence[Table]) -> tuple[str, tuple[NotRecreated, ...]]:
        """Recreate what the run dropped as far as that can be, and forget the run in any case.

        Returns a remark for the report, and what is not there as it was. The SQL of a record that this project has
        not signed is not executed. ``tables`` may have rows, and counters that are not above their keys.
        """
        dest, by_name = self.dest, {table.name: table for table in tables}
        items = run.dropped_objects()
        if run.is_signed:
            finisher = Recreator(dest, self.schedule(items, [(table, 1) for table in tables]))
            left = list(list_failures(dest, by_name, self._work_off(finisher, by_name, lambda error: True)))
            left += list_dangling(dest, by_name, items)
        else:
            left = list(list_unsigned(dest, items))
        with suppress(Error):  # what a sequence lacks is what verify_counts finds
            dest.catalogue.reset_sequences(tables, {}, may_lower=False)
        remark = f"The run is given up: {_counted(items, left)} in {dest.alias!r}, and the copied rows stay."
        if not self.journal.abandon(run):
            remark += f" Its tables could not be dropped. Drop {' and '.join(TABLES)} there."
        return remark, tuple(left)


def _counted(items: Collection[DeferredObject], left: Collection[NotRecreated]) -> str:
    if not left:
        return f"{kinds_text(list(items))} put back"
    missing = sum(not one.is_unchecked for one in left)
    return f"{len(items) - missing:,} of {len(items):,} objects put back"


def _by_name(plan: Plan) -> dict[str, Table]:
    return {planned.table.name: planned.table for planned in plan.tables}


def rows_of(plan: Plan) -> list[tuple[Table, int]]:
    """Return each table with the source's rows, parents first."""
    return [(planned.table, planned.source_rows) for planned in plan.tables]
