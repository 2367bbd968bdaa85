"""A run that was cut off goes on: what was committed is held against the source as it is now, and kept if it agrees.

The snapshot of the first attempt ended with it. Comparing what is there with the new snapshot, and copying again what
changed in between, makes the whole destination equal to one moment of the source all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.db import transaction

from ..errors import MigratorError
from ..progress import Progress
from .columns import Way
from .comparing import Side, compare_range, pages, sides
from .journal import AFTERWARDS, DONE, PENDING, Chunk, Journal
from .plan import TablePlan
from .schema import StoredTables

Dumps = Sequence[Callable[[Any], Any]]


@dataclass(frozen=True)
class Change:
    """What of a table has to be copied again: these chunks, or, where there are none, the table from its first row."""

    table: TablePlan
    chunks: tuple[Chunk, ...]
    source: Side
    dumps: Dumps

    def undo(self, journal: Journal, progress: Progress) -> None:
        """Take the rows in question out of the destination, and mark their chunks as not copied."""
        label, dest = self.table.table.label, self.table.route.dest
        if self.chunks:
            progress.message(f"  {label}: {len(self.chunks)} chunks changed since the interruption; copied again.")
            for chunk in self.chunks:
                self._undo_chunk(journal, chunk)
            return
        progress.message(f"  {label} changed since the interruption; it is copied again.")
        with transaction.atomic(using=dest.alias):
            dest.delete_rows(self.table.table.name)
            journal.forget(self.table.table.name)

    def _undo_chunk(self, journal: Journal, chunk: Chunk) -> None:
        route = self.table.route
        key = self.table.table.key
        positions = [[reading.column.name for reading in self.source.readings].index(name) for name in key]
        test = " AND ".join(f"{route.dest.quote(name)} = %s" for name in key)
        with transaction.atomic(using=route.dest.alias):
            for page in pages(self.source, chunk.bounds(), route.restriction):
                params = [dump(row[i]) for row in page for i, dump in zip(positions, self.dumps, strict=True)]
                where = " OR ".join([f"({test})"] * len(page))
                route.dest.execute(f"DELETE FROM {route.dest.quote(self.table.table.name)} WHERE {where}", params)
            chunk.state = PENDING
            journal.save(chunk)


def find_change(
    table: TablePlan,
    journal: Journal,
    source_has: StoredTables,
    dest_has: StoredTables,
    progress: Progress,
    *,
    adds_rows: bool,
) -> Change | None:
    """Hold the committed chunks of a table against the source.

    Raises :exc:`MigratorError` where copied rows are gone from the source, and cannot be told from others that the
    destination has of its own.
    """
    route = table.route
    chunks = journal.chunks(table.table.name)
    done = [chunk for chunk in chunks if chunk.state == DONE and chunk.number != AFTERWARDS]
    written = sum(chunk.rows_written for chunk in chunks if chunk.state == DONE)
    source, dest = sides(table.table, route.source, route.dest, source_has, dest_has)
    from_the_start = Change(table, (), source, ())
    if not adds_rows and route.dest.count(table.table.name) != written:
        return from_the_start
    if not done:
        return None
    if not table.table.key:
        return _unless_mixed(from_the_start, adds_rows=adds_rows)
    dumps = _key_dumps(table, dest, dest_has)
    changed = []
    with progress.task(f"{table.table.label} (re-check)", written) as task:
        for chunk in done:
            difference = compare_range(source, dest, chunk.bounds(), route.restriction, dumps)
            if difference.found != chunk.rows_written:  # some are gone from the source, and their keys with them
                return _unless_mixed(from_the_start, adds_rows=adds_rows)
            if difference.missing or difference.changed:
                changed.append(chunk)
            task.advance(chunk.rows_written)
    return Change(table, tuple(changed), source, dumps) if changed else None


def _unless_mixed(change: Change, *, adds_rows: bool) -> Change:
    if not adds_rows:
        return change
    raise MigratorError(
        f"{change.table.table.label}: rows that were copied before the interruption are gone from the source, and the "
        "destination had rows of its own, so they cannot be told apart. Delete the copied rows there by hand, run "
        "again with --cleanup, and start anew."
    )


def _key_dumps(table: TablePlan, dest: Side, dest_has: StoredTables) -> Dumps:
    stored = dest_has[table.table.name]
    columns = {reading.column.name: reading.column for reading in dest.readings}
    ways = {conversion.column.name: conversion.way for conversion in table.route.conversions}
    connection = dest.engine.connection
    found: list[Callable[[Any], Any]] = []
    for name in table.table.key:
        column = columns[name]
        if ways[name] is Way.FIELD:
            found.append(partial(column.field.get_db_prep_value, connection=connection, prepared=False))
        else:
            dump = None if ways[name] is Way.RAW else dest.engine.values.dumper(column, stored[name])
            found.append(dump or _unchanged)
    return found


def _unchanged(value: Any) -> Any:
    return value
