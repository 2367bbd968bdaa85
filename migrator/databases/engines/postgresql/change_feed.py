"""PostgreSQL: changes read from a temporary logical replication slot, which ends with its session."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from django.db import DatabaseError, Error

from ....errors import Refused
from ...tables import Table
from ..base.change_feed import Change, ChangeFeed, FeedLost, Moment, lost_with_session
from ..base.engine import Engine
from ..base.session_lifecycle import Lifecycle
from .decoded_changes import TABLE, Line, NotUnderstood, read_line
from .errors import sqlstate

PLUGIN = "test_decoding"
# Decoded changes that one call returns; the server keeps them in files beyond work_mem.
CHANGES_AT_ONCE = 100_000
# For the transactions that are open when the feed begins, and for the server to write what they committed.
OPEN_TRANSACTIONS_SECONDS = 60.0
FLUSH_SECONDS = 30.0
# A commit that is under way is on the disk by then. The WAL writer needs up to three of its rounds of 200 ms (manual,
# "Asynchronous Commit").
FLUSH_PATIENCE_SECONDS = 0.05
POLL_SECONDS = 0.02
XIDS = 1 << 32
QUERY_CANCELED, UNDEFINED_FILE = "57014", "58P01"

# The tables of a run with all that inherit from them, partitions among them, because changes carry their names.
WATCHED = """
WITH RECURSIVE watched(number, oid) AS (
    SELECT n.number, to_regclass(n.name)::oid FROM unnest(%s::text[]) WITH ORDINALITY AS n(name, number)
    UNION
    SELECT w.number, h.inhrelid FROM watched w JOIN pg_inherits h ON h.inhparent = w.oid
)
SELECT w.number, quote_ident(s.nspname) || '.' || quote_ident(c.relname), c.relkind IN ('r', 'p'),
       c.relpersistence = 'p', c.relreplident::text,
       ARRAY(SELECT a.attname::text FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid
             AND a.attnum = ANY(i.indkey::smallint[]) WHERE i.indrelid = c.oid AND i.indisprimary ORDER BY 1),
       coalesce(pg_relation_filenode(c.oid), 0)
FROM watched w JOIN pg_class c ON c.oid = w.oid JOIN pg_namespace s ON s.oid = c.relnamespace
ORDER BY w.number, c.oid
"""
# The sessions whose transactions were open at a snapshot; others than a superuser see the names of their own only.
OPEN_TRANSACTIONS = """
SELECT pid, coalesce(usename, '?'), coalesce(application_name, '') FROM pg_stat_activity
WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid() ORDER BY xact_start LIMIT 5
"""
# The tables to which open transactions have written, or are about to write; prepared ones, too (manual, "Table-Level
# Locks").
BEING_WRITTEN = """
SELECT DISTINCT quote_ident(s.nspname) || '.' || quote_ident(c.relname)
FROM pg_locks l JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace s ON s.oid = c.relnamespace
WHERE l.locktype = 'relation' AND l.mode = 'RowExclusiveLock' AND l.granted
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@dataclass(frozen=True)
class _Relation:
    """A table in the database, as far as its changes depend on it."""

    table: str
    is_stored: bool
    is_logged: bool
    identity: str
    primary_key: tuple[str, ...]


class Snapshot(Moment):
    """A snapshot as ``pg_current_snapshot()`` describes it: ``xmin:xmax:xip,…`` (manual, "pg_snapshot Components")."""

    def __init__(self, text: str) -> None:
        xmin, xmax, running = text.split(":")
        self.xmin, self.xmax = int(xmin), int(xmax)
        self._running = frozenset(map(int, running.split(","))) if running else frozenset()

    def sees(self, transaction: int) -> bool:
        # Decoded is not visible: a transaction whose commit waits for a synchronous standby is in the list of running
        # ones, although its commit has been written, and so decoded.
        return transaction < self.xmax and transaction not in self._running


