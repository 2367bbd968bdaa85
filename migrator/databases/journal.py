"""The run and its chunks, in two small tables of the destination: a chunk's rows and its record commit together."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.apps.registry import Apps
from django.conf import settings
from django.db import DatabaseError, connections, models, transaction
from django.db.models.base import ModelState
from django.db.models.query import QuerySet
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac

from ..errors import MigratorError
from .chunks import Bounds, decode_key, encode_key
from .engines.base.catalogue import DeferredObject
from .engines.base.engine import Engine
from .engines.registry import engine_for
from .row_counts import RowCounts

PREPARING, COPYING, FINISHING = "preparing", "copying", "finishing"
FINISHED, KEPT = "finished", "kept"  # only the journal is left: to be dropped, or to stay as asked
MIGRATED = "migrated"  # no run yet: a record of the rows that migrations have made
HANDLERS = "handlers"  # no run yet: migrations are applied, and a post_migrate handler has failed
NO_RUN = (FINISHED, KEPT, MIGRATED, HANDLERS)
PENDING, DONE = "pending", "done"
MARK_BATCH = 500
AFTERWARDS = -1  # the number of what is no chunk, but counts with them
BEAT_SECONDS = 15.0
OTHER_COLUMNS = "its tables have other columns than this version of migrator uses"
SIGNED = "\nsigned:"  # in no JSON that is written in one line


class DamagedJournal(MigratorError):
    """The journal does not tell what an unfinished run has done."""


class _Name(models.CharField):  # type: ignore[type-arg]
    """The name of a table, which is another one where only its case differs, whatever the database's collation."""

    def db_parameters(self, connection: Any) -> Any:
        return {**super().db_parameters(connection), "collation": engine_for(connection).names_collation}


class _Record(models.Model):
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


class Run(_Record):
    """One run: what was planned, how far it is, and what has to be put back."""

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

    def items_taken_off(self) -> list[DeferredObject]:
        """List what this run took off and has to put back.

        The statements in there are for people to read only, unless :attr:`is_signed`.
        """
        return [DeferredObject.from_json(item) for item in json.loads(self._record_and_signature()[0])]

    @property
    def is_signed(self) -> bool:
        """Whether this project has planned the run: anyone who can write to the table could have other SQL executed."""
        record, signature = self._record_and_signature()
        signed = [self.identity, self.empties, record]
        keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
        return any(constant_time_compare(signature, _signature(signed, key)) for key in keys)

    def sign(self) -> None:
        """Sign what the run was planned to do, with the project's SECRET_KEY."""
        signature = _signature([self.identity, self.empties, self.taken_off], settings.SECRET_KEY)
        self.taken_off += SIGNED + signature

    def _record_and_signature(self) -> tuple[str, str]:
        """Take apart what :meth:`sign` made; older versions wrote no signature."""
        record, mark, signature = self.taken_off.rpartition(SIGNED)
        return (record, signature) if mark else (self.taken_off, "")

    def recorded_identity(self) -> dict[str, Any]:
        """Return what has to be the same for the run to go on."""
        identity: dict[str, Any] = json.loads(self.identity)
        return identity

    def holder(self) -> str:
        """Tell who runs it, for a message."""
        times = [f"{moment:%Y-%m-%d %H:%M:%S}" for moment in (self.started, self.heartbeat)]
        return f"process {self.pid} on {self.host}, started {times[0]} UTC, last seen {times[1]} UTC"


def _signature(parts: Sequence[Any], key: str | bytes) -> str:
    return salted_hmac("migrator.databases.journal", json.dumps(parts), secret=key, algorithm="sha256").hexdigest()


class Chunk(_Record):
    """One range of one table: copied or not."""

    id = models.BigAutoField(primary_key=True)
    table = _Name(max_length=191)  # four bytes each: as many as an index of any row format takes whole
    number = models.IntegerField()
    lower = models.TextField(null=True)
    upper = models.TextField(null=True)
    state = models.CharField(max_length=20, default=PENDING)
    rows_read = models.BigIntegerField(default=0)
    rows_written = models.BigIntegerField(default=0)
    rows_rejected = models.BigIntegerField(default=0)
    bytes_written = models.BigIntegerField(default=0)

    class Meta:
        apps = Run._meta.apps
        app_label = "migrator"
        db_table = "migrator_chunk"
        constraints = (models.UniqueConstraint(fields=["table", "number"], name="migrator_chunk_once"),)

    def bounds(self) -> Bounds:
        """Return the keys that this chunk covers."""
        return Bounds(decode_key(self.lower), decode_key(self.upper))

    def tally(self) -> RowCounts:
        """Return what was moved, once it is done."""
        return RowCounts(self.rows_read, self.rows_written, self.rows_rejected, self.bytes_written)


