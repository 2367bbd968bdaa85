"""MySQL and MariaDB: a strict session, multi-row INSERT, and no warning that is not an error."""

from __future__ import annotations

import contextlib
import hashlib
import random
import re
from collections.abc import Iterator, Sequence
from typing import Any

from django.db import DatabaseError

from ..base.engine import Endpoint, Engine, Fault, Severity
from ..base.loading import Target, TextWriter, Writer
from ..base.session import FIRST_FETCH, Row, cause_of, next_fetch, prepared
from .catalogue import MySQLCatalogue
from .digests import MySQLDigests
from .lines import MySQLLines
from .loading import InsertWriter, Warned
from .local_files import LineLoader, LineWriter, note
from .values import MySQLValues, product

# Everything strict, escapes by backslash, and a key of zero that stays zero.
SQL_MODE = "STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_VALUE_ON_ZERO"
RETRIED = (1040, 1053, 1205, 1213, 1927, 2002, 2003, 2006, 2013, 2055)
DATA = (
    1048, 1062, 1169, 1216, 1264, 1265, 1292, 1364, 1366, 1367, 1406, 1411, 1416, 1451, 1452, 1525, 1557, 1586,
    1690, 3140, 3141, 3156, 3819, 4025, 4078,
)  # fmt: skip
NAMED_COLUMN = re.compile(r"column ['`](?:[^'`]*`\.`)*([^'`]+)['`]", re.IGNORECASE)
NAMED_KEY = re.compile(r"for key '(?:[^']*\.)?([^'.]+)'")
NAMED_CHECK = re.compile(r"CONSTRAINT `(?:[^`]*\.)?([^`.]+)` failed")
SHOWN_VALUE = re.compile(r"(entry|value:?) '.*?'(?= for)", re.DOTALL)


