"""The limit: the database's own bulk load of a ready file, with indexes and foreign keys dropped during it.

They are recreated, and foreign keys that this does not check are checked by a query: in the end all of them hold. The
file is created, untimed, from the source of the destination's own engine, which has the same rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from bench.rows_data import shop_models

ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\0": "\\0"})


def _postgresql(dest: str, directory: Path) -> float:
    from django.db import connections

    files = {table: directory / table for table in _tables()}
    with connections["postgresql_a"].cursor() as cursor:
        for table, path in files.items():
            with cursor.cursor.copy(f"COPY {table} TO STDOUT") as copy, path.open("wb") as file:
                file.writelines(copy)
    with _timed_load(dest) as (connection, seconds), connection.cursor() as cursor:
        for table, path in files.items():
            with cursor.cursor.copy(f"COPY {table} FROM STDIN") as copy, path.open("rb") as file:
                while block := file.read(1024 * 1024):
                    copy.write(block)
    return seconds[0]


def _mysql(dest: str, directory: Path) -> float:
    files = {table: (directory / table, _write_lines("mysql_a", table, directory / table)) for table in _tables()}
    with _timed_load(dest) as (connection, seconds), closing(connection.connection.cursor()) as cursor:
        for table, (path, names) in files.items():
            columns = ", ".join(f"`{name}`" for name in names)
            cursor.execute(f"LOAD DATA LOCAL INFILE '{path}' INTO TABLE {table} CHARACTER SET utf8mb4 ({columns})")
        connection.connection.commit()
    return seconds[0]


def _write_lines(alias: str, table: str, path: Path) -> list[str]:
    """Write a table's rows as lines for LOAD DATA, and return the names of the columns."""
    from django.db import connections

    connections[alias].ensure_connection()
    with (
        closing(connections[alias].connection.cursor()) as cursor,
        path.open("w", encoding="utf-8", newline="") as file,
    ):
        cursor.execute(f"SELECT * FROM {table}")
        while rows := cursor.fetchmany(5_000):
            for row in rows:
                file.write("\t".join(_field(value) for value in row) + "\n")
        return [column[0] for column in cursor.description]


def _field(value: Any) -> str:
    return "\\N" if value is None else str(value).translate(ESCAPES)


def _sqlite(dest: str, directory: Path) -> float:
    from django.db import connections

    source = str(connections["sqlite_a"].settings_dict["NAME"])
    with _timed_load(dest) as (connection, seconds), connection.cursor() as cursor:
        cursor.execute("ATTACH DATABASE %s AS source", [source])
        cursor.execute("BEGIN")
        for table in _tables():
            cursor.execute(f"INSERT INTO main.{table} SELECT * FROM source.{table}")
        cursor.execute("COMMIT")
        cursor.execute("DETACH DATABASE source")
    return seconds[0]


LIMITS: dict[str, Callable[[str, Path], float]] = {"sqlite": _sqlite, "postgresql": _postgresql, "mysql": _mysql}


def _tables() -> list[str]:
    return [model._meta.db_table for model in shop_models()]


@contextmanager
def _timed_load(alias: str) -> Iterator[tuple[Any, list[float]]]:
    """Yield a connection for loading; drop indexes and foreign keys before, and recreate them after it, all timed."""
    from migrator.databases.endpoints import open_engine
    from migrator.databases.planning.foreign_keys import find_orphans
    from migrator.databases.planning.parallel_queries import ParallelQueries
    from migrator.databases.tables import table_of

    engine = open_engine(alias)
    engine.open_destination()
    seconds: list[float] = []
    started = time.perf_counter()
    tables = [table_of(model) for model in shop_models()]
    items = engine.catalogue.deferrable(_tables(), _tables())
    engine.catalogue.drop(items)
    yield engine.connection, seconds
    for is_key in (False, True):  # a foreign key may need an index of another table
        engine.catalogue.recreate([item for item in items if (item.kind != "index") is is_key])
    engine.catalogue.refresh_statistics(_tables())
    if engine.features.can_switch_off_foreign_keys and find_orphans(ParallelQueries(engine), tables, {}).result():
        raise AssertionError(f"foreign keys of {alias} have no matching rows")
    seconds.append(time.perf_counter() - started)
    engine.close()
