"""A run that was cut off goes on: what was committed is held against the source as it is now, and kept if it agrees.

The snapshot of the first attempt ended with it. Comparing what is there with the new snapshot, and copying again what
changed in between, makes the whole destination equal to one moment of the source all the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import transaction

from ..errors import MigratorError
from ..progress import Progress
from .comparing import Side, compare_range, pages, sides
from .journal import DONE, PENDING, Chunk, Journal
from .plan import TablePlan
from .schema import StoredTables


def recheck(
    table: TablePlan,
    journal: Journal,
    source_has: StoredTables,
    dest_has: StoredTables,
    progress: Progress,
    *,
    adds_rows: bool,
) -> None:
    """Hold the committed chunks of a table against the source, and let those that differ be copied again."""
    done = [chunk for chunk in journal.chunks(table.table.name) if chunk.state == DONE]
    if not done:
        return
    route = table.route
    written = sum(chunk.rows_written for chunk in done)
    if not table.table.key or (not adds_rows and route.dest.count(table.table.name) != written):
        _start_over(table, journal, progress, adds_rows=adds_rows)
        return
    source, dest = sides(table.table, route.source, route.dest, source_has, dest_has)
    dumps = _key_dumps(table, dest, dest_has)
    with progress.task(f"{table.table.label} (re-check)", written) as task:
        for chunk in done:
            difference = compare_range(source, dest, chunk.bounds(), route.restriction, dumps)
            if difference.found != chunk.rows_written:  # some are gone from the source, and their keys with them
                _start_over(table, journal, progress, adds_rows=adds_rows)
                return
            if difference.missing or difference.changed:
                _redo(table, journal, chunk, source, dumps)
            task.advance(chunk.rows_written)


def _key_dumps(table: TablePlan, dest: Side, dest_has: StoredTables) -> list[Callable[[Any], Any]]:
    stored = dest_has[table.table.name]
    by_name = {reading.column.name: reading.column for reading in dest.readings}
    own = {conversion.column.name: conversion.way for conversion in table.route.conversions}
    found: list[Callable[[Any], Any]] = []
    for name in table.table.key:
        column = by_name[name]
        dump = None if own[name] == "raw" else dest.engine.values.dumper(column, stored[name])
        if own[name] == "field":
            field, connection = column.field, dest.engine.connection

            def dump(value: Any, field: Any = field, connection: Any = connection) -> Any:
                return field.get_db_prep_value(value, connection, prepared=False)

        found.append(dump or _unchanged)
    return found


def _unchanged(value: Any) -> Any:
    return value


def _redo(table: TablePlan, journal: Journal, chunk: Chunk, source: Side, dumps: list[Callable[[Any], Any]]) -> None:
    """Remove the rows of a chunk from the destination, by their keys, and mark it as not copied: in one transaction."""
    route = table.route
    positions = [[r.column.name for r in source.readings].index(name) for name in table.table.key]
    test = " AND ".join(f"{route.dest.quote(name)} = %s" for name in table.table.key)
    with transaction.atomic(using=route.dest.alias):
        for page in pages(source, chunk.bounds(), route.restriction):
            params = [dump(row[i]) for row in page for i, dump in zip(positions, dumps, strict=True)]
            where = " OR ".join([f"({test})"] * len(page))
            route.dest.execute(f"DELETE FROM {route.dest.quote(table.table.name)} WHERE {where}", params)
        chunk.state = PENDING
        journal.save(chunk)


def _start_over(table: TablePlan, journal: Journal, progress: Progress, *, adds_rows: bool) -> None:
    """Empty a table that this run has filled, and let it be copied again from its first row."""
    if adds_rows:
        raise MigratorError(
            f"{table.table.label}: rows that were copied before the interruption are gone from the source, and the "
            "destination had rows of its own, so they cannot be told apart. Delete the copied rows there by hand, run "
            "again with --cleanup, and start anew."
        )
    progress.message(f"  {table.table.label} changed in the source since the interruption; it is copied again.")
    with transaction.atomic(using=table.route.dest.alias):
        table.route.dest.delete_rows(table.table.name)
        journal.forget(table.table.name)
