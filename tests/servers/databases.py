"""Fresh databases for tests that really commit: as `migrate` leaves them.

`migrate` runs once per engine. Its result is saved, copied to the engine's other databases, and restored before each
test that asks for it: rows and sequences with statements, or the whole database if its schema has changed.
"""

import os
import re
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from django.core.management import call_command
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.db.utils import OperationalError, ProgrammingError

ENGINES = ("sqlite", "postgresql", "mysql")
# The longest time that autovacuum may take for a table.
VACUUM_SECONDS = 60


class Pair(NamedTuple):
    """The aliases of source and destination."""

    source: str
    dest: str

    @property
    def engines(self) -> tuple[str, str]:
        return engine_of(self.source), engine_of(self.dest)

    def __str__(self) -> str:
        return "-to-".join(self.engines) + ("-by-files" if self.dest.endswith("_files") else "")


PAIRS = [Pair(f"{source}_a", f"{dest}_b") for source in ENGINES for dest in ENGINES]
# These load with LOAD DATA LOCAL, which the server and the settings have to allow.
FILE_PAIRS = [Pair(f"{source}_a", "mysql_files") for source in ENGINES]


def engine_of(alias: str) -> str:
    """Return the engine of an alias: `mysql` for `mysql_a`, and `sqlite` for `default`."""
    engine = alias.partition("_")[0]
    return "sqlite" if engine == "default" else engine


def is_mysql(alias: str) -> bool:
    """Whether an alias is on MySQL itself, and not on MariaDB; its database need not exist."""
    return engine_of(alias) == "mysql" and _server_is_mysql()


@cache
def _server_is_mysql() -> bool:
    with connections["mysql_a"]._nodb_cursor() as cursor:
        return not cursor.db.mysql_is_mariadb


@cache
def has_uuid_type() -> bool:
    """Whether the server of MySQL or MariaDB has a type for UUIDs, as MariaDB has since 10.7."""
    with connections["mysql_a"]._nodb_cursor() as cursor:
        return bool(cursor.db.features.has_native_uuid_field)


class FreshDatabases:
    """The databases of one test session."""

    def __init__(self) -> None:
        self._kinds: dict[str, _Kind] = {"sqlite": _SQLite(), "postgresql": _PostgreSQL(), "mysql": _MySQL()}

    def fresh(self, *aliases: str) -> None:
        """Create or restore each of these databases, as right after `migrate`."""
        # The app registry is not ready yet when this module is imported.
        from django.contrib.contenttypes.models import ContentType
        from django.contrib.sites.models import Site

        for alias in aliases:
            self._kinds[engine_of(alias)].fresh(alias)
        ContentType.objects.clear_cache()
        Site.objects.clear_cache()

    @contextmanager
    def another(self, alias: str) -> Iterator[None]:
        """Create one more database, of an engine that has one, as right after `migrate`; drop it at the end."""
        kind = self._kinds[engine_of(alias)]
        kind.drop(alias)
        kind.copy(alias)
        try:
            yield
        finally:
            connections[alias].close()
            kind.drop(alias)

    def drop(self) -> None:
        """Drop all databases that were created."""
        for kind in self._kinds.values():
            kind.drop_all()


class _Kind(ABC):
    """The fresh databases of one engine."""

    def __init__(self) -> None:
        self._created: list[str] = []

    def fresh(self, alias: str) -> None:
        # A new connection, because the last test may have changed the session's settings.
        connections[alias].close()
        if alias in self._created:
            self.restore(alias)
            return
        # The last attempt may have failed halfway.
        self.drop(alias)
        if self._created:
            self.copy(alias)
        else:
            self.create(alias)
            call_command("migrate", database=alias, run_syncdb=True, interactive=False, verbosity=0)
            connections[alias].close()
            self.save(alias)
        self._created.append(alias)

    def drop_all(self) -> None:
        for alias in self._created:
            connections[alias].close()
            self.drop(alias)

    @abstractmethod
    def create(self, alias: str) -> None:
        """Create the database, without tables."""

    @abstractmethod
    def save(self, alias: str) -> None:
        """Save the first database as `migrate` has left it."""

    @abstractmethod
    def copy(self, alias: str) -> None:
        """Create the database from the saved one."""

    @abstractmethod
    def restore(self, alias: str) -> None:
        """Restore an existing database from the saved one."""

    @abstractmethod
    def drop(self, alias: str) -> None:
        """Drop the database, if it exists."""


