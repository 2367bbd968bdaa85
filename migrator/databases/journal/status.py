"""How far the run in a destination is, read from its journal by another process than the one that makes it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from types import TracebackType

from django.db import Error
from django.db.models import Count, Min, Q, Sum
from django.db.models.query import QuerySet
from django.utils import timezone

from ...errors import MigratorError
from ..endpoints import open_engine, to_migrator_error
from ..engines.base.catalogue import DeferredObject
from ..engines.base.engine import Engine
from ..engines.base.errors import Severity
from ..engines.base.session_lifecycle import DatabaseInfo
from .checks import OTHER_COLUMNS, UNREADABLE, check_run, damaged
from .records import TABLES, Chunk, ChunkState, Outcome, Run, RunState

RATE_SECONDS = 30.0  # over which a rate is measured while a run is watched


class Activity(StrEnum):
    """Whether a run works."""

    NONE = "none"
    WORKING = "working"
    INTERRUPTED = "interrupted"
    FINISHED = "finished"


@dataclass(frozen=True)
class TableStatus:
    """How far a table is whose copy has begun."""

    table: str
    rows_read: int
    rows_total: int | None
    is_done: bool


@dataclass(frozen=True)
class RunStatus:
    """How far a run is. ``phase`` is ``None`` if it has recorded nothing yet, or if there is no run.

    Row counts are those of committed chunks. ``rows_total`` is what the plan counted; ``None`` if it was not recorded.
    """

    dest: DatabaseInfo
    activity: Activity
    asked: datetime
    phase: str | None = None
    source: str | None = None
    host: str | None = None
    pid: int | None = None
    started: datetime | None = None
    last_seen: datetime | None = None
    tables_total: int = 0
    tables: tuple[TableStatus, ...] = ()
    rows_total: int | None = None
    rows_read: int = 0
    rows_written: int = 0
    rows_rejected: int = 0
    dropped: tuple[DeferredObject, ...] = ()
    # How to continue the run, in lines for people.
    hint: str = ""
    # How the run has ended, if its journal was kept.
    outcome: Outcome | None = None
    # Rows per second: lately if the run is watched, otherwise since it started.
    rate: float | None = None

    @property
    def tables_done(self) -> int:
        """How many tables are copied completely."""
        return sum(table.is_done for table in self.tables)

    @property
    def seconds_left(self) -> float | None:
        """How long the rest of the rows will take at this rate, without what comes after the last row."""
        if self.rate is None or not self.rate or self.rows_total is None or self.phase != RunState.COPYING:
            return None
        return max(self.rows_total - self.rows_read, 0) / self.rate


@dataclass
class StatusReader:
    """Reads the status of a destination's run as often as it is asked, over one connection that never writes."""

    alias: str
    _engine: Engine | None = None
    # When how many rows were read, for the rate.
    _readings: deque[tuple[float, int]] = field(default_factory=deque)

    def __enter__(self) -> StatusReader:
        self._engine = open_engine(self.alias)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._engine is not None:
            with suppress(Error):
                self._engine.close()

    @property
    def engine(self) -> Engine:
        if self._engine is None:
            raise RuntimeError("not open")
        return self._engine

    def read(self) -> RunStatus:
        """Read the status. Raises :exc:`MigratorError` if the journal cannot be read."""
        try:
            with self.engine.without_writes():
                return self._with_rate(self._status())
        except Error as error:
            if not self._has_journal():  # the run has ended while its journal was read
                return self._nothing()
            if self.engine.severity(error) is Severity.RETRY:
                raise to_migrator_error(error, [self.engine]) from error
            raise damaged(self.alias, OTHER_COLUMNS) from error

    def read_patiently(self, last: RunStatus) -> RunStatus:
        """Read the status, or return the last one if another session's lock prevents that at this moment."""
        try:
            return self.read()
        except MigratorError as error:
            cause = error.__cause__
            if isinstance(cause, Error) and self.engine.severity(cause) is Severity.RETRY:
                return replace(last, asked=timezone.now())
            raise

    def _has_journal(self) -> bool:
        try:
            return TABLES[0] in self.engine.visibility.created_here(TABLES)
        except Error:
            return True

    def _nothing(self) -> RunStatus:
        is_locked = self.engine.is_locked()
        activity = Activity.WORKING if is_locked else Activity.NONE
        return RunStatus(self.engine.describe(), activity, timezone.now())

    def _status(self) -> RunStatus:
        present = self.engine.visibility.created_here(TABLES)
        run = QuerySet(Run, using=self.alias).order_by("-id").first() if TABLES[0] in present else None
        if run is None or run.state in (RunState.MIGRATED, RunState.HANDLERS):
            return self._nothing()
        is_over = run.state in (RunState.FINISHED, RunState.KEPT)
        if not is_over:
            check_run(self.alias, run)
        try:
            planned = _planned(run)
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise (_unreadable(self.alias) if is_over else damaged(self.alias, UNREADABLE)) from error
        if not is_over:
            self.engine.claim(planned.tables)
            activity = Activity.WORKING if self.engine.is_locked() else Activity.INTERRUPTED
        elif self.engine.is_locked():
            return self._nothing()  # another run has begun
        else:
            activity = Activity.FINISHED
        return self._of_run(run, planned, activity, self._tables(planned.rows) if TABLES[1] in present else [])

    def _of_run(
        self, run: Run, planned: _Planned, activity: Activity, chunks: Sequence[tuple[TableStatus, int, int]]
    ) -> RunStatus:
        is_over = activity is Activity.FINISHED
        return RunStatus(
            self.engine.describe(),
            activity,
            timezone.now(),
            str(run.state),
            planned.source,
            run.host,
            run.pid,
            _aware(run.started),
            _aware(run.heartbeat),
            len(planned.tables),
            tuple(table for table, _, _ in chunks),
            sum(planned.rows.values()) if planned.rows else None,
            sum(table.rows_read for table, _, _ in chunks),
            sum(written for _, written, _ in chunks),
            sum(rejected for _, _, rejected in chunks),
            () if is_over else tuple(run.dropped_objects()),
            "" if is_over else run.hint(),
            planned.outcome if is_over else None,
        )

    def _tables(self, total: Mapping[str, int]) -> list[tuple[TableStatus, int, int]]:
        """Return the tables whose chunks are recorded, each with its written and rejected rows."""
        found = (
            QuerySet(Chunk, using=self.alias)
            .values("table")
            .annotate(
                pending=Count("id", filter=Q(state=ChunkState.PENDING)),
                read=Sum("rows_read"),
                written=Sum("rows_written"),
                rejected=Sum("rows_rejected"),
                first=Min("id"),
            )
            .order_by("first")
        )
        return [
            (
                TableStatus(one["table"], int(one["read"]), total.get(one["table"]), not one["pending"]),
                int(one["written"]),
                int(one["rejected"]),
            )
            for one in found
        ]

    def _with_rate(self, status: RunStatus) -> RunStatus:
        """Add the rate: of the last half minute if the status was read before, otherwise since the run started."""
        if status.activity is not Activity.WORKING or status.phase != RunState.COPYING or status.started is None:
            return status
        now = time.monotonic()
        self._readings.append((now, status.rows_read))
        while len(self._readings) > 2 and now - self._readings[0][0] > RATE_SECONDS:
            self._readings.popleft()
        since, rows = self._readings[0]
        if status.rows_read > rows:
            return replace(status, rate=(status.rows_read - rows) / (now - since))
        seconds = (status.asked - status.started).total_seconds()
        return replace(status, rate=status.rows_read / seconds if seconds > 0 and status.rows_read else None)


@dataclass(frozen=True)
class _Planned:
    """What the record of a run has about its plan and its end."""

    source: str
    tables: tuple[str, ...]
    rows: Mapping[str, int]
    outcome: Outcome | None


def _planned(run: Run) -> _Planned:
    """Read a run's record. Raises :exc:`ValueError` and others if that is not possible."""
    identity = run.recorded_identity()
    rows = {str(table): int(count) for table, count in run.planned_rows().items()}
    return _Planned(str(identity["source"]), tuple(identity["tables"]), rows, run.outcome)


def _unreadable(alias: str) -> MigratorError:
    return MigratorError(
        f"The record of the finished run in {alias!r} cannot be read. Nothing depends on it: the next run replaces it, "
        f"and you can drop the tables {' and '.join(TABLES)} there."
    )


def _aware(moment: datetime) -> datetime:
    """Return a moment of the journal with its time zone, which projects without USE_TZ do not store."""
    return moment if timezone.is_aware(moment) else timezone.make_aware(moment)


def migrator_status(*, dest: str) -> RunStatus:
    """Return how far the run into a database of ``DATABASES`` is. Writes nothing, and waits for no lock of the run."""
    with StatusReader(dest) as reader:
        return reader.read()
