"""The counts of a transition in a small table, created when it is first needed."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import Any

from django.apps.registry import Apps
from django.db import DatabaseError, IntegrityError, connections, models

from .metrics_storage import EVENTS, Clock, Count, MetricsStorage, Record, Sums
from .phases import Phase


class MetricsRow(models.Model):
    """One count in the table. It is in a registry of its own, so that no project gets a migration for it."""

    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=100)
    phase = models.CharField(max_length=20)
    event = models.CharField(max_length=40)
    counted = models.BigIntegerField()
    begun_at = models.BigIntegerField()
    last_at = models.BigIntegerField()

    class Meta:
        apps = Apps()
        app_label = "migrator"
        db_table = "migrator_tally"
        constraints = [models.UniqueConstraint(fields=["name", "phase", "event"], name="migrator_tally_counter")]


TABLE = MetricsRow._meta.db_table


class DatabaseMetricsStorage(MetricsStorage):
    """Counts as rows. Each use opens a connection of its own, outside of any transaction."""

    interval = 15.0

    def __init__(self, alias: str, clock: Clock = lambda server: None) -> None:
        super().__init__(clock)
        self._alias = alias

    def __str__(self) -> str:
        return f"the database {self._alias!r}"

    def _connected(self) -> closing[Any]:
        return closing(connections.create_connection(self._alias))

    def add(self, name: str, sums: Sums) -> None:
        with self._connected() as connection:
            moment, _ = self._server_time(connection)
            for counter, number in list(sums.items()):
                try:
                    _add(connection, [name, *counter], number, moment)
                except DatabaseError:
                    if not _has_table(connection):
                        _create_table(connection)
                    # If the table exists, another worker has just created it, or the error is raised again.
                    _add(connection, [name, *counter], number, moment)
                del sums[counter]

    def read(self, name: str) -> Record:
        sql = f"SELECT phase, event, counted, begun_at, last_at FROM {TABLE} WHERE name = %s"
        with self._connected() as connection:
            if not _has_table(connection):
                return Record({}, None)
            with connection.cursor() as cursor:
                cursor.execute(sql, [name])
                rows = cursor.fetchall()
            moment, ahead = self._server_time(connection)
        found = _complete({(Phase(phase), event): Count(*numbers) for phase, event, *numbers in rows})
        return replace(found, read_at=moment, ahead=ahead)

    def reset(self, name: str) -> None:
        with self._connected() as connection:
            if _has_table(connection):
                _execute(connection, f"DELETE FROM {TABLE} WHERE name = %s", [name])


def _add(connection: Any, counter: list[str], number: int, moment: int) -> None:
    """Add to a row; insert it if it does not exist, unless another worker has just done that."""
    update = (
        f"UPDATE {TABLE} SET counted = counted + %s, last_at = %s WHERE name = %s AND phase = %s AND event = %s",
        [number, moment, *counter],
    )
    if _execute(connection, *update):
        return
    try:
        insert = f"INSERT INTO {TABLE} (name, phase, event, counted, begun_at, last_at) VALUES (%s, %s, %s, %s, %s, %s)"
        _execute(connection, insert, [*counter, number, moment, moment])
    except IntegrityError:
        _execute(connection, *update)


def _execute(connection: Any, sql: str, parameters: list[Any]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return int(cursor.rowcount)


def _has_table(connection: Any) -> bool:
    with connection.cursor() as cursor:
        return TABLE in connection.introspection.table_names(cursor)


def _create_table(connection: Any) -> None:
    sql, parameters = connection.schema_editor().table_sql(MetricsRow)
    try:
        _execute(connection, sql, parameters)
    except DatabaseError:
        if not _has_table(connection):  # otherwise another worker was first
            raise


def _complete(counts: dict[tuple[Phase, str], Count]) -> Record:
    """Return a record in which all events of a phase start when the phase was first seen: no row is ever lost."""
    seen = Record(counts, None)
    complete: dict[tuple[Phase, str], Count] = {}
    for phase in Phase:
        since = seen.first_seen(phase)
        if since is not None:
            complete |= {(phase, event): Count(0, since, None) for event in EVENTS}
            found = {counter: count for counter, count in counts.items() if counter[0] is phase}
            complete |= {counter: Count(count.number, since, count.last) for counter, count in found.items()}
    return Record(complete, _new_decides_since(seen))


def _new_decides_since(seen: Record) -> int | None:
    """Return since when no worker was seen in a phase in which OLD is authoritative; None if one was seen last."""
    new, old = ([phase for phase in Phase if phase.new_decides is which] for which in (True, False))
    first = min(filter(None, map(seen.first_seen, new)), default=None)
    last = max(filter(None, map(seen.last_seen, new)), default=0)
    last_of_old = max(filter(None, map(seen.last_seen, old)), default=0)
    return max(first, last_of_old) if first is not None and last > last_of_old else None
