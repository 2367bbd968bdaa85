"""The records of the journal: one run, its chunks, and what its command and workers on other hosts exchange.

Their columns and values are stored, and keep their names.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from django.apps.registry import Apps
from django.db import models
from django.db.models.base import ModelState

from ..chunks import Bounds
from ..engines.base.catalogue import DeferredObject
from ..engines.registry import engine_for
from ..primary_keys import decode_key
from ..row_counts import RowCounts
from . import signing
from .format import WrittenIn, noted, unstamped, with_outcome, written_in

COUNTS = ("rows_read", "rows_written", "rows_rejected", "bytes_written")
COPIED = ("state", *COUNTS)  # the columns that change when a chunk is copied
AFTERWARDS = -1  # the number of a record that is not a chunk: rows that were rejected after a table's last chunk


class RunState(StrEnum):
    """How far a run is, or what its record stands for if it is not a run."""

    PREPARING = "preparing"
    COPYING = "copying"
    FINISHING = "finishing"
    # Not a copy: the database is the scratch of a forecast, and holds some of a sample.
    FORECASTING = "forecasting"
    # Only the journal is left: to be dropped, or to be kept as the user asked.
    FINISHED = "finished"
    KEPT = "kept"
    # Not a run yet: the rows that migrations have made, or a post_migrate handler that failed after the migrations.
    MIGRATED = "migrated"
    HANDLERS = "handlers"


UNFINISHED = (RunState.PREPARING, RunState.COPYING, RunState.FINISHING, RunState.FORECASTING)
NOT_UNFINISHED = tuple(state for state in RunState if state not in UNFINISHED)


class ChunkState(StrEnum):
    """Whether a chunk is committed in the destination."""

    PENDING = "pending"
    DONE = "done"


@dataclass(frozen=True)
class Outcome:
    """How a run has ended that keeps its journal: its exit code, and what was compared, as ``--verify`` names it."""

    exit_code: int
    verify: str


class _Name(models.CharField):  # type: ignore[type-arg]
    """The name of a table, compared by case whatever the database's collation."""

    def db_parameters(self, connection: Any) -> Any:
        return {**super().db_parameters(connection), "collation": engine_for(connection).features.names_collation}


class Record(models.Model):
    """A row of the journal, made without the signals of Django's models.

    Receivers for all senders belong to the project. Its code would run in the middle of a run, and might write rows of
    its own into the destination.
    """

    def __init__(self, *values: Any, **by_name: Any) -> None:
        self._state = ModelState()
        names = [field.attname for field in self._meta.concrete_fields]
        given = dict(zip(names, values, strict=False)) | by_name
        for field in self._meta.concrete_fields:
            setattr(self, field.attname, given[field.attname] if field.attname in given else field.get_default())

    class Meta:
        abstract = True


class Run(Record):
    """One run: what was planned, how far it is, and which objects it has to recreate."""

    id = models.BigAutoField(primary_key=True)
    identity = models.TextField()
    state = models.CharField(max_length=20)
    taken_off = models.TextField()
    empties = models.BooleanField(default=False)
    rows_rejected = models.BigIntegerField(default=0)
    host = models.CharField(max_length=255)
    pid = models.IntegerField()
    started = models.DateTimeField()
    heartbeat = models.DateTimeField()

    class Meta:
        apps = Apps()
        app_label = "migrator"
        db_table = "migrator_run"

    def dropped_objects(self) -> list[DeferredObject]:
        """Return the objects that this run drops and has to recreate.

        Their statements are for people to read only, unless :attr:`is_signed`. Raises :exc:`ValueError`,
        :exc:`TypeError` or :exc:`LookupError` if the record cannot be read.
        """
        return [DeferredObject.from_json(item) for item in json.loads(signing.text_of(self.taken_off))]

    @property
    def is_signed(self) -> bool:
        """Whether this project planned the run."""
        return signing.is_signed_here(self.taken_off, self.identity, self.empties)

    def sign(self) -> None:
        """Sign what the run was planned to do."""
        self.taken_off = signing.with_signature(signing.text_of(self.taken_off), self.identity, self.empties)

    def recorded_identity(self) -> dict[str, Any]:
        """Return what has to be the same for the run to be resumed. Raises :exc:`ValueError` if it cannot be read."""
        return unstamped(json.loads(self.identity))

    @property
    def is_forecast(self) -> bool:
        """Whether this is not a copy, but the sample of a forecast, of which nothing is to stay."""
        return bool(self.state == RunState.FORECASTING)

    def planned_rows(self) -> dict[str, int]:
        """Return how many rows were to be copied, by table; none if that was not recorded."""
        return noted(json.loads(self.identity), "rows") or {}

    def hint(self) -> str:
        """Return how to continue the run, in lines for people; empty unless this project has recorded that."""
        return (noted(json.loads(self.identity), "hint") or "") if self.is_signed else ""

    @property
    def outcome(self) -> Outcome | None:
        """How the run has ended, if it has and that was recorded."""
        found = noted(json.loads(self.identity), "outcome")
        return Outcome(**found) if found else None

    @outcome.setter
    def outcome(self, outcome: Outcome) -> None:
        self.identity = json.dumps(with_outcome(json.loads(self.identity), asdict(outcome)), sort_keys=True)
        self.sign()

    @property
    def written_in(self) -> WrittenIn:
        """The format in which the run was recorded."""
        return written_in(json.loads(self.identity))

    def holder(self) -> str:
        """Describe for people the process that makes the run."""
        times = [f"{moment:%Y-%m-%d %H:%M:%S}" for moment in (self.started, self.heartbeat)]
        return f"process {self.pid} on {self.host}, started {times[0]} UTC, last seen {times[1]} UTC"


