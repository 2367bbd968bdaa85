"""PostgreSQL: one snapshot, COPY both ways, foreign keys and indexes taken off and put back exactly."""

from __future__ import annotations

import contextlib
import random
import re
from collections.abc import Iterator, Sequence
from typing import Any

from django.db import DatabaseError, Error, NotSupportedError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from ..base.engine import MOST_WORKERS, Endpoint, Engine, Fault, Severity, SnapshotLost
from ..base.loading import Target, Writer
from ..base.session import FIRST_FETCH, Row, cause_of, next_fetch, prepared
from . import copying
from .catalogue import PostgreSQLCatalogue
from .digests import PostgreSQLDigests
from .loading import CopyWriter, copy_statement
from .values import PostgreSQLValues

RUN_LOCK = 0x6D69_6772_6174_6F72  # "migrator" in ASCII; advisory locks are kept per database
RETRIED = ("40001", "40P01", "55P03", "57P01", "57P02", "57P03", "53300")
COPY_COLUMN = re.compile(r"^COPY .*, line \d+, column (.*?)(?::|$)", re.MULTILINE)
KEY_COLUMNS = re.compile(r"Key \((.*?)\)=")


class PostgreSQL(Engine):
    """PostgreSQL 14 and newer, through psycopg2 or psycopg 3. Needs no superuser."""

    vendor = "postgresql"
    display_name = "PostgreSQL"
    values_class = PostgreSQLValues
    catalogue_class = PostgreSQLCatalogue
    digests_class = PostgreSQLDigests
    can_be_filled_side_by_side = True

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        super().__init__(connection)
        self._snapshot: str | None = None
        self._is_reader = False

    def describe(self) -> Endpoint:
        version = str(self.fetch_value("SELECT current_setting('server_version')")).split()[0]
        database = str(self.fetch_value("SELECT current_database()"))
        given = self.connection.settings_dict
        host = given["HOST"] or "the local socket"
        return Endpoint(
            self.alias, f"{self.display_name} {version}", database, f"{host}:{given['PORT']}" if given["PORT"] else host
        )

    def _open(self) -> None:
        self.connection.ensure_connection()
        for name, value in (
            ("statement_timeout", "0"),
            ("idle_in_transaction_session_timeout", "0"),
            ("extra_float_digits", "1"),
            ("bytea_output", "hex"),
            ("DateStyle", "ISO, YMD"),
            ("IntervalStyle", "postgres"),
            ("cursor_tuple_fraction", "1"),
        ):
            self.execute("SELECT set_config(%s, %s, false)", (name, value))

    def open_source(self, readers: int = 0) -> None:
        self._begin_reading()
        self.execute("SELECT 1")  # the first query is what takes the snapshot
        if readers:
            self._snapshot = str(self.fetch_value("SELECT pg_export_snapshot()"))
            self.readers = readers

    def _begin_reading(self) -> None:
        self._open()
        self.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
        self.connection.set_autocommit(False)
        self.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")

    def can_join(self, reader: int) -> bool:
        return self._snapshot is not None

    def rejoin_snapshot(self) -> bool:
        if not self._is_reader:
            return False
        with contextlib.suppress(Error, SnapshotLost):
            self.join_snapshot(0)
            return True
        return False

    def join_snapshot(self, reader: int) -> None:
        self._is_reader = True
        self.connection.close()
        self._begin_reading()
        try:
            # The server gave this name; where parameters are bound by the server it could not be one.
            self.execute(f"SET TRANSACTION SNAPSHOT '{self._snapshot}'")
        except DatabaseError as error:
            if _sqlstate(error) is None:  # the link was lost meanwhile
                raise
            raise SnapshotLost(self.alias) from error

    def open_destination(self) -> None:
        self._open()

    def is_same_database(self, other: Engine) -> bool:
        number = random.SystemRandom().getrandbits(62)
        self.fetch_value("SELECT pg_advisory_lock(%s)", (number,))
        try:
            if other.fetch_value("SELECT pg_try_advisory_lock(%s)", (number,)):
                other.fetch_value("SELECT pg_advisory_unlock(%s)", (number,))
                return False
            return True
        finally:
            self.fetch_value("SELECT pg_advisory_unlock(%s)", (number,))

    def _lock_key(self) -> int:
        return RUN_LOCK if self.worker is None else RUN_LOCK + 1 + self.worker

    def lock(self) -> bool:
        return bool(self.fetch_value("SELECT pg_try_advisory_lock(%s)", (self._lock_key(),)))

    def unlock(self) -> None:
        self.fetch_value("SELECT pg_advisory_unlock(%s)", (self._lock_key(),))

    def workers(self) -> set[int]:
        high, low = RUN_LOCK >> 32, RUN_LOCK & 0xFFFF_FFFF
        rows = self.fetch_all(
            "SELECT objid FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND classid = %s "
            "AND objid BETWEEN %s AND %s "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            (high, low + 1, low + MOST_WORKERS),
        )
        return {int(row[0]) - low - 1 for row in rows}

    def stream(self, sql: str, params: Sequence[Any]) -> Iterator[list[Row]]:
        size = FIRST_FETCH
        with contextlib.closing(self.connection.chunked_cursor()) as cursor:
            cursor.execute(*prepared(sql, params))
            while rows := cursor.fetchmany(size):
                size = next_fetch(rows, size)
                yield rows

    def writer(self, table: str, targets: Sequence[Target]) -> Writer:
        return CopyWriter(self, table, targets)

    def can_pipe_to(self, other: Engine) -> bool:
        return isinstance(other, PostgreSQL)

    def pipe(
        self, select: str, params: Sequence[Any], dest: Engine, table: str, targets: Sequence[Target]
    ) -> tuple[int, int]:
        statement = copy_statement(dest, table, targets)
        return copying.pipe(self.connection, *prepared(select, params), dest.connection, statement)

    def empty(self, tables: Sequence[str]) -> None:
        names = ", ".join(self.quote(table) for table in tables)
        try:
            with transaction.atomic(using=self.alias):
                self.execute(f"TRUNCATE {names}")
        except NotSupportedError:  # a table outside of the selection refers to one of these
            super().empty(tables)

    def bind_now(self) -> None:
        self.execute("SET CONSTRAINTS ALL IMMEDIATE")
        self.execute("SET CONSTRAINTS ALL DEFERRED")

    def severity(self, error: BaseException) -> Severity:
        code = _sqlstate(error)
        if code is None:
            driver: Any = self.connection.Database  # type: ignore[attr-defined]
            is_link = isinstance(cause_of(error), driver.OperationalError | driver.InterfaceError)
            return Severity.RETRY if is_link else Severity.DATA
        if code.startswith("08") or code in RETRIED:
            return Severity.RETRY
        return Severity.DATA if code[:2] in ("22", "23") else Severity.FATAL

    def fault(self, error: BaseException, table: str) -> Fault:
        diagnostics = getattr(cause_of(error), "diag", None)
        if diagnostics is None or diagnostics.message_primary is None:
            return Fault(type(error).__name__, "the driver refused the value")
        message = diagnostics.message_primary
        if (_sqlstate(error) or "").startswith("22"):
            message = re.sub(r'"[^"]*"', "(value)", message)
        column = diagnostics.column_name
        if column is None and (found := COPY_COLUMN.search(diagnostics.context or "")):
            column = found[1]
        if column is None and diagnostics.constraint_name:
            column = self._columns_of_constraint(table, diagnostics.constraint_name)
        if column is None and (found := KEY_COLUMNS.search(diagnostics.message_detail or "")):
            column = found[1].strip('"')
        return Fault(str(_sqlstate(error)), message, column)

    def _columns_of_constraint(self, table: str, constraint: str) -> str | None:
        with contextlib.suppress(DatabaseError):
            rows = self.fetch_all(
                "SELECT a.attname FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid "
                "AND a.attnum = ANY(c.conkey) WHERE c.conrelid = to_regclass(%s) AND c.conname = %s ORDER BY a.attnum",
                (self.connection.ops.quote_name(table), constraint),
            )
            return ", ".join(row[0] for row in rows) or None
        return None


def _sqlstate(error: BaseException) -> str | None:
    cause = cause_of(error)
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