class SlotFeed(ChangeFeed):
    """The changes since this object was made, read from a temporary replication slot in a session of its own.

    The slot keeps WAL on the server until it is read (manual, "Logical Decoding Concepts").
    """

    def __init__(self, session: Engine, tables: Sequence[Table], check: Callable[[], None]) -> None:
        """Begin; ``check`` is called while this waits for open transactions.

        Raises :exc:`Refused` if they last too long, or the plugin is not installed.
        """
        self._session, self._tables = session, tables
        self._slot = f"migrator_{os.getpid()}_{secrets.token_hex(4)}"
        self._until: str | None = None
        self._create_slot()
        self._await_open_transactions(check)
        self._relations, self._files = self._look()
        self.unreported = frozenset(
            one.table for found in self._relations.values() for one in found if not (one.is_stored and one.is_logged)
        )
        self._keys = {name: self._key_of(found[0].table) for name, found in self._relations.items()}
        self._rewritten: list[str] = []
        self._next = Snapshot(self._snapshot_text()).xmax
        self._horizon = 0

    # -- beginning ------------------------------------------------------------------------------------------------

    def _create_slot(self) -> None:
        session = self._session
        try:
            # The server waits for all transactions that have written, and gives no reason for it.
            session.execute(f"SET statement_timeout = '{OPEN_TRANSACTIONS_SECONDS:.0f}s'")
            session.fetch_value("SELECT pg_create_logical_replication_slot(%s, %s, true)", (self._slot, PLUGIN))
            session.execute("SET statement_timeout = 0")
        except DatabaseError as error:
            if sqlstate(error) == QUERY_CANCELED:
                raise self._transactions_too_long() from error
            if sqlstate(error) == UNDEFINED_FILE:
                raise Refused(
                    f"The server of {session.alias!r} lacks the plugin {PLUGIN}, which reads changes. Install "
                    "PostgreSQL's contrib modules there, or move without --follow."
                ) from error
            raise

    def _await_open_transactions(self, check: Callable[[], None]) -> None:
        """Wait until a new snapshot sees all transactions that the slot does not report because they were before it.

        A commit is decoded, or is before the slot, as soon as it is written; it becomes visible a moment later, or much
        later if it waits for a synchronous standby.
        """
        # A number of its own, because a snapshot's xmax may be below the numbers of open transactions: it follows the
        # last one that has ended (source, procarray.c, GetSnapshotData).
        latest = int(self._session.fetch_value("SELECT pg_current_xact_id()::text"))
        deadline = time.monotonic() + OPEN_TRANSACTIONS_SECONDS
        while Snapshot(self._snapshot_text()).xmin <= latest:
            check()
            if time.monotonic() > deadline:
                raise self._transactions_too_long()
            time.sleep(POLL_SECONDS)

    def _transactions_too_long(self) -> Refused:
        with contextlib.suppress(Error):
            self._session.execute("SET statement_timeout = 0")
        found = [
            f"session {pid} of {user!r}{f' ({application})' if application else ''}"
            for pid, user, application in self._session.fetch_all(OPEN_TRANSACTIONS)
        ]
        named = f": {'; '.join(found)}" if found else ""
        return Refused(
            f"Following {self._session.alias!r} begins when the transactions have ended that have written there, and "
            f"some are still open after {OPEN_TRANSACTIONS_SECONDS:.0f} s{named}. Wait for them, or end them, and call "
            "again."
        )

    def _look(self) -> tuple[dict[str, tuple[_Relation, ...]], dict[str, int]]:
        """Return the watched tables by their names in changes, and the files that hold them.

        A table that inherits from another one of the run has rows of both.
        """
        names = [table.name for table in self._tables]
        relations: dict[str, tuple[_Relation, ...]] = {}
        files: dict[str, int] = {}
        for number, name, is_stored, is_logged, identity, key, file in self._session.fetch_all(
            WATCHED, (self._session.identifiers(names),)
        ):
            one = _Relation(names[number - 1], is_stored, is_logged, identity, tuple(key))
            relations[name] = (*relations.get(name, ()), one)
            files[name] = file
        return relations, files

    def _key_of(self, name: str) -> tuple[str, ...]:
        """Return the columns of a table's key as changes name them."""
        key = next(table.key for table in self._tables if table.name == name)
        return tuple(
            str(row[0])
            for row in self._session.fetch_all(
                "SELECT quote_ident(name) FROM unnest(%s::text[]) WITH ORDINALITY AS n(name, number) ORDER BY number",
                (list(key),),
            )
        )

    # -- following ------------------------------------------------------------------------------------------------

    @property
    def snapshot_query(self) -> str:
        return "SELECT pg_current_snapshot()::text"

    def moment(self, snapshot: str) -> Snapshot:
        with lost_with_session():
            self._refuse_changed()
            # After the snapshot: before it, a row could refer to a parent of a later transaction.
            self._until = str(self._session.fetch_value("SELECT pg_current_wal_insert_lsn()"))
            self._await_flush(self._until)
        return Snapshot(snapshot)

    def _refuse_changed(self) -> None:
        """Find out which tables were rewritten, which no change reports.

        Raises :exc:`FeedLost` if tables have come, such as a partition, whose first changes were not noted.
        """
        relations, files = self._look()
        if relations != self._relations:
            raise FeedLost("tables or partitions were created, attached, dropped or changed")
        changed = (name for name in files if files[name] != self._files[name])
        self._rewritten += [one.table for name in changed for one in relations[name]]
        self._files = files

    def _await_flush(self, position: str) -> None:
        """Wait until the server has written its WAL to disk up to a position, as only that part is decoded.

        A snapshot also sees commits that are not written yet, with ``synchronous_commit = off``.
        """
        began, is_nudged = time.monotonic(), False
        while not self._session.fetch_value("SELECT pg_current_wal_flush_lsn() >= %s::pg_lsn", (position,)):
            waited = time.monotonic() - began
            if waited > FLUSH_SECONDS:
                raise FeedLost(f"the server did not write its WAL to disk for {FLUSH_SECONDS:.0f} s")
            if waited > FLUSH_PATIENCE_SECONDS and not is_nudged:
                # WAL of transactions that are still open is written with the next commit only. This ends an empty
                # transaction with a number, whose commit the WAL writer takes to the disk (source, xact.c,
                # RecordTransactionCommit).
                self._session.fetch_value("SELECT pg_current_xact_id()::text")
                is_nudged = True
            time.sleep(POLL_SECONDS)

    def read(self) -> Iterator[Change]:
        with lost_with_session():
            rewritten, self._rewritten = self._rewritten, []
            yield from (Change(table, None, 0) for table in rewritten)
            flushed = str(self._session.fetch_value("SELECT pg_current_wal_flush_lsn()"))
            until = max(filter(None, (self._until, flushed)), key=_position)
            while True:
                count = 0
                for xid, data in self._decoded(until):
                    count += 1
                    yield from self._changes(self._numbered(int(xid)), data)
                if count < CHANGES_AT_ONCE:
                    break
            latest = Snapshot(self._snapshot_text())
            self._next, self._horizon = latest.xmax, latest.xmin

    def _decoded(self, until: str) -> Iterator[tuple[str, str]]:
        sql = (
            "SELECT xid::text, data FROM pg_logical_slot_get_changes(%s, %s::pg_lsn, %s, 'include-xids', '0', "
            "'skip-empty-xacts', '1')"
        )
        with contextlib.closing(self._session.stream(sql, (self._slot, until, CHANGES_AT_ONCE))) as found:
            for rows in found:
                yield from ((xid, data) for xid, data in rows)

    def _numbered(self, xid: int) -> int:
        """Return a transaction's number in 64 bits, as snapshots have it; changes have its lower half."""
        distance = (xid - self._next) % XIDS
        return self._next + (distance - XIDS if distance >= XIDS // 2 else distance)

    def _changes(self, transaction: int, data: str) -> Iterator[Change]:
        if not data.startswith(TABLE):  # BEGIN, COMMIT, or a message of an extension
            return
        try:
            line = read_line(data, self._keys)
        except NotUnderstood as error:
            raise FeedLost(f"changes could not be read: {error}") from error
        for name in line.tables:
            if name in self._relations:
                own, *others = self._relations[name]
                yield from _changes_of(own, self._keys[name], line, transaction)
                # Their keys may be other columns.
                yield from (Change(one.table, None, transaction) for one in others)

    def settled(self, transaction: int) -> bool:
        return transaction < self._horizon

    def being_written(self) -> frozenset[str]:
        with lost_with_session():
            names = [name for (name,) in self._session.fetch_all(BEING_WRITTEN)]
        return frozenset(one.table for name in names for one in self._relations.get(name, ()))

    def check(self, source: Lifecycle) -> None:
        with lost_with_session():
            if not self._session.is_same_database(source):
                raise FeedLost("the address of the source leads to another server now")
            rows = self._session.fetch_all(
                "SELECT wal_status FROM pg_replication_slots WHERE slot_name = %s", (self._slot,)
            )
        status = rows[0][0] if rows else "gone"
        if status in ("unreserved", "lost", "gone"):
            raise FeedLost(f"the server no longer keeps all changes ({status}, max_slot_wal_keep_size)")

    def close(self) -> None:
        with contextlib.suppress(Error):
            self._session.connection.close()

    def _snapshot_text(self) -> str:
        return str(self._session.fetch_value(self.snapshot_query))


def _changes_of(relation: _Relation, key: Sequence[str], line: Line, transaction: int) -> Iterator[Change]:
    """Yield what a line reports about a table's rows: one key or two, or that any row may have changed."""
    if line.action == "TRUNCATE" or (line.action == "INSERT" and line.after is None):
        yield Change(relation.table, None, transaction)
        return
    # Old keys are those of the replica identity: of the primary key, of all columns, of another index, or of nothing.
    has_old_keys = relation.identity == "f" or (
        relation.identity == "d" and sorted(relation.primary_key) == sorted(_plain(name) for name in key)
    )
    if line.action != "INSERT" and not has_old_keys:
        yield Change(relation.table, None, transaction)
        return
    known = [(found, removes) for found, removes in ((line.before, True), (line.after, False)) if found is not None]
    if not known:
        yield Change(relation.table, None, transaction)
    yield from (Change(relation.table, found, transaction, removes) for found, removes in known)


def _plain(name: str) -> str:
    """Return a column's name without the quotes that SQL needs for it."""
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def _position(lsn: str) -> int:
    high, low = lsn.split("/")
    return int(high, 16) << 32 | int(low, 16)
