"""PostgreSQL: sessions, locks, and COPY in both directions."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from django.db import DatabaseError, NotSupportedError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from ....local_hosts import is_on_this_machine
from ...findings import Finding
from ...tables import StoredColumn, Table
from ..base.change_feed import ChangeFeed
from ..base.engine import Engine
from ..base.errors import SnapshotLost
from ..base.loading import Target, TextWriter, Writer
from ..base.session import Row
from ..base.session_lifecycle import LOCK_WAIT_SECONDS, DatabaseInfo, Lifecycle
from ..base.values import Unreadable
from . import change_feed, feed_obstacles, out_of_range_dates, replication
from .catalogue import PostgreSQLCatalogue
from .constraints import PostgreSQLConstraints
from .digests import PostgreSQLDigests
from .errors import PostgreSQLErrors
from .features import FEATURES
from .loading import CopyTextWriter, CopyWriter
from .locks import Locks
from .row_batches import Batches
from .server_lines import PostgreSQLLines
from .server_settings import settings_of
from .session_setup import set_up
from .snapshots import Snapshots
from .types import PostgreSQLTypes
from .values import PostgreSQLValues
from .visible_tables import PostgreSQLVisibility

# Types whose binary form is the same in every version and in every database.
BINARY_TYPES = frozenset((
    "bool", "int2", "int4", "int8", "float4", "float8", "numeric", "text", "varchar", "bpchar", "bytea",
    "date", "time", "timestamp", "timestamptz", "interval", "uuid", "json", "jsonb", "inet",
))  # fmt: skip
# The sessions that hold a lock on a table of the application in this database; the server's own tables have OIDs below
# 16384 (PostgreSQL source, src/include/access/transam.h, FirstNormalObjectId).
BLOCKERS = """
    SELECT DISTINCT a.pid, coalesce(a.usename, '?'), coalesce(host(a.client_addr), 'this machine'),
           to_char(a.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') AS since,
           coalesce(a.application_name, '')
    FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE l.granted AND l.locktype = 'relation' AND l.relation >= 16384 AND a.pid <> pg_backend_pid()
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    ORDER BY since LIMIT 5
"""


class PostgreSQL(Snapshots, Batches, PostgreSQLErrors, Engine):
    """PostgreSQL 15 and newer, through psycopg2 or psycopg 3. Needs no superuser."""

    vendor = "postgresql"
    display_name = "PostgreSQL"
    features = FEATURES
    values_class = PostgreSQLValues
    catalogue_class = PostgreSQLCatalogue
    constraints_class = PostgreSQLConstraints
    digests_class = PostgreSQLDigests
    lines_class = PostgreSQLLines
    visibility_class = PostgreSQLVisibility
    types_class = PostgreSQLTypes
    catalogue: PostgreSQLCatalogue
    visibility: PostgreSQLVisibility

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        super().__init__(connection)
        self._locks = Locks(self, self.visibility)

    def describe(self) -> DatabaseInfo:
        version = str(self.fetch_value("SELECT current_setting('server_version')")).split()[0]
        database = str(self.fetch_value("SELECT current_database()"))
        given = self.connection.settings_dict
        host = given["HOST"] or "the local socket"
        return DatabaseInfo(
            self.alias, f"{self.display_name} {version}", database, f"{host}:{given['PORT']}" if given["PORT"] else host
        )

    def server_settings(self) -> list[tuple[str, str]]:
        return settings_of(self)

    def _open(self) -> None:
        self.connect()
        set_up(self)

    def open_parallel_session(self) -> PostgreSQL:
        other = type(self)(self.connection.copy())
        other.link_timeout = self.link_timeout
        try:
            if self._reads_snapshot:
                self._lend_snapshot(other)
            else:
                other._open()
        except BaseException:
            other.close()
            raise
        return other

    def open_destination(self) -> None:
        self._open()
        self.execute(
            "SELECT set_config(name, %s, false) FROM pg_settings "
            "WHERE name = 'lock_timeout' AND setting::integer NOT BETWEEN 1 AND %s",
            (f"{LOCK_WAIT_SECONDS}s", LOCK_WAIT_SECONDS * 1000),
        )
        # The journal must not record a commit that a crash of the server undoes.
        self.execute(
            "SELECT set_config(name, 'on', false) FROM pg_settings WHERE name = 'synchronous_commit' "
            "AND setting = 'off'"
        )

    def session_identity(self) -> Row | None:
        return self.fetch_all("SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()")[0]

    def end_session(self, identity: Row) -> None:
        self.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s AND backend_start = %s", identity
        )

    def blockers(self) -> list[str]:
        return [
            f"session {number} of {user!r} from {host}{f' ({application})' if application else ''}, in a transaction "
            f"since {since} UTC"
            for number, user, host, since, application in self.fetch_all(BLOCKERS)
        ]

    def free_sessions(self) -> int | None:
        free: int = self.fetch_value(
            "SELECT current_setting('max_connections')::integer "
            "- current_setting('superuser_reserved_connections')::integer - count(*)::integer "
            "FROM pg_stat_activity WHERE backend_type = 'client backend'"
        )
        return max(free, 0)

    def why_read_only(self) -> str | None:
        if self.fetch_value("SELECT pg_is_in_recovery()"):
            return "the server is a standby of another one"
        if self.fetch_value("SELECT current_setting('default_transaction_read_only')") == "on":
            return "its sessions are read-only (default_transaction_read_only)"
        return None

    def why_unprotected(self) -> tuple[str, str] | None:
        info = self.connection.connection.info
        given = info.get_parameters() if hasattr(info, "get_parameters") else info.dsn_parameters
        mode = given.get("sslmode", "prefer")
        if is_on_this_machine(info.host or "") or mode == "verify-full":
            return None
        return f"sslmode is {mode!r}", "Set sslmode to verify-full in its OPTIONS."

    def is_same_database(self, other: Lifecycle) -> bool:
        number = random.SystemRandom().getrandbits(62)
        self.fetch_value("SELECT pg_advisory_lock(%s)", (number,))
        try:
            if other.fetch_value("SELECT pg_try_advisory_lock(%s)", (number,)):
                other.fetch_value("SELECT pg_advisory_unlock(%s)", (number,))
                return False
            return True
        finally:
            self.fetch_value("SELECT pg_advisory_unlock(%s)", (number,))

    def follows(self, other: Lifecycle) -> bool:
        return replication.follows(self, other)

    def feed_obstacles(self) -> Iterator[Finding]:
        return feed_obstacles.obstacles(self)

    def open_change_feed(self, tables: Sequence[Table], check: Callable[[], None]) -> ChangeFeed:
        other = type(self)(self.connection.copy())
        other.link_timeout = self.link_timeout
        try:
            other._open()
            other.forbid_writes()
            return change_feed.SlotFeed(other, tables, check)
        except BaseException:
            other.close()
            raise

    def exact(self, text: str) -> str:
        return f'{text}::text COLLATE "C"'

    def claim(self, tables: Sequence[str]) -> None:
        self._locks.claim(tables)

    def lock(self) -> bool:
        return self._locks.take(self.worker)

    def lock_holder(self) -> int | None:
        return self._locks.holder(self.worker)

    def unlock(self) -> None:
        self._locks.release(self.worker)

    def workers(self) -> set[int]:
        return self._locks.workers()

    @contextlib.contextmanager
    def following_keys(self) -> Iterator[None]:
        # The planner believes that a table which was never analyzed is small, and would scan it for every chunk.
        self.execute("SET enable_seqscan = off")
        try:
            yield
        finally:
            with contextlib.suppress(DatabaseError, SnapshotLost):
                self.execute("RESET enable_seqscan")

    def typed_parameter(self, stored: StoredColumn) -> str:
        return f"CAST(%s AS {stored.declared.replace('%', '%%')})"

    @contextlib.contextmanager
    def tentatively(self) -> Iterator[None]:
        if self.connection.get_autocommit():
            yield
            return
        self.execute("SAVEPOINT tentatively")
        try:
            yield
        except DatabaseError:
            self.execute("ROLLBACK TO SAVEPOINT tentatively")
            raise
        finally:
            with contextlib.suppress(DatabaseError):
                self.execute("RELEASE SAVEPOINT tentatively")

    def key_parameter(self, value: Any) -> tuple[str, Any]:
        if isinstance(value, Unreadable) and value.stored is not None and value.reason != out_of_range_dates.REASON:
            return "convert_from(%s, 'SQL_ASCII')", value.stored
        return super().key_parameter(value)

    @contextlib.contextmanager
    def reading_everything(self) -> Iterator[None]:
        self.connection.ensure_connection()
        with out_of_range_dates.reading_all(self.connection.connection):
            yield

    def writer(self, table: str, targets: Sequence[Target]) -> Writer:
        return CopyWriter(self, table, targets)

    def text_writer(self, table: str, targets: Sequence[Target]) -> TextWriter:
        return CopyTextWriter(self, table, targets)

    def takes_binary(self, source: Lifecycle, columns: Iterable[StoredColumn]) -> bool:
        return source.vendor == self.vendor and all(column.type in BINARY_TYPES for column in columns)

    def binary_writer(self, table: str, targets: Sequence[Target]) -> TextWriter:
        return CopyTextWriter(self, table, targets, "BINARY")

    def empty(self, tables: Sequence[str]) -> None:
        try:
            with transaction.atomic(using=self.alias):
                self.execute(f"TRUNCATE {', '.join(map(self._alone, tables))}")
        except NotSupportedError:  # a table outside of the selection references one of these
            super().empty(tables)

    def delete_rows(self, table: str) -> None:
        self.execute(f"DELETE FROM {self._alone(table)}")

    def _alone(self, table: str) -> str:
        """Return a table's name in SQL, without tables that inherit from it; partitions are part of their table."""
        return f"{'' if self.visibility.partitioned([table]) else 'ONLY '}{self.quote(table)}"

    def bind_now(self) -> None:
        self.execute("SET CONSTRAINTS ALL IMMEDIATE")
        self.execute("SET CONSTRAINTS ALL DEFERRED")