class MySQL(Engine):
    """MySQL 8.0.11 and MariaDB 10.5 and newer, through mysqlclient. Needs rights on its own database only."""

    vendor = "mysql"
    can_switch_off_foreign_keys = True
    values_class = MySQLValues
    catalogue_class = MySQLCatalogue
    digests_class = MySQLDigests
    lines_class = MySQLLines
    _loads_files = False

    @property
    def display_name(self) -> str:  # type: ignore[override]
        return product(self.connection)

    def describe(self) -> Endpoint:
        version = ".".join(map(str, self.connection.mysql_version))  # type: ignore[attr-defined]
        given = self.connection.settings_dict
        host = given["HOST"] or "the local socket"
        if given["PORT"] and not str(host).startswith("/"):
            host = f"{host}:{given['PORT']}"
        database = str(self.fetch_value("SELECT DATABASE()"))
        return Endpoint(self.alias, f"{self.display_name} {version}", database, host)

    def _open(self) -> None:
        self.connection.ensure_connection()
        # The server ends a session that waits for its client this long; a run may well have to.
        for name, seconds in (("wait_timeout", 28_800), ("net_write_timeout", 3_600), ("net_read_timeout", 3_600)):
            self.execute(f"SET SESSION {name} = {seconds}")

    def open_source(self) -> None:
        self._open()
        self.execute("SET SESSION TRANSACTION READ ONLY")
        self.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        self.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
        others = self.fetch_all(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() "
            "AND table_type = 'BASE TABLE' AND engine <> 'InnoDB' ORDER BY table_name"
        )
        if others:
            names = ", ".join(row[0] for row in others)
            self.snapshot_note = f"Tables without transactions are not part of the snapshot: {names}."
            self.outside_snapshot = frozenset(row[0] for row in others)

    def open_destination(self) -> None:
        self._open()
        self.execute(f"SET SESSION sql_mode = '{SQL_MODE}'")
        self.execute("SET SESSION foreign_key_checks = 0")
        mode = str(self.fetch_value("SELECT @@SESSION.sql_mode"))
        if "STRICT_ALL_TABLES" not in mode:
            raise DatabaseError(f"the session's sql_mode could not be made strict; it is {mode!r}")
        self.connection.__dict__.pop("sql_mode", None)  # Django's cached property
        self._loads_files, self.loading_note = note(self)

    def close(self) -> None:
        super().close()
        self.connection.__dict__.pop("sql_mode", None)

    def is_same_database(self, other: Engine) -> bool:
        if self.fetch_value("SELECT DATABASE()") != other.fetch_value("SELECT DATABASE()"):
            return False
        name = f"migrator-probe-{random.SystemRandom().getrandbits(64):x}"
        self.fetch_value("SELECT GET_LOCK(%s, 0)", (name,))
        try:
            return not other.fetch_value("SELECT IS_FREE_LOCK(%s)", (name,))
        finally:
            self.fetch_value("SELECT RELEASE_LOCK(%s)", (name,))

    def _lock_name(self) -> str:
        # Such locks are the whole server's, and their names hold 64 characters.
        database = str(self.fetch_value("SELECT DATABASE()"))
        return f"migrator-{hashlib.sha256(database.encode()).hexdigest()[:48]}"

    def lock(self) -> bool:
        return bool(self.fetch_value("SELECT GET_LOCK(%s, 0)", (self._lock_name(),)) == 1)

    def unlock(self) -> None:
        self.fetch_value("SELECT RELEASE_LOCK(%s)", (self._lock_name(),))

    def stream(self, sql: str, params: Sequence[Any]) -> Iterator[list[Row]]:
        from MySQLdb.cursors import SSCursor

        self.connection.ensure_connection()
        size = FIRST_FETCH
        with (
            self.connection.wrap_database_errors,
            contextlib.closing(self.connection.connection.cursor(SSCursor)) as cursor,
        ):
            cursor.execute(*prepared(sql, params))
            while rows := cursor.fetchmany(size):
                size = next_fetch(rows, size)
                yield rows

    def writer(self, table: str, targets: Sequence[Target]) -> Writer:
        if self._loads_files and LineWriter.takes(targets):
            return LineWriter(self, table, targets)
        return InsertWriter(self, table, targets)

    def careful_writer(self, table: str, targets: Sequence[Target]) -> Writer:
        return InsertWriter(self, table, targets)

    def text_writer(self, table: str, targets: Sequence[Target]) -> TextWriter | None:
        return LineLoader(self, table, targets) if self._loads_files and LineWriter.takes(targets) else None

    def empty(self, tables: Sequence[str]) -> None:
        for table in tables:
            self.execute(f"TRUNCATE TABLE {self.quote(table)}")

    def severity(self, error: BaseException) -> Severity:
        code = _code(error)
        if code in RETRIED:
            return Severity.RETRY
        if code is None or code in DATA or isinstance(error, Warned):
            return Severity.DATA
        return Severity.FATAL

    def fault(self, error: BaseException, table: str) -> Fault:
        code = _code(error)
        if code is None:
            return Fault(type(error).__name__, "the driver refused the value")
        message = SHOWN_VALUE.sub(r"\1 (value)", str(cause_of(error).args[1]))
        found = NAMED_COLUMN.search(message) or NAMED_CHECK.search(message)
        column = found[1] if found else self._column_of_key(message, table)
        return Fault(str(code), message, column)

    def _column_of_key(self, message: str, table: str) -> str | None:
        found = NAMED_KEY.search(message)
        if not found:
            return None
        with contextlib.suppress(DatabaseError):
            rows = self.fetch_all(
                "SELECT column_name FROM information_schema.statistics "
                "WHERE table_schema = DATABASE() AND table_name = %s AND index_name = %s ORDER BY seq_in_index",
                (table, found[1]),
            )
            return ", ".join(row[0] for row in rows) or None
        return None


def _code(error: BaseException) -> int | None:
    cause = cause_of(error)
    code = cause.args[0] if len(cause.args) > 1 else None
    return code if isinstance(code, int) else None
