"""MySQL and MariaDB: sessions, their strict settings, snapshots and locks."""

from __future__ import annotations

import contextlib
import hashlib
import random
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

from ....local_hosts import is_on_this_machine
from ...findings import Finding
from ...tables import StoredColumn, Table
from ..base.change_feed import ChangeFeed
from ..base.engine import Engine
from ..base.errors import SnapshotLost
from ..base.loading import Target, TextWriter, Writer
from ..base.run_locks import MOST_WORKERS
from ..base.session import Row, batches
from ..base.session_lifecycle import LOCK_WAIT_SECONDS, DatabaseInfo, Lifecycle
from ..base.visible_tables import VERSIONED_TABLE
from . import change_feed, feed_obstacles, replication
from .catalogue import MySQLCatalogue
from .constraints import MySQLConstraints
from .digests import MySQLDigests
from .enlisted_sessions import begin_with_command, is_command_there, is_enlisted, named
from .errors import MySQLErrors
from .features import FEATURES
from .load_data_local import LineLoader, LineWriter, loading_note
from .loading import InsertWriter, LineInserter
from .server_lines import MySQLLines, unbuffered_cursor
from .server_settings import settings_of
from .snapshots import begin_common_snapshot, begin_reading, begin_snapshot, make_read_only
from .types import MySQLTypes, cast_to
from .values import MySQLValues, product
from .visible_tables import MySQLVisibility

# Strict for all storage engines, with backslash escapes; a key of zero stays zero (MySQL manual, "Server SQL Modes").
SQL_MODE = "STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_VALUE_ON_ZERO"
# No time limit ends a session that waits for the other database, or a long statement, and no query returns the rows of
# an earlier time. MySQL and MariaDB have different ones of these.
SESSION_SETTINGS: Mapping[str, int | str] = {
    "system_versioning_asof": "DEFAULT",
    "wait_timeout": 28_800,
    "net_write_timeout": 3_600,
    "net_read_timeout": 3_600,
    "idle_transaction_timeout": 0,
    "idle_readonly_transaction_timeout": 0,
    "idle_write_transaction_timeout": 0,
    "max_statement_time": 0,
    "max_execution_time": 0,
    "group_concat_max_len": 2**32 - 1,
}
# With it, foreign keys to columns that are not unique cannot be recreated (MySQL manual, "Server System Variables").
NON_STANDARD_KEYS = "restrict_fk_on_non_standard_key"
FIRST_WITH_PROCESS_LIST = (8, 0, 22)  # MySQL manual, "The processlist Table"
LOCK_WAITS = ("innodb_lock_wait_timeout", "lock_wait_timeout")
WRITES_ANYWAY = re.compile(r"\b(SUPER|READ[_ ]ONLY ADMIN|CONNECTION_ADMIN)\b|ALL PRIVILEGES ON \*\.\*", re.IGNORECASE)