class Chunk(Record):
    """One range of one table: copied or not."""

    id = models.BigAutoField(primary_key=True)
    table = _Name(max_length=191)  # four bytes each: as many as an index of any row format takes whole
    number = models.IntegerField()
    lower = models.TextField(null=True)
    upper = models.TextField(null=True)
    state = models.CharField(max_length=20, default=ChunkState.PENDING)
    rows_read = models.BigIntegerField(default=0)
    rows_written = models.BigIntegerField(default=0)
    rows_rejected = models.BigIntegerField(default=0)
    bytes_written = models.BigIntegerField(default=0)

    class Meta:
        apps = Run._meta.apps
        app_label = "migrator"
        db_table = "migrator_chunk"
        constraints = (models.UniqueConstraint(fields=["table", "number"], name="migrator_chunk_once"),)

    @property
    def is_done(self) -> bool:
        """Whether the chunk was committed when this record was read."""
        return bool(self.state == ChunkState.DONE)

    def bounds(self) -> Bounds:
        """Return the keys that this chunk covers. Raises :exc:`ValueError` and others if they cannot be read."""
        return Bounds(decode_key(self.lower), decode_key(self.upper))

    def counts(self) -> RowCounts:
        """Return what was copied, once it is done."""
        return RowCounts(*(getattr(self, name) for name in COUNTS))

    def done(self, copied: RowCounts) -> Chunk:
        """Return the record of this chunk once so much is copied."""
        counts = {name: getattr(copied, name) for name in COUNTS}
        same = {name: getattr(self, name) for name in ("id", "table", "number", "lower", "upper")}
        return Chunk(**same, state=ChunkState.DONE, **counts)


class Briefing(Record):
    """What workers on other hosts have to know of a run, for as long as its command wants them."""

    id = models.BigAutoField(primary_key=True)
    token = models.CharField(max_length=32)
    body = models.TextField()

    class Meta:
        apps = Run._meta.apps
        app_label = "migrator"
        db_table = "migrator_briefing"


class ReportKind(StrEnum):
    """What a worker on another host reports, and what the command asks one to compare."""

    JOINED = "joined"  # it has its sessions; the body has their identities
    TAKEN = "taken"  # it begins a chunk or range
    ALIVE = "alive"  # it is still busy with that
    REJECTED = "rejected"  # a row of a chunk, which is committed with it
    MESSAGE = "message"  # for people
    RANGE = "range"  # of keys, whose rows are to be compared: from the command
    COMPARED = "compared"  # the rows of a range; the body says whether they are equal
    FAILED = "failed"  # a chunk or range, with the error
    CANNOT = "cannot"  # it cannot take part, and says why


class WorkerReport(Record):
    """One line from a worker on another host, or for one. What it has copied is in the chunk's own record."""

    id = models.BigAutoField(primary_key=True)
    token = models.CharField(max_length=32)
    worker = models.CharField(max_length=64)
    kind = models.CharField(max_length=20)
    table = _Name(max_length=191, null=True)
    number = models.IntegerField(null=True)
    body = models.TextField(default="")

    class Meta:
        apps = Run._meta.apps
        app_label = "migrator"
        db_table = "migrator_report"


TABLES = (Run._meta.db_table, Chunk._meta.db_table)
# With those that only a run with workers on other hosts has.
ALL_TABLES = (*TABLES, Briefing._meta.db_table, WorkerReport._meta.db_table)