TABLES = (Run._meta.db_table, Chunk._meta.db_table)


def holds_unfinished_run(engine: Engine) -> bool:
    """Whether a run into this database has not come to its end: its rows are not all there, or its keys are off.

    Asks nothing that fails, for that would end the snapshot of a source.
    """
    present = engine.visibility.created_here(TABLES)
    if TABLES[0] in present and "state" in engine.catalogue.stored_columns(TABLES[0]):
        states = {state for (state,) in engine.fetch_all(f"SELECT state FROM {engine.quote(TABLES[0])}")}
        if states:
            return not states <= set(NO_RUN)
    return TABLES[1] in present and not engine.is_empty(TABLES[1])


class Journal:
    """Reads and writes the journal of one destination. Every write belongs to the caller's transaction."""

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self._connection = connections[alias]
        self._beaten = time.monotonic()

    def _present(self) -> set[str]:
        return engine_for(self._connection).visibility.created_here(TABLES)

    def create(self) -> None:
        """Create the journal's tables, whole or not at all where the engine can.

        The statements are Django's own, but run without its schema editor, which on SQLite checks every foreign key
        of the database and changes the session. A table of chunks that an older version has left is made again.
        """
        present = self._present()
        editor = self._connection.schema_editor()
        with transaction.atomic(using=self.alias), self._connection.cursor() as cursor:
            if Chunk._meta.db_table in present and not self._numbers_chunks_once(cursor):
                cursor.execute(f"DROP TABLE {self._quoted(Chunk)}")
                present.remove(Chunk._meta.db_table)
            for model in (Chunk, Run):
                if model._meta.db_table not in present:
                    sql, params = editor.table_sql(model)
                    cursor.execute(sql, params)

    def _quoted(self, model: type[_Record]) -> str:
        return self._connection.ops.quote_name(model._meta.db_table)

    def _numbers_chunks_once(self, cursor: Any) -> bool:
        found = self._connection.introspection.get_constraints(cursor, Chunk._meta.db_table)
        return any(one["unique"] and set(one["columns"]) == {"table", "number"} for one in found.values())

    def _delete(self, model: type[_Record], condition: str = "", params: Sequence[Any] = ()) -> None:
        # Not QuerySet.delete(), which sends a signal for each row where the project has receivers for all senders.
        with self._connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {self._quoted(model)}{condition}", params)

    def _update(self, record: Run | Chunk, *names: str) -> None:
        values = {name: getattr(record, name) for name in names}
        if not QuerySet(type(record), using=self.alias).filter(pk=record.pk).update(**values):
            raise self._damaged(f"a record in {record._meta.db_table} is gone")

    def drop(self) -> None:
        """Remove the journal's tables; the run's own goes last, so that a crash in between is understood."""
        present = self._present()
        with transaction.atomic(using=self.alias), self._connection.cursor() as cursor:
            for model in (Chunk, Run):
                if model._meta.db_table in present:
                    cursor.execute(f"DROP TABLE {self._quoted(model)}")

    def current(self) -> Run | None:
        """Return the run that is not finished, or ``None`` where there is none.

        Raises :exc:`DamagedJournal` where the tables do not tell.
        """
        present = self._present()
        try:
            run = QuerySet(Run, using=self.alias).order_by("-id").first() if TABLES[0] in present else None
            if run is None:
                if TABLES[1] in present and QuerySet(Chunk, using=self.alias).exists():
                    raise self._damaged("it has chunks and no run")
                return None
            if run.state in NO_RUN:
                return None
            if TABLES[1] not in present:
                raise self._damaged(f"the table {TABLES[1]} is missing")
            self._check(run)
        except DatabaseError as error:
            raise self._damaged(OTHER_COLUMNS) from error
        return run

    def _check(self, run: Run) -> None:
        if run.state not in (PREPARING, COPYING, FINISHING):
            raise self._damaged(f"the run's state is {run.state!r}")
        try:
            run.items_taken_off()
            run.recorded_identity()
        except (ValueError, TypeError) as error:
            raise self._damaged("what it says of the run cannot be read") from error
        for table in QuerySet(Chunk, using=self.alias).values_list("table", flat=True).distinct():
            self._check_chunks(table)

    def _check_chunks(self, table: str) -> None:
        """The chunks of a table follow each other without a gap, and are open at both ends."""
        last: Chunk | None = None
        for chunk in self.chunks(table):
            if chunk.number == AFTERWARDS:
                continue
            try:
                chunk.bounds()
            except (ValueError, TypeError, LookupError) as error:
                raise self._damaged(f"a bound of table {table!r} cannot be read") from error
            follows = (0, None) if last is None else (last.number + 1, last.upper)
            if (chunk.number, chunk.lower) != follows:
                raise self._damaged(f"the chunks of table {table!r} have a gap")
            last = chunk
        if last is not None and last.upper is not None:
            raise self._damaged(f"the chunks of table {table!r} have no end")

    def _damaged(self, what: str) -> DamagedJournal:
        return DamagedJournal(
            f"The journal of the unfinished run in {self.alias!r} is damaged: {what}. What was copied cannot be told "
            f"from it. Drop the tables {' and '.join(TABLES)} there, or rename them if they are not migrator's, and "
            "compare the indexes, keys and triggers with the migrations. Then start anew: batch_migrate with --replace "
            f"{self.alias} copies all rows again, and with --update it rewrites only what differs."
        )

    def begin(self, identity: dict[str, Any], taken_off: Iterable[DeferredObject], *, empties: bool) -> Run:
        """Record a run before it changes anything; what it will take off is recorded with it."""
        self.create()
        now = timezone.now()
        with transaction.atomic(using=self.alias):
            self._delete(Chunk)
            self._delete(Run)
            run: Any = Run(
                identity=json.dumps(identity, sort_keys=True),
                state=PREPARING,
                empties=empties,
                taken_off=json.dumps([item.as_json() for item in taken_off]),
                host=socket.gethostname(),
                pid=os.getpid(),
                started=now,
                heartbeat=now,
            )
            run.sign()
            QuerySet(Run, using=self.alias).bulk_create([run])
            return QuerySet(Run, using=self.alias).get()  # with its key, which not every engine gives back

    def set_state(self, run: Run, state: str) -> None:
        """Move the run to its next stage."""
        run.state = state
        self._update(run, "state")

    def end(self, run: Run, *, rows_rejected: int, is_kept: bool) -> None:
        """Close a run that is through: its journal goes, unless it shall be kept."""
        run.state, run.rows_rejected = KEPT if is_kept else FINISHED, rows_rejected
        self._update(run, "state", "rows_rejected")
        if not is_kept:
            self.drop()

    def abandon(self, run: Run) -> bool:
        """Close a run that does not go on; return whether its tables are gone, which others do not depend on."""
        run.state = KEPT
        self._update(run, "state")
        try:
            self.drop()
        except DatabaseError:
            return False
        return True

    def clear_away(self) -> Run | None:
        """Drop what a crash in the middle of :meth:`begin` or :meth:`end` has left, and return the finished run."""
        present = self._present()
        models = [model for model in (Run, Chunk) if model._meta.db_table in present]
        try:
            is_empty = bool(models) and not any(QuerySet(model, using=self.alias).exists() for model in models)
            run = QuerySet(Run, using=self.alias).filter(state=FINISHED).first() if Run in models else None
        except DatabaseError as error:
            raise self._damaged(OTHER_COLUMNS) from error
        if is_empty:
            self.drop()
            return None
        if run is not None:
            self.drop()
        return run

    def record_made(self, fingerprints: Mapping[str, list[Any]]) -> None:
        """Record the rows that migrations have made, by table; the next run to begin drops the record."""
        if not fingerprints and not self.made_by_migrations():
            return
        self._replace(MIGRATED, json.dumps(fingerprints))

    def _replace(self, state: str, identity: str) -> None:
        """Record what is no run, in the place of the last such record."""
        self.create()
        now = timezone.now()
        run: Any = Run(
            identity=identity,
            state=state,
            taken_off="[]",
            host=socket.gethostname(),
            pid=os.getpid(),
            started=now,
            heartbeat=now,
        )
        run.sign()
        with transaction.atomic(using=self.alias):
            self._delete(Run, " WHERE state = %s", [state])
            QuerySet(Run, using=self.alias).bulk_create([run])

    def made_by_migrations(self) -> dict[str, list[Any]]:
        """Return what :meth:`record_made` has recorded; nothing if there is no record of this project's."""
        if TABLES[0] not in self._present():
            return {}
        run: Run | None = QuerySet(Run, using=self.alias).filter(state=MIGRATED).order_by("-id").first()
        return run.recorded_identity() if run and run.is_signed else {}

    def forget_made(self) -> None:
        """Drop that record, and the tables with it if they hold nothing else."""
        self._forget(MIGRATED)
        self._forget(HANDLERS)

    def _forget(self, state: str) -> None:
        if TABLES[0] in self._present():
            self._delete(Run, " WHERE state = %s", [state])
            self.clear_away()

    def record_handlers(self, *, lacking: bool) -> None:
        """Record whether handlers of ``post_migrate`` still have to run after migrations that are all applied."""
        if lacking:
            self._replace(HANDLERS, "{}")
        else:
            self._forget(HANDLERS)

    def lacks_handlers(self) -> bool:
        """Return whether handlers still have to run there; a run that begins drops the record."""
        return TABLES[0] in self._present() and QuerySet(Run, using=self.alias).filter(state=HANDLERS).exists()

    def beat(self) -> None:
        """Record now and then that the run is alive."""
        if time.monotonic() - self._beaten > BEAT_SECONDS:
            self._beaten = time.monotonic()
            QuerySet(Run, using=self.alias).update(heartbeat=timezone.now())

    def take_over(self, run: Run) -> None:
        """Record this process as the one that runs it now."""
        run.host, run.pid, run.heartbeat = socket.gethostname(), os.getpid(), timezone.now()
        self._update(run, "host", "pid", "heartbeat")

    def is_run_by(self, run: Run) -> bool:
        """Tell whether the run is still in the hands of whom this record names."""
        return QuerySet(Run, using=self.alias).filter(pk=run.pk, host=run.host, pid=run.pid).exists()

    def is_complete(self, tables: Iterable[str]) -> bool:
        """Ask the destination itself whether these tables were cut into chunks, and all of them are done."""
        states = set(QuerySet(Chunk, using=self.alias).values_list("table", "state").distinct())
        return all((table, DONE) in states and (table, PENDING) not in states for table in tables)

    def chunks(self, table: str) -> list[Chunk]:
        """Return the chunks of a table in their order; empty where it has not been cut yet."""
        return list(QuerySet(Chunk, using=self.alias).filter(table=table).order_by("number"))

    def add_chunks(self, table: str, ranges: Iterable[Bounds]) -> list[Chunk]:
        """Record the chunks of a table, all of them or none."""
        chunks: list[Any] = [
            Chunk(table=table, number=number, lower=encode_key(bounds.lower), upper=encode_key(bounds.upper))
            for number, bounds in enumerate(ranges)
        ]
        with transaction.atomic(using=self.alias):
            QuerySet(Chunk, using=self.alias).bulk_create(chunks, batch_size=MARK_BATCH)
        return self.chunks(table)

    def add_whole(self, tables: Mapping[str, bool]) -> dict[str, list[Chunk]]:
        """Record tables that are not cut yet as one chunk each, and return those; ``True`` is for one that is done."""
        of_all: QuerySet[Chunk] = QuerySet(Chunk, using=self.alias)
        known = set(of_all.values_list("table", flat=True).distinct())
        added = [table for table in tables if table not in known]
        chunks: list[Any] = [Chunk(table=table, number=0, state=DONE if tables[table] else PENDING) for table in added]
        with transaction.atomic(using=self.alias):
            of_all.bulk_create(chunks, batch_size=MARK_BATCH)
        found = of_all.filter(number=0) if added else ()
        return {chunk.table: [chunk] for chunk in found if chunk.table in set(added)}

    def is_done(self, chunk: Chunk) -> bool:
        """Ask the destination itself whether a chunk was committed: the answer after a lost link."""
        return QuerySet(Chunk, using=self.alias).filter(pk=chunk.pk, state=DONE).exists()

    def claim(self, chunk: Chunk) -> RowCounts | None:
        """Hold a chunk's record until the end of the transaction; return what was moved where it is done already.

        A server may still be at the chunk for a process that is gone: then this waits for what comes of it.
        """
        if not self._connection.features.has_select_for_update:
            return None  # nothing outlives the process
        try:
            held: Chunk = QuerySet(Chunk, using=self.alias).select_for_update().get(pk=chunk.pk)
        except Chunk.DoesNotExist:
            raise self._damaged(f"a chunk of table {chunk.table!r} is gone") from None
        return held.tally() if held.state == DONE else None

    def chunk(self, number: int) -> Chunk:
        """Return one chunk by its key."""
        return QuerySet(Chunk, using=self.alias).get(pk=number)

    def save(self, chunk: Chunk) -> None:
        """Record what became of a chunk."""
        self._update(chunk, *(field.attname for field in Chunk._meta.concrete_fields if not field.primary_key))

    def take_back(self, table: str, rows: int) -> None:
        """Record that rows of a table were rejected after all its chunks were done."""
        of_all: QuerySet[Chunk] = QuerySet(Chunk, using=self.alias)
        found = of_all.filter(table=table, number=AFTERWARDS).first() or Chunk(table=table, number=AFTERWARDS)
        found.state = DONE
        found.rows_written -= rows
        found.rows_rejected += rows
        if found.pk is None:
            of_all.bulk_create([found])
        else:
            self.save(found)

    def forget(self, table: str) -> None:
        """Let every chunk of a table be copied again."""
        self._delete(Chunk, f" WHERE {self._connection.ops.quote_name('table')} = %s", [table])