class MySQL(MySQLErrors, Engine):
    """MySQL 8.4 and MariaDB 10.5 and newer, through mysqlclient. Needs rights on its own database only."""

    vendor = "mysql"
    features = FEATURES
    values_class = MySQLValues
    catalogue_class = MySQLCatalogue
    constraints_class = MySQLConstraints
    digests_class = MySQLDigests
    _loads_files = False
    lines_class = MySQLLines
    visibility_class = MySQLVisibility
    types_class = MySQLTypes

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        super().__init__(connection)
        self._readers: dict[int, MySQL] = {}
        # Another session that began the snapshot, until it is used, and whether there was one.
        self._second: MySQL | None = None
        self._had_second = False
        self._reads_snapshot = False
        # Of the command's own session, by which those of other hosts recognise theirs; of these, the invitation's.
        self._snapshot_name: str | None = None

    @property
    def display_name(self) -> str:  # type: ignore[override]
        return product(self.connection)

    def describe(self) -> DatabaseInfo:
        version = ".".join(map(str, self.connection.mysql_version))  # type: ignore[attr-defined]
        given = self.connection.settings_dict
        host = given["HOST"] or "the local socket"
        if given["PORT"] and not str(host).startswith("/"):
            host = f"{host}:{given['PORT']}"
        database = str(self.fetch_value("SELECT DATABASE()"))
        return DatabaseInfo(self.alias, f"{self.display_name} {version}", database, host)

    def _open(self) -> None:
        self.connect()
        self.execute(f"SET SESSION sql_select_limit = {2**64 - 1}")  # which also limits SHOW
        present = self._variables(SESSION_SETTINGS)
        changes = [f"SESSION {name} = {value}" for name, value in SESSION_SETTINGS.items() if name in present]
        # In that mode, texts are read with spaces that are not stored (MariaDB documentation, SQL_MODE).
        changes.append("SESSION sql_mode = REPLACE(@@SESSION.sql_mode, 'PAD_CHAR_TO_FULL_LENGTH', '')")
        self.execute(f"SET {', '.join(changes)}")

    def _variables(self, names: Iterable[str]) -> dict[str, str]:
        """Return the session variables of these names that this server has."""
        listed = ", ".join(f"'{name}'" for name in names)
        return dict(self.fetch_all(f"SHOW SESSION VARIABLES WHERE Variable_name IN ({listed})"))

    def _another(self) -> MySQL:
        other = type(self)(self.connection.copy())
        other.link_timeout = self.link_timeout
        other._open()
        return other

    def open_parallel_session(self) -> MySQL | None:
        if self._had_second:
            second, self._second = self._second, None
            if second is not None:
                second.hold_snapshot()
            return second
        other = self._another()
        make_read_only(other)
        return other

    @property
    def parallel_session_may_be_later(self) -> bool:
        # No statement begins a second snapshot of the same moment, once it has passed.
        return self._reads_snapshot and not self._had_second

    def server_settings(self) -> list[tuple[str, str]]:
        return settings_of(self)

    def open_source(self, tables: Sequence[str] = (), readers: int = 0) -> None:
        self._reads_snapshot = True
        self._open()
        invitation, self.invitation = self.invitation, None
        if readers or invitation:
            common = begin_common_snapshot(self, readers + 1, self._another, invitation)
            self._readers, self.readers_note = common.readers, common.problem
            self.readers = min(len(self._readers), readers)
            self._second = self._readers.pop(readers, None)
            self._had_second = self._second is not None
            if invitation is not None:
                self.enlisted = len(common.enlisted)
                self._snapshot_name = named(invitation.name, common.enlisted) if common.enlisted else None
        if not (readers or invitation) or not common.has_begun:
            begin_reading(self)
        self.hold_snapshot()
        others = self.fetch_all(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() "
            "AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED') AND engine <> 'InnoDB' ORDER BY table_name"
        )
        if others:
            names = ", ".join(row[0] for row in others)
            self.snapshot_note = f"Tables without transactions are not part of the snapshot: {names}."
            stored = {row[0] for row in others}
            self.outside_snapshot = frozenset(stored | {table for table in tables if self.stored_name(table) in stored})

    @property
    def snapshot_name(self) -> str | None:
        return self._snapshot_name

    def begin_with_command(self, name: str, seat: int) -> bool:
        self._reads_snapshot = True
        self._open()
        make_read_only(self)
        if not begin_with_command(self, name, seat, lambda: begin_snapshot(self)):
            return False
        self._snapshot_name = name
        self.hold_snapshot()
        return True

    def is_command_there(self) -> bool:
        return self._snapshot_name is not None and is_command_there(self, self._snapshot_name)

    def join_named_snapshot(self, name: str) -> None:
        if self._snapshot_name is None or not is_enlisted(self, name):
            raise SnapshotLost(
                f"it did not begin the snapshot of {self.alias!r} together with the command, and no session of "
                f"{self.display_name} can join one later. It can take part in the next run."
            )

    def can_join(self, reader: int) -> bool:
        return reader in self._readers

    def join_snapshot(self, reader: int) -> None:
        if reader not in self._readers:
            raise SnapshotLost.of(self.alias)
        # Its transaction began before the fork; no other process uses it.
        self.release_snapshot()
        self.connection.connection = self._readers[reader].connection.connection
        self.hold_snapshot()

    def lose_reader(self, reader: int) -> None:
        if reader in self._readers:
            with contextlib.suppress(DatabaseError):
                self._readers.pop(reader).connection.close()

    def open_destination(self) -> None:
        self._open()
        self.execute(f"SET SESSION sql_mode = '{SQL_MODE}'")
        self.execute("SET SESSION foreign_key_checks = 0")
        for name in self._variables((NON_STANDARD_KEYS,)):
            self.execute(f"SET SESSION {name} = OFF")
        for name, seconds in self._variables(LOCK_WAITS).items():
            if int(seconds) > LOCK_WAIT_SECONDS:
                self.execute(f"SET SESSION {name} = {LOCK_WAIT_SECONDS}")
        mode = str(self.fetch_value("SELECT @@SESSION.sql_mode"))
        if "STRICT_ALL_TABLES" not in mode:
            raise DatabaseError(f"the session's sql_mode could not be made strict; it is {mode!r}")
        self.connection.__dict__.pop("sql_mode", None)  # Django's cached property
        self._loads_files, self.loading_note = loading_note(self)

    def forbid_writes(self) -> None:
        self.execute("SET SESSION TRANSACTION READ ONLY")

    def free_sessions(self) -> int | None:
        ((_, used),) = self.fetch_all("SHOW GLOBAL STATUS LIKE 'Threads_connected'")
        return max(int(self.fetch_value("SELECT @@GLOBAL.max_connections")) - int(used), 0)

    def why_read_only(self) -> str | None:
        found: dict[str, str] = dict(self.fetch_all("SHOW SESSION VARIABLES LIKE '%%read_only'"))
        if "ON" in (found.get("tx_read_only"), found.get("transaction_read_only")):
            return "its sessions are read-only (transaction_read_only)"
        if "ON" in (found.get("super_read_only"), found.get("innodb_read_only")):
            return "the server is read-only"
        if found.get("read_only") == "ON":
            grants = " ".join(row[0] for row in self.fetch_all("SHOW GRANTS"))
            if not WRITES_ANYWAY.search(grants):
                return "the server is read-only, like a replica"
        return None

    def why_unprotected(self) -> tuple[str, str] | None:
        given = self.connection.settings_dict
        options = given["OPTIONS"]
        if is_on_this_machine(str(given["HOST"])) or options.get("ssl_mode") == "VERIFY_IDENTITY":
            return None
        if "read_default_file" in options:  # the file may set it
            return None
        mode = options.get("ssl_mode")
        return f"ssl_mode is {mode!r}" if mode else "ssl_mode is not set", (
            "Set ssl_mode to VERIFY_IDENTITY in its OPTIONS."
        )

    def close(self) -> None:
        for reader in list(self._readers):
            self.lose_reader(reader)
        second, self._second, self._had_second = self._second, None, False
        if second is not None:
            with contextlib.suppress(DatabaseError):
                second.close()
        super().close()
        self.connection.__dict__.pop("sql_mode", None)

    @cached_property
    def _process_list(self) -> str:
        """Return the table of sessions.

        MySQL's older one cannot be read while a session executes a statement with bytes that are not text, such as an
        INSERT of binary values (ER_CANNOT_CONVERT_STRING). The newer one can, if the Performance Schema is on.
        """
        connection: Any = self.connection
        has_newer = not connection.mysql_is_mariadb and connection.mysql_version >= FIRST_WITH_PROCESS_LIST
        is_on = has_newer and self.fetch_value("SELECT @@performance_schema")
        return f"{'performance' if is_on else 'information'}_schema.processlist"

    def session_identity(self) -> Row | None:
        # The number alone is reused after a restart of the server.
        rows = self.fetch_all(f"SELECT id, host FROM {self._process_list} WHERE id = CONNECTION_ID()")
        return rows[0] if rows else None

    def end_session(self, identity: Row) -> None:
        if self.fetch_all(f"SELECT 1 FROM {self._process_list} WHERE id = %s AND host = %s", identity):
            with contextlib.suppress(DatabaseError):  # it may end before it is killed
                self.execute(f"KILL {int(identity[0])}")

    def blockers(self) -> list[str]:
        # Only users with the PROCESS privilege may see who holds which lock.
        rows = self.fetch_all(
            f"SELECT id, user, host, time FROM {self._process_list} "
            "WHERE db = DATABASE() AND id <> CONNECTION_ID() ORDER BY time DESC LIMIT 5"
        )
        return [
            f"session {number} of {user!r} from {host}, in its current state for {time} s"
            for number, user, host, time in rows
        ]

    def is_same_database(self, other: Lifecycle) -> bool:
        if self.fetch_value("SELECT DATABASE()") != other.fetch_value("SELECT DATABASE()"):
            return False
        name = f"migrator-probe-{random.SystemRandom().getrandbits(64):x}"
        self.fetch_value("SELECT GET_LOCK(%s, 0)", (name,))
        try:
            is_one_server = not other.fetch_value("SELECT IS_FREE_LOCK(%s)", (name,))
        finally:
            self.fetch_value("SELECT RELEASE_LOCK(%s)", (name,))
        return is_one_server or replication.share_cluster(self, other)

    def follows(self, other: Lifecycle) -> bool:
        return replication.follows(self, other)

    def feed_obstacles(self) -> Iterator[Finding]:
        return feed_obstacles.obstacles(self)

    def open_change_feed(self, tables: Sequence[Table], check: Callable[[], None]) -> ChangeFeed:
        other = self._another()
        try:
            return change_feed.BinlogFeed(other, tables, check)
        except BaseException:
            other.close()
            raise

    def _lock_name(self) -> str:
        # Such locks are server-wide; their names have at most 64 characters (MySQL manual, "Locking Functions").
        database = str(self.fetch_value("SELECT DATABASE()"))
        name = f"migrator-{hashlib.sha256(database.encode()).hexdigest()[:48]}"
        return name if self.worker is None else f"{name}-{self.worker}"

    def exact(self, text: str) -> str:
        return f"CAST({text} AS BINARY)"

    def lock(self) -> bool:
        return bool(self.fetch_value("SELECT GET_LOCK(%s, 0)", (self._lock_name(),)) == 1)

    def lock_holder(self) -> int | None:
        holder: int | None = self.fetch_value("SELECT IS_USED_LOCK(%s)", (self._lock_name(),))
        return holder

    def unlock(self) -> None:
        self.fetch_value("SELECT RELEASE_LOCK(%s)", (self._lock_name(),))

    def workers(self) -> set[int]:
        own = self._lock_name()
        names = [f"{own}-{worker}" for worker in range(MOST_WORKERS)]
        (free,) = self.fetch_all(f"SELECT {', '.join(['IS_FREE_LOCK(%s)'] * len(names))}", names)
        return {worker for worker, is_free in enumerate(free) if not is_free}

    def stream(self, sql: str, params: Sequence[Any]) -> Generator[list[Row]]:
        self.connection.ensure_connection()
        with unbuffered_cursor(self.connection) as cursor:
            yield from batches(cursor, sql, params)

    def typed_parameter(self, stored: StoredColumn) -> str:
        return cast_to(stored)

    def writer(self, table: str, targets: Sequence[Target]) -> Writer:
        if self._loads_files and LineWriter.takes(targets):
            return LineWriter(self, table, targets)
        return InsertWriter(self, table, targets)

    def row_writer(self, table: str, targets: Sequence[Target]) -> Writer:
        return InsertWriter(self, table, targets)

    def text_writer(self, table: str, targets: Sequence[Target]) -> TextWriter | None:
        if self._loads_files and LineWriter.takes(targets):
            return LineLoader(self, table, targets)
        return LineInserter(self, table, targets) if LineInserter.takes(targets) else None

    def empty(self, tables: Sequence[str]) -> None:
        seen = self.visibility.visible_tables(tables)
        for table in tables:
            if seen[table].kind == VERSIONED_TABLE:  # not truncatable (MariaDB, "System-Versioned Tables")
                self.delete_rows(table)
            else:
                self.execute(f"TRUNCATE TABLE {self.quote(table)}")

    def most_row_bytes(self) -> int | None:
        if self._loads_files:  # sent in packets of any size
            return None
        return int(self.fetch_value("SELECT @@max_allowed_packet"))
