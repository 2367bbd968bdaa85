"""The second pass of a move: what differs is rewritten, what is gone is deleted, and what is equal stays untouched.

First the whole difference is found, without a write. Then it is applied in one transaction of the destination: all
deletions, children first, then all insertions, parents first. So the destination holds the old state or the new one,
whenever the run is cut off, and no unique value is taken while its old row is still there.
"""

from __future__ import annotations

import dataclasses
import pickle
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from typing import IO

from django.db import transaction

from ..console.progress import Progress
from .chunks import Bounds, Restriction
from .copying.chunk import ChunkCopier
from .copying.rejects import Rejects
from .copying.retry import Retries
from .endpoints import Endpoints
from .engines.base.session import Row
from .planning.plan import Plan, TablePlan
from .planning.triggers import without_triggers
from .update_failures import UNWRITTEN, blaming, delete_rows
from .verification.compared_side import ComparedSide, sides
from .verification.contents import Pairing
from .verification.rows import CHANGED, EXTRA, LOOKUP, MISSING, RowDifference
from .verification.table_comparison import find_differences


@dataclass
class Update:
    """What was done to one table, in rows, and how long it took in seconds."""

    compared: int = 0
    inserted: int = 0
    rewritten: int = 0
    deleted: int = 0
    seconds: float = 0.0

    @property
    def changes(self) -> int:
        return self.inserted + self.rewritten + self.deleted


class Difference:
    """The rows of one table that differ: their keys, kept in a file without a name, for there may be many."""

    def __init__(self, planned: TablePlan) -> None:
        self.planned = planned
        self.update = Update()
        self._going: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as this object
        self._coming: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115

    def add(self, difference: RowDifference) -> None:
        """Take note of a row: a changed one goes, and comes again."""
        self.update.deleted += difference.kind == EXTRA
        self.update.inserted += difference.kind == MISSING
        self.update.rewritten += difference.kind == CHANGED
        if difference.kind in (EXTRA, CHANGED):
            pickle.dump(difference.key, self._going)
        if difference.kind in (MISSING, CHANGED):
            pickle.dump(difference.key, self._coming)

    def going(self) -> Iterator[list[Row]]:
        """Give the keys of rows to delete, in pages."""
        return _pages(self._going)

    def coming(self) -> Iterator[list[Row]]:
        """Give the keys of rows to insert, in pages."""
        return _pages(self._coming)

    def close(self) -> None:
        """Forget the keys."""
        self._going.close()
        self._coming.close()


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


def find_updates(plan: Plan, *, chunk_size: int, progress: Progress, check: Callable[[], None]) -> list[Difference]:
    """Compare every table of a plan, in load order; ``check`` is called before each."""
    found = []
    with ExitStack() as on_error:
        for planned in plan.tables:
            check()
            difference, route = Difference(planned), planned.route
            on_error.callback(difference.close)
            started = time.perf_counter()
            pairing = Pairing(planned.table, route.source, route.dest, planned.source_rows, mappings=route.mappings)
            contents = find_differences(pairing, chunk_size=chunk_size, progress=progress, each=difference.add)
            difference.update.compared = contents.checked
            difference.update.seconds = time.perf_counter() - started
            found.append(difference)
        on_error.pop_all()
    return found


def apply_updates(
    endpoints: Endpoints,
    differences: Sequence[Difference],
    progress: Progress,
    check: Callable[[], None],
    before_commit: Callable[[], None],
    *,
    keeps_triggers: bool = False,
) -> None:
    """Make the destination equal to the source, in one transaction; ``check`` is called between its steps.

    Triggers of the tables that change do not fire, unless ``keeps_triggers`` is set or the engine has no way to.

    Raises :exc:`~migrator.errors.DataRejected` for a row that the destination cannot hold; then nothing was written.
    """
    total = sum(difference.update.changes for difference in differences)
    if not total:
        return
    changing = [difference.planned.table.name for difference in differences if difference.update.changes]

    def attempt() -> None:
        with (
            progress.task("rewriting", total) as task,
            transaction.atomic(using=endpoints.dest.alias),
            without_triggers(endpoints.dest, [] if keeps_triggers else changing),
        ):
            for difference in reversed(differences):
                _delete(endpoints, difference, check)
            for difference in differences:
                _insert(endpoints, difference, check)
                task.advance(difference.update.changes)
            with blaming(endpoints.dest):
                endpoints.dest.bind_now()
            before_commit()

    Retries(endpoints, progress, check).run(attempt)


def _delete(endpoints: Endpoints, difference: Difference, check: Callable[[], None]) -> None:
    started = time.perf_counter()
    for page in difference.going():
        check()
        delete_rows(endpoints.dest, difference.planned.table, _sides(difference.planned)[1], page)
    difference.update.seconds += time.perf_counter() - started


def _insert(endpoints: Endpoints, difference: Difference, check: Callable[[], None]) -> None:
    started = time.perf_counter()
    source, _ = _sides(difference.planned)
    # What other rows still lack is not held against these: foreign keys are checked when all are there.
    route = dataclasses.replace(difference.planned.route, binds_late=True)
    for page in difference.coming():
        check()
        where, params = source.key_test(page)
        chosen = Restriction(where.removeprefix(" WHERE "), tuple(params))
        with blaming(endpoints.dest, difference.planned.table):
            ChunkCopier(route.restricted_to(chosen), Rejects(UNWRITTEN)).copy_range(Bounds())
    difference.update.seconds += time.perf_counter() - started


def _sides(planned: TablePlan) -> tuple[ComparedSide, ComparedSide]:
    route = planned.route
    own, other = (engine.catalogue.stored_columns(planned.table.name) for engine in (route.source, route.dest))
    return sides(planned.table, route.source, route.dest, own, other, route.mappings)
