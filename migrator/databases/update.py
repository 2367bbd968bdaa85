"""The second pass of a move: changed rows are rewritten, missing ones inserted, and rows gone from the source deleted.

First all differences are found, without a write. Then they are applied in one transaction of the destination: all
deletions, children first, then all insertions, parents first. So the destination has the old state or the new one
whenever the run is interrupted, and no unique value is inserted while its old row still exists.
"""

from __future__ import annotations

import dataclasses
import pickle
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain, count, islice
from typing import IO

from django.db import transaction

from ..console.progress import Progress
from .chunks import Bounds, Restriction
from .copying.chunk import ChunkCopier
from .copying.rejects import Rejects
from .copying.retry import Retries
from .endpoints import Endpoints
from .engines.base.session import Row
from .parallel.comparing import Helpers, ValuesOfTables
from .planning.columns import TableEnds
from .planning.plan import Plan, TablePlan
from .planning.triggers import without_triggers
from .update_failures import UNWRITTEN, delete_rows, errors_named
from .verification.compared_side import ComparedSide, sides
from .verification.contents import Pairing
from .verification.rows import CHANGED, EXTRA, LOOKUP, MISSING, RowDifference
from .verification.table_comparison import find_differences


@dataclass
class Update:
    """How many rows of one table were compared and changed, and how long that took in seconds."""

    compared: int = 0
    inserted: int = 0
    rewritten: int = 0
    deleted: int = 0
    seconds: float = 0.0

    @property
    def changes(self) -> int:
        return self.inserted + self.rewritten + self.deleted

    def add(self, other: Update) -> None:
        """Add what was done to the table at another time."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


class Difference:
    """The rows of one table that differ. There may be many, so their keys are in temporary files."""

    def __init__(self, planned: TablePlan) -> None:
        self.planned = planned
        self.update = Update()
        self._to_delete: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as this object
        self._to_insert: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115

    def add(self, difference: RowDifference) -> None:
        """Add a row; a changed one is deleted and inserted."""
        self.update.deleted += difference.kind == EXTRA
        self.update.inserted += difference.kind == MISSING
        self.update.rewritten += difference.kind == CHANGED
        if difference.kind in (EXTRA, CHANGED):
            pickle.dump(difference.key, self._to_delete)
        if difference.kind in (MISSING, CHANGED):
            pickle.dump(difference.key, self._to_insert)

    def keys_to_delete(self) -> Iterator[list[Row]]:
        """Yield the keys of rows to delete, in pages."""
        return _pages(self._to_delete)

    def keys_to_insert(self) -> Iterator[list[Row]]:
        """Yield the keys of rows to insert, in pages."""
        return _pages(self._to_insert)

    def close(self) -> None:
        """Delete the files."""
        self._to_delete.close()
        self._to_insert.close()


def _pages(file: IO[bytes]) -> Iterator[list[Row]]:
    file.seek(0)

    def keys() -> Iterator[Row]:
        while True:
            try:
                yield pickle.load(file)  # noqa: S301 - this process wrote it, and no other can
            except EOFError:
                return

    source = keys()
    while page := list(islice(source, LOOKUP)):
        yield page


def find_updates(plan: Plan, helpers: Helpers, *, chunk_size: int, progress: Progress) -> list[Difference]:
    """Compare every table of a plan, in load order; the caller closes the results."""
    differences = {planned.table.name: Difference(planned) for planned in plan.tables}
    with ExitStack() as on_error:
        for difference in differences.values():
            on_error.callback(difference.close)
        comparison = ValuesOfTables(
            [Pairing.of(planned) for planned in plan.tables],
            chunk_size,
            each=lambda table, difference: differences[table].add(difference),
        )
        for difference, contents in zip(differences.values(), comparison.by(helpers, progress), strict=True):
            difference.update.compared += contents.checked
            difference.update.seconds += contents.seconds
        on_error.pop_all()
    return list(differences.values())


def compare_table(difference: Difference, *, chunk_size: int, progress: Progress) -> None:
    """Compare all rows of a table, and add those that differ."""
    started, pairing = time.perf_counter(), Pairing.of(difference.planned)
    contents = find_differences(pairing, chunk_size=chunk_size, progress=progress, each=difference.add)
    difference.update.compared += contents.checked
    difference.update.seconds += time.perf_counter() - started


def apply_updates(
    endpoints: Endpoints,
    differences: Sequence[Difference],
    progress: Progress,
    check: Callable[[], None],
    before_commit: Callable[[], None],
    *,
    keeps_triggers: bool = False,
) -> None:
    """Make the destination equal to the source in one transaction; ``check`` is called between its steps.

    Triggers of the changed tables do not fire, unless ``keeps_triggers`` is set or the engine cannot disable them.
    Foreign keys that would change or delete the children of deleted rows are dropped and recreated: other sessions do
    not see that, because the locks on both tables make them wait, and a rollback restores the keys (PostgreSQL's
    manual, ALTER TABLE: DROP CONSTRAINT takes ACCESS EXCLUSIVE).

    Raises :exc:`~migrator.errors.DataRejected` for a row that the destination cannot store; then nothing was written.
    """
    dest = endpoints.dest
    total = sum(difference.update.changes for difference in differences)
    if not total:
        return
    changing = [difference.planned.table.name for difference in differences if difference.update.changes]
    losing = [d.planned.table.name for d in differences if d.update.rewritten or d.update.deleted]
    attempts = count(1)

    def attempt() -> None:
        # The connection may have been lost with the answer to a commit: the rows are there then.
        is_again = next(attempts) > 1
        with (
            progress.task("writing", total) as task,
            transaction.atomic(using=dest.alias),
            without_triggers(dest, [] if keeps_triggers else changing),
        ):
            cascading = [key for key in dest.catalogue.cascading(changing if is_again else losing).values() if key]
            dest.catalogue.drop(cascading)
            for difference in reversed(differences):
                _delete(endpoints, difference, check, is_again=is_again)
            for difference in differences:
                _insert(endpoints, difference, check)
                task.advance(difference.update.changes)
            with errors_named(dest):
                dest.bind_now()
                dest.catalogue.recreate(cascading)
            before_commit()

    Retries(endpoints, progress, check).run(attempt)


def _delete(endpoints: Endpoints, difference: Difference, check: Callable[[], None], *, is_again: bool) -> None:
    """Delete rows; those to insert as well if an attempt before may have inserted them."""
    started = time.perf_counter()
    for page in chain(difference.keys_to_delete(), difference.keys_to_insert() if is_again else ()):
        check()
        delete_rows(endpoints.dest, difference.planned.table, sides_of(difference.planned)[1], page)
    difference.update.seconds += time.perf_counter() - started


def _insert(endpoints: Endpoints, difference: Difference, check: Callable[[], None]) -> None:
    started = time.perf_counter()
    source, _ = sides_of(difference.planned)
    # Foreign keys are checked when all rows are inserted.
    route = dataclasses.replace(difference.planned.route, binds_late=True)
    for page in difference.keys_to_insert():
        check()
        where, params = source.key_test(page)
        chosen = Restriction(where.removeprefix(" WHERE "), tuple(params))
        with errors_named(endpoints.dest, difference.planned.table):
            ChunkCopier(route.restricted_to(chosen), Rejects(UNWRITTEN)).copy_range(Bounds())
    difference.update.seconds += time.perf_counter() - started


def sides_of(planned: TablePlan) -> tuple[ComparedSide, ComparedSide]:
    """Prepare both sides of a planned table for comparison."""
    route = planned.route
    both = route.source, route.dest
    stored = (engine.catalogue.stored_columns(planned.table.name) for engine in both)
    return sides(planned.table, TableEnds(*both, *stored), route.mappings)