class _SQLite(_Kind):
    """Files: copying one takes a millisecond, so restoring is copying."""

    def create(self, alias: str) -> None:
        self._saved = self._file(alias).with_name("saved.sqlite3")

    def save(self, alias: str) -> None:
        shutil.copyfile(self._file(alias), self._saved)

    def copy(self, alias: str) -> None:
        file = self._file(alias)
        for ending in ("-journal", "-wal", "-shm"):
            file.with_name(file.name + ending).unlink(missing_ok=True)
        # A new file replaces it: a process that still has the old one open writes to a removed file.
        new = file.with_suffix(".new")
        shutil.copyfile(self._saved, new)
        os.replace(new, file)

    restore = copy

    def drop(self, alias: str) -> None:
        self._file(alias).unlink(missing_ok=True)

    def _file(self, alias: str) -> Path:
        return Path(connections[alias].settings_dict["NAME"])


@dataclass(frozen=True)
class _Contents:
    """The contents of a database on a server; the names of tables and sequences are quoted."""

    schema: frozenset[tuple[Any, ...]]
    counters: dict[str, int | None]
    rows: dict[str, tuple[list[str], list[tuple[Any, ...]]]]
    digests: dict[str, Any]


class _OnServer(_Kind):
    """Databases whose rows and sequences are restored, and which are recreated if their schema differs."""

    _saved: _Contents

    def __init__(self) -> None:
        super().__init__()
        self._own: dict[str, BaseDatabaseWrapper] = {}

    def create(self, alias: str) -> None:
        self.administer(alias, f"CREATE DATABASE {self.name(alias)}")

    def save(self, alias: str) -> None:
        with self.own(alias).cursor() as cursor:
            filled = _filled(cursor, self.tables(cursor))
            self._saved = _Contents(
                schema=self.schema(cursor),
                counters=self.counters(cursor),
                rows={table: _read(cursor, table) for table in filled},
                digests=self.digests(cursor, filled),
            )

    def restore(self, alias: str) -> None:
        with self.own(alias).cursor() as cursor:
            self.disconnect_others(cursor)
            if self.has_saved_schema(cursor) and self._restore_rows(cursor):
                self._restore_sequences(cursor)
                return
        self.drop(alias)
        self.copy(alias)

    def _restore_rows(self, cursor: CursorWrapper) -> bool:
        """Restore the rows that differ; return whether that was cheaper than to recreate the database."""
        candidates = self.candidates(cursor)
        if candidates is None:
            return False
        saved = self._saved.digests
        changed = [table for table in _filled(cursor, candidates) if table not in saved]
        changed += [table for table, digest in self.digests(cursor, saved).items() if digest != saved[table]]
        if not changed:
            return True
        with cursor.db.constraint_checks_disabled():
            # In one transaction, because PostgreSQL checks foreign keys at its end.
            cursor.db.set_autocommit(False)
            for table in changed:
                cursor.execute(f"DELETE FROM {table}")
            _write(cursor, {table: rows for table, rows in self._saved.rows.items() if table in changed})
            cursor.db.commit()
            cursor.db.set_autocommit(True)
        return True

    def _restore_sequences(self, cursor: CursorWrapper) -> None:
        for counter, value in self.counters(cursor).items():
            if value != self._saved.counters[counter]:
                self.set_counter(cursor, counter, self._saved.counters[counter])

    def own(self, alias: str) -> BaseDatabaseWrapper:
        """Return a connection that no test uses. It stays open, which saves 20 ms: its caches know the tables."""
        own = self._own.setdefault(alias, connections[alias].copy())
        if own.connection is not None and not own.is_usable():
            own.close()
        return own

    def drop(self, alias: str) -> None:
        self.own(alias).close()

    def name(self, alias: str) -> str:
        connection = connections[alias]
        return connection.ops.quote_name(connection.settings_dict["NAME"])

    def administer(self, alias: str, *statements: str) -> None:
        """Execute statements on the server of `alias`, outside of its database."""
        with connections[alias]._nodb_cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def has_saved_schema(self, cursor: CursorWrapper) -> bool:
        """Whether the schema is the saved one; if it is cheap, restore it first."""
        return self.schema(cursor) == self._saved.schema

    def candidates(self, cursor: CursorWrapper) -> list[str] | None:
        """Return the tables that may have rows, or ``None`` if there are too many rows to delete."""
        return self.tables(cursor)

    @abstractmethod
    def disconnect_others(self, cursor: CursorWrapper) -> None:
        """End the sessions of killed processes in this database, with their locks."""

    @abstractmethod
    def tables(self, cursor: CursorWrapper) -> list[str]: ...

    @abstractmethod
    def schema(self, cursor: CursorWrapper) -> frozenset[tuple[Any, ...]]:
        """Describe everything except rows and sequences; equal answers mean equal schemas."""

    @abstractmethod
    def digests(self, cursor: CursorWrapper, tables: Collection[str]) -> dict[str, Any]:
        """Return a digest of the rows of each table."""

    @abstractmethod
    def counters(self, cursor: CursorWrapper) -> dict[str, int | None]: ...

    @abstractmethod
    def set_counter(self, cursor: CursorWrapper, counter: str, value: int | None) -> None: ...


