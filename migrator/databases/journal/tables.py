"""The journal's tables in a destination: they are created and dropped without Django's signals and schema editor."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.db import connections, transaction
from django.db.models.query import QuerySet

from ..engines.registry import engine_for
from .checks import DamagedJournal, damaged
from .records import ALL_TABLES, Briefing, Chunk, Record, Run, WorkerReport


class JournalTables:
    """The tables of one destination. Every write belongs to the caller's transaction."""

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self._connection = connections[alias]

    def _present(self) -> set[str]:
        """Return which of the tables exist."""
        return engine_for(self._connection).visibility.created_here(ALL_TABLES)

    def create(self) -> None:
        """Create the tables of runs and chunks: both or none, if the engine can roll that back.

        A table of chunks that an older version left is created again.
        """
        present = self._present()
        with transaction.atomic(using=self.alias), self._connection.cursor() as cursor:
            if Chunk._meta.db_table in present and not self._numbers_chunks_once(cursor):
                cursor.execute(f"DROP TABLE {self._quoted(Chunk)}")
                present.remove(Chunk._meta.db_table)
            self._create(cursor, [model for model in (Chunk, Run) if model._meta.db_table not in present])

    def _create(self, cursor: Any, models: Iterable[type[Record]]) -> None:
        """Create tables.

        The statements are Django's own, but run without its schema editor, which on SQLite checks every foreign key
        of the database and changes the session.
        """
        editor = self._connection.schema_editor()
        for model in models:
            cursor.execute(*editor.table_sql(model))

    def drop(self) -> None:
        """Drop the tables; the run's own comes last, so that a crash in between is understood."""
        present = self._present()
        with transaction.atomic(using=self.alias), self._connection.cursor() as cursor:
            for model in (WorkerReport, Briefing, Chunk, Run):
                if model._meta.db_table in present:
                    cursor.execute(f"DROP TABLE {self._quoted(model)}")

    def _quoted(self, model: type[Record]) -> str:
        return self._connection.ops.quote_name(model._meta.db_table)

    def _numbers_chunks_once(self, cursor: Any) -> bool:
        found = self._connection.introspection.get_constraints(cursor, Chunk._meta.db_table)
        return any(one["unique"] and set(one["columns"]) == {"table", "number"} for one in found.values())

    def _delete(self, model: type[Record], condition: str = "", params: Sequence[Any] = ()) -> None:
        # Not QuerySet.delete(), which sends a signal for each row if the project has receivers for all senders.
        with self._connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {self._quoted(model)}{condition}", params)

    def _update(self, record: Run | Chunk, *names: str) -> None:
        values = {name: getattr(record, name) for name in names}
        if not QuerySet(type(record), using=self.alias).filter(pk=record.pk).update(**values):
            raise self._gone(type(record))

    def _gone(self, model: type[Record]) -> DamagedJournal:
        return damaged(self.alias, f"a record in {model._meta.db_table} is gone")
