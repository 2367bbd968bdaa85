"""How a run ends after its last row: it recreates what it dropped, or is abandoned and lists what it could not."""

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
from ..planning.plan import Plan
from ..run_options import Console, RunOptions
from ..tables import Table
from .drops import drop_objects
from .orphans import reject_orphans
from .recreation import WAIT_SECONDS, Failed, RecreationFailed, Recreator
from .recreation_failures import (
    NotRecreated,
    explain,
    find_obstacles,
    list_failures,
    list_keys_with_orphans,
    list_unsigned,
    reject_obstacles,
)
from .recreation_order import RecreationSchedule
from .rejects import Rejects
from .retry import Retries

TO_RESUME_WITH_ROWS = (
    "Correct the rows in the source, or the objects in the destination, and pass --resume. Or pass --resume --on-error "
    "skip --rejects FILE to reject these rows."
)
TO_RESUME_WITH_OBJECTS = "In the destination, correct the objects that are missing or in the way, and pass --resume."

FEW_ROWS = 10_000  # of a table whose statistics and foreign keys take less time than their round trips

# How long to wait for other transactions that may still see deleted rows. Most are the server's own, and short.
DELETED_ROWS_SECONDS = 20.0


@dataclass(frozen=True)
class RunFinisher:
    """Ends one run, after its last row or before."""

    dest: Engine
    journal: Journal
    options: RunOptions
    console: Console
    interrupts: Interrupts
    retries: Retries

    def schedule(self, items: Iterable[DeferredObject], tables: Sequence[tuple[Table, int]]) -> RecreationSchedule:
        """Return the order in which objects are recreated. ``tables``: parents first, each with its number of rows."""
        catalogue = self.dest.catalogue
        return RecreationSchedule(
            items,
            tables,
            by_table=self.dest.features.recreates_indexes_together,
            locked_tables=catalogue.locked_tables,
            keys_wait=self.options.on_error == "skip",
            few_rows=FEW_ROWS,
        )

    def finish(self, run: Run, plan: Plan, recreator: Recreator, rejects: Rejects) -> dict[str, int]:
        """Recreate the objects that are left, and return how many rows were rejected for that, by table name.

        Raises :exc:`~migrator.errors.DataRejected`, which names the rows in the way, unless they are skipped.
        """
        dest, tables, skips_rows = self.dest, _by_name(plan), self.options.on_error == "skip"
        # A run that is resumed deletes those of chunks that have changed since.
        deletes_rows = skips_rows or plan.is_resumed
        rejected: dict[str, int] = {}
        failed = self._recreate(recreator, tables, dest.is_about_rows)
        deadline = time.monotonic() + DELETED_ROWS_SECONDS
        while failed:
            removed: dict[str, int] = {}
            dropped: list[DeferredObject] = []
            if skips_rows:
                dropped = self._drop_keys_again(run)
                removed = reject_obstacles(dest, tables, failed, rejects, self.journal)
            if not (removed or (deletes_rows and self._wait_for_deleted_rows(failed, tables, deadline))):
                raise self._error(tables, failed)
            orphans = reject_orphans(plan.tables, rejects, self.journal, adds_rows=plan.adds_rows) if removed else {}
            for table, rows in (*removed.items(), *orphans.items()):
                rejected[table] = rejected.get(table, 0) + rows
            again = [one.item for one in failed if one.item is not None and one.item not in dropped]
            recreator = Recreator(dest, self.schedule([*again, *dropped], rows_of(plan)))
            failed = self._recreate(recreator, tables, dest.is_about_rows)
        return rejected

    def _wait_for_deleted_rows(self, failed: Sequence[Failed], tables: dict[str, Table], deadline: float) -> bool:
        """Wait a moment if only deleted rows that are still indexed can be in the way; return whether that is so.

        It is not if any row in the way can be found, or the deadline has passed.
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

    def _drop_keys_again(self, run: Run) -> list[DeferredObject]:
        """Drop foreign keys and triggers that were recreated already, so that rows and children can be deleted."""
        dest = self.dest
        if dest.features.can_switch_off_foreign_keys:
            return []
        items = [item for item in run.dropped_objects() if item.kind in (FOREIGN_KEY, TRIGGER)]
        drop_objects(dest, items, self.retries)
        return items

    def _recreate(
        self, recreator: Recreator, tables: dict[str, Table], accepts: Callable[[Error], bool]
    ) -> list[Failed]:
        try:
            return recreator.run(self.console.progress, self.interrupts.check, self.retries.run, accepts=accepts)
        except RecreationFailed as error:
            raise self._error(tables, [error.failed]) from error

    def _error(self, tables: dict[str, Table], failed: Sequence[Failed]) -> MigratorError:
        is_about_rows = any(self.dest.is_about_rows(one.error) for one in failed)
        hint = TO_RESUME_WITH_ROWS if is_about_rows else TO_RESUME_WITH_OBJECTS
        return explain(self.dest, tables, failed, hint)

    # -- abandoning a run ---------------------------------------------------------------------------------------

    def abandon(self, run: Run, tables: Sequence[Table]) -> tuple[str, tuple[NotRecreated, ...]]:
        """Recreate what the run dropped as far as possible, and end the run in any case.

        Returns a remark for the report, and the objects that could not be recreated as they were. SQL of a record that
        this project has not signed is not executed. ``tables``: those that may have rows, whose sequences are set.
        """
        dest, by_name = self.dest, {table.name: table for table in tables}
        items = run.dropped_objects()
        deletes_sample = run.is_forecast and run.is_signed
        if deletes_sample:
            self.retries.run(lambda: self._delete_sample(run))
        if run.is_signed:
            # How many rows they have is unknown, so none counts as small.
            recreator = Recreator(dest, self.schedule(items, [(table, FEW_ROWS + 1) for table in tables]))
            left = list(list_failures(dest, by_name, self._recreate(recreator, by_name, lambda error: True)))
            left += list_keys_with_orphans(dest, by_name, items)
        else:
            left = list(list_unsigned(dest, items))
        with suppress(Error):  # verify_counts finds a sequence that is behind
            dest.catalogue.reset_sequences(tables, {}, may_lower=False)
        recreated = f" {_count_recreated(items, left)} in {dest.alias!r}." if items else ""
        remark = f"The run is abandoned.{recreated} The copied rows stay."
        if deletes_sample:
            remark = f"The sample of the forecast is deleted.{recreated}"
        if not self.journal.abandon(run):
            remark += f" Its journal could not be dropped. Drop {' and '.join(TABLES)} there."
        return remark, tuple(left)

    def _delete_sample(self, run: Run) -> None:
        """Empty the tables of a forecast, as far as they exist."""
        stored = self.dest.catalogue.stored_tables(list(run.recorded_identity()["tables"]))
        self.dest.empty([name for name, columns in stored.items() if columns])


def _count_recreated(items: Collection[DeferredObject], left: Collection[NotRecreated]) -> str:
    if not left:
        return f"{kinds_text(list(items))} {'was' if len(items) == 1 else 'were'} recreated"
    missing = sum(not one.is_unchecked for one in left)
    return f"{len(items) - missing:,} of {len(items):,} objects were recreated"


def _by_name(plan: Plan) -> dict[str, Table]:
    return {planned.table.name: planned.table for planned in plan.tables}


def rows_of(plan: Plan) -> list[tuple[Table, int]]:
    """Return each table with its number of rows in the source, parents first."""
    return [(planned.table, planned.source_rows) for planned in plan.tables]