class _PostgreSQL(_OnServer):
    """The saved database is a template database."""

    _OURS = "nspname NOT IN ('pg_catalog', 'information_schema') AND nspname NOT LIKE 'pg\\_%'"
    _RELATIONS = f"pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND {_OURS}"
    _SCHEMA = (
        f"SELECT c.oid::regclass::text, relkind::text, relpersistence::text, relacl::text,"
        f" obj_description(c.oid, 'pg_class') FROM {_RELATIONS}",
        f"SELECT c.oid::regclass::text, attname, format_type(atttypid, atttypmod), attnotnull,"
        f" attidentity::text, attgenerated::text, pg_get_expr(adbin, adrelid) FROM {_RELATIONS}"
        f" JOIN pg_attribute ON attrelid = c.oid AND attnum > 0 AND NOT attisdropped"
        f" LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum"
        f" WHERE relkind IN ('r', 'p', 'v', 'm')",
        "SELECT schemaname, sequencename, start_value, min_value, max_value, increment_by, cycle, cache_size"
        " FROM pg_sequences",
        f"SELECT pg_get_indexdef(c.oid), indisvalid FROM {_RELATIONS} JOIN pg_index ON indexrelid = c.oid",
        f"SELECT c.oid::regclass::text, conname, pg_get_constraintdef(o.oid)"
        f" FROM {_RELATIONS} JOIN pg_constraint o ON conrelid = c.oid",
        f"SELECT pg_get_triggerdef(t.oid), tgenabled::text"
        f" FROM {_RELATIONS} JOIN pg_trigger t ON tgrelid = c.oid AND NOT tgisinternal",
    )
    # Where that is stored, and the object of each row. A new or changed row has a greater xmin than all rows before it,
    # so count and sum stay the same only if all rows do. Identifiers of the server's own objects are below 16384
    # (access/transam.h, FirstNormalObjectId).
    _STORED = {
        "pg_class": "oid",
        "pg_attribute": "attrelid",
        "pg_attrdef": "adrelid",
        "pg_description": "objoid",
        "pg_sequence": "seqrelid",
        "pg_index": "indexrelid",
        "pg_constraint": "oid",
        "pg_trigger": "oid",
    }
    _STATE = "SELECT " + ", ".join(
        f"(SELECT (count(*), sum(xmin::text::bigint))::text FROM {catalogue} WHERE {key} >= 16384)"
        for catalogue, key in _STORED.items()
    )

    def __init__(self) -> None:
        super().__init__()
        # By alias, the state of the catalogue when its schema was last found to be the saved one.
        self._known: dict[str, tuple[Any, ...]] = {}

    def save(self, alias: str) -> None:
        super().save(alias)
        with self.own(alias).cursor() as cursor:
            cursor.execute("SELECT current_setting('server_version_num')::int >= 150000")
            # Copying files takes half the time of copying blocks through the WAL, the default since PostgreSQL 15.
            self._strategy = " STRATEGY file_copy" if cursor.fetchone()[0] else ""
        self.own(alias).close()
        self._template = connections[alias].ops.quote_name(f"{connections[alias].settings_dict['NAME']}_saved")
        self.administer(alias, f"CREATE DATABASE {self._template} TEMPLATE {self.name(alias)}")

    def copy(self, alias: str) -> None:
        self.administer(alias, f"CREATE DATABASE {self.name(alias)} TEMPLATE {self._template}{self._strategy}")

    def drop(self, alias: str) -> None:
        super().drop(alias)
        statement = f"DROP DATABASE IF EXISTS {self.name(alias)} WITH (FORCE)"
        for _ in range(VACUUM_SECONDS):
            with suppress(ProgrammingError):  # autovacuum is running there, which this user may not terminate
                self.administer(alias, statement)
                return
            time.sleep(1)
        self.administer(alias, statement)

    def drop_all(self) -> None:
        super().drop_all()
        if self._created:
            self.administer(self._created[0], f"DROP DATABASE {self._template}")

    def disconnect_others(self, cursor: CursorWrapper) -> None:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()"
        )

    def has_saved_schema(self, cursor: CursorWrapper) -> bool:
        cursor.execute(self._STATE)
        state = cursor.fetchone()
        if self._known.get(cursor.db.alias) != state:
            if not super().has_saved_schema(cursor):
                return False
            self._known[cursor.db.alias] = state
        return True

    def candidates(self, cursor: CursorWrapper) -> list[str] | None:
        cursor.execute(
            f"SELECT c.oid::regclass::text, size FROM {self._RELATIONS}, pg_relation_size(c.oid) size"
            " WHERE relkind = 'r' AND size > 0"
        )
        size_of = dict(cursor.fetchall())
        # Checking foreign keys looks each deleted row up once more. Its plan, cached when the table was small, may read
        # the whole table.
        return None if max(size_of.values(), default=0) > 256 * 1024 else list(size_of)

    def tables(self, cursor: CursorWrapper) -> list[str]:
        cursor.execute(f"SELECT c.oid::regclass::text FROM {self._RELATIONS} WHERE relkind = 'r'")
        return [name for (name,) in cursor.fetchall()]

    def schema(self, cursor: CursorWrapper) -> frozenset[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = []
        for query in self._SCHEMA:
            cursor.execute(query)
            found += cursor.fetchall()
        return frozenset(found)

    def digests(self, cursor: CursorWrapper, tables: Collection[str]) -> dict[str, Any]:
        digests = (f"(SELECT (count(*), sum(hashtextextended(t::text, 0)))::text FROM {table} t)" for table in tables)
        cursor.execute(f"SELECT {', '.join(digests)}")
        return dict(zip(tables, cursor.fetchone(), strict=True))

    def counters(self, cursor: CursorWrapper) -> dict[str, int | None]:
        cursor.execute(
            "SELECT quote_ident(schemaname) || '.' || quote_ident(sequencename), last_value FROM pg_sequences"
        )
        return dict(cursor.fetchall())

    def set_counter(self, cursor: CursorWrapper, counter: str, value: int | None) -> None:
        if value is None:
            # ALTER SEQUENCE would change the catalogue.
            cursor.execute(
                "SELECT setval(seqrelid, seqstart, false) FROM pg_sequence WHERE seqrelid = %s::regclass", [counter]
            )
        else:
            cursor.execute("SELECT setval(%s::regclass, %s)", [counter, value])


class _MySQL(_OnServer):
    """The saved database is the CREATE TABLE statements, and the rows."""

    _COUNTER = re.compile(r" AUTO_INCREMENT=\d+")
    # Objects other than tables; the database is recreated to remove them.
    _OTHERS = (
        "SELECT 1 FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type <> 'BASE TABLE'"
        " UNION ALL SELECT 1 FROM information_schema.triggers WHERE trigger_schema = DATABASE()"
        " UNION ALL SELECT 1 FROM information_schema.routines WHERE routine_schema = DATABASE()"
        " UNION ALL SELECT 1 FROM information_schema.events WHERE event_schema = DATABASE()"
    )
    # CREATE TABLE and ALTER TABLE set create_time, in whole seconds.
    _FROM_TABLES = "FROM information_schema.tables WHERE table_schema = DATABASE() AND table_type = 'BASE TABLE'"
    # Otherwise MySQL answers with counters of the last day (MySQL manual, "information_schema_stats_expiry"). MariaDB
    # skips such comments.
    _CURRENT_COUNTERS = "SET @unused = 0 /*!80000, SESSION information_schema_stats_expiry = 0 */"

    def __init__(self) -> None:
        super().__init__()
        # By alias, when each table had been created or altered that was last found to be the saved one.
        self._known: dict[str, dict[str, Any]] = {}

    def save(self, alias: str) -> None:
        super().save(alias)
        with self.own(alias).cursor() as cursor:
            self._settings = self._settings_of(cursor)

    def has_saved_schema(self, cursor: CursorWrapper) -> bool:
        cursor.execute(self._OTHERS)
        if cursor.fetchone() or self._settings_of(cursor) != self._settings:
            return False
        saved, created = dict(self._saved.schema), self._created_at(cursor)
        known = self._known.get(cursor.db.alias, {}) if created.keys() == saved.keys() else {}
        found = self._statements(cursor, [table for table, _ in created.items() - known.items()])
        differing = {table for table, statement in found.items() if saved.get(table) != statement}
        with cursor.db.constraint_checks_disabled():
            for table in differing:
                cursor.execute(f"DROP TABLE {table}")
            for table in saved.keys() - (created.keys() - differing):
                cursor.execute(saved[table])
        self._known[cursor.db.alias] = {table: at for table, at in created.items() if table not in differing and at}
        return True

    @staticmethod
    def _settings_of(cursor: CursorWrapper) -> tuple[Any, ...]:
        cursor.execute("SELECT @@character_set_database, @@collation_database")
        settings: tuple[Any, ...] = cursor.fetchone()
        return settings

    def copy(self, alias: str) -> None:
        self.create(alias)
        own = self.own(alias)
        with own.cursor() as cursor:
            with own.constraint_checks_disabled():
                for _, statement in self._saved.schema:
                    cursor.execute(statement)
                _write(cursor, self._saved.rows)
            self._restore_sequences(cursor)

    def drop(self, alias: str) -> None:
        super().drop(alias)
        self.administer(alias, f"DROP DATABASE IF EXISTS {self.name(alias)}")

    def disconnect_others(self, cursor: CursorWrapper) -> None:
        # MySQL's older table fails while one of them executes a statement with bytes that are not text.
        schema = "performance_schema" if is_mysql(cursor.db.alias) else "information_schema"
        cursor.execute(f"SELECT id FROM {schema}.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()")
        for (process,) in cursor.fetchall():
            # It may end before it is killed.
            with suppress(OperationalError):
                cursor.execute(f"KILL {process}")

    def tables(self, cursor: CursorWrapper) -> list[str]:
        cursor.execute("SHOW FULL TABLES WHERE table_type = 'BASE TABLE'")
        return [cursor.db.ops.quote_name(row[0]) for row in cursor.fetchall()]

    def schema(self, cursor: CursorWrapper) -> frozenset[tuple[Any, ...]]:
        return frozenset(self._statements(cursor, self.tables(cursor)).items())

    def digests(self, cursor: CursorWrapper, tables: Collection[str]) -> dict[str, Any]:
        cursor.execute(f"CHECKSUM TABLE {', '.join(tables)}")
        return {table: checksum for table, (_, checksum) in zip(tables, cursor.fetchall(), strict=True)}

    def counters(self, cursor: CursorWrapper) -> dict[str, int | None]:
        cursor.execute(self._CURRENT_COUNTERS)
        cursor.execute(f"SELECT table_name, auto_increment {self._FROM_TABLES}")
        return {cursor.db.ops.quote_name(table): value or 1 for table, value in cursor.fetchall()}

    def set_counter(self, cursor: CursorWrapper, counter: str, value: int | None) -> None:
        cursor.execute(f"ALTER TABLE {counter} AUTO_INCREMENT = {value}")

    def _created_at(self, cursor: CursorWrapper) -> dict[str, Any]:
        """Return when each table was created or last altered, and ``None`` for this second, which is not over."""
        cursor.execute(f"SELECT table_name, NULLIF(create_time, CURRENT_TIMESTAMP) {self._FROM_TABLES}")
        return {cursor.db.ops.quote_name(table): at for table, at in cursor.fetchall()}

    def _statements(self, cursor: CursorWrapper, tables: Iterable[str]) -> dict[str, str]:
        """Return the CREATE TABLE statements, without the counters."""
        made = {}
        for table in tables:
            cursor.execute(f"SHOW CREATE TABLE {table}")
            made[table] = self._COUNTER.sub("", cursor.fetchone()[1])
        return made


def _filled(cursor: CursorWrapper, tables: Iterable[str]) -> list[str]:
    """Return the tables that have rows, with one query."""
    names = list(tables)
    if not names:
        return []
    cursor.execute(f"SELECT {', '.join(f'EXISTS(SELECT 1 FROM {name})' for name in names)}")
    return [name for name, has_rows in zip(names, cursor.fetchone(), strict=True) if has_rows]


def _read(cursor: CursorWrapper, table: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Return the quoted columns and the rows of a table, in an order that depends on the rows only."""
    cursor.execute(f"SELECT * FROM {table}")
    columns = [cursor.db.ops.quote_name(column[0]) for column in cursor.description]
    return columns, sorted(cursor.fetchall(), key=repr)


def _write(cursor: CursorWrapper, rows_of: dict[str, tuple[list[str], list[tuple[Any, ...]]]]) -> None:
    for table, (columns, rows) in rows_of.items():
        places = ", ".join(["%s"] * len(columns))
        cursor.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})", rows)
