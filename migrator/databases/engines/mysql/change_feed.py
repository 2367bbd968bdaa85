"""MySQL and MariaDB: changes read from the binary log, with rows logged as such."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import Error

from ....errors import Refused
from ...tables import Table
from ..base.change_feed import Change, ChangeFeed, FeedLost, Moment, lost_with_session
from ..base.engine import Engine
from ..base.session_lifecycle import Lifecycle
from .binlog_connection import connect, free_server_id
from .binlog_events import LoggedRows, LoggedStatement, Position
from .binlog_keys import LoggedColumn, columns_of, has_changed, has_uuid, key_of, merged
from .cascades import Name, cascades_of
from .catalogue_rows import folding
from .gtids import GTIDs, executed_gtids, has_gtid, owned_gtids
from .logged_statements import changes_nothing, defines
from .snapshots import begin_reading

# The last position whose transaction the session's snapshot sees (MariaDB documentation, "START TRANSACTION").
SNAPSHOT_POSITION = """
SELECT GROUP_CONCAT(variable_value ORDER BY variable_name SEPARATOR '/') FROM information_schema.session_status
WHERE variable_name IN ('BINLOG_SNAPSHOT_FILE', 'BINLOG_SNAPSHOT_POSITION')
"""
TABLES_SQL = """
SELECT table_name, table_type = 'SYSTEM VERSIONED' FROM information_schema.tables
WHERE table_schema = DATABASE() AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED') AND engine = 'InnoDB'
"""
# Which server it is; MySQL has a UUID, and newer MariaDB another identifier.
IDENTITY = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('server_id', 'server_uuid', 'server_uid', 'hostname', 'port')"
OPEN_TRANSACTIONS_SECONDS = 60.0
# For the log to be readable up to what a snapshot sees.
LOG_SECONDS = 30.0
# So many seconds the uptime of the server may differ from the time that has passed here.
UPTIME_TOLERANCE_SECONDS = 5
POLL_SECONDS = 0.02


@dataclass(frozen=True)
class _Watched:
    """A table of the run in the log."""

    table: str
    key: tuple[LoggedColumn, ...]
    # A row that is deleted gets another end of its time, and stays in the log as changed.
    is_versioned: bool


@dataclass(frozen=True)
class _Parent:
    """A table whose changes change rows of watched ones, without any trace in the log."""

    on_delete: tuple[str, ...]
    on_update: tuple[str, ...]
    columns: tuple[LoggedColumn, ...]


class PositionMoment(Moment):
    """A snapshot of MariaDB, which knows its position in the log."""

    def __init__(self, position: Position) -> None:
        self._number = position.number

    def sees(self, transaction: int) -> bool:
        return transaction < self._number


class GTIDMoment(Moment):
    """A snapshot of MySQL: it sees what was executed before it began, and perhaps more.

    ``gtids``: of the transactions that the feed has reported.
    """

    def __init__(self, executed: GTIDs, gtids: Mapping[int, str | None]) -> None:
        self._executed, self._gtids = executed, gtids

    def sees(self, transaction: int) -> bool:
        return has_gtid(self._executed, self._gtids.get(transaction))

    def may_see(self, transaction: int) -> bool:
        return True


class BinlogFeed(ChangeFeed):
    """The changes since this object was made. ``session`` is one of its own; the log is read by further connections."""

    def __init__(self, session: Engine, tables: Sequence[Table], check: Callable[[], None]) -> None:
        """Begin; ``check`` is called while this waits for transactions.

        Raises :exc:`Refused` if transactions that are being committed do not end.
        """
        from .binlog_reader import BinlogReader  # needs an optional library

        self._session = session
        self._is_mariadb = bool(session.connection.mysql_is_mariadb)  # type: ignore[attr-defined]
        self._fold = folding(session)
        self._schema = str(session.fetch_value("SELECT DATABASE()"))
        self._identity = _identity(session.fetch_all(IDENTITY))
        self._uptime = self._started = 0.0
        self._refuse_restarted()
        self._watched = self._watch(tables)
        self.unreported = frozenset(
            {table.name for table in tables} - {found.table for found in self._watched.values()}
        )
        self._parents = self._find_parents()
        # Before the snapshot of the copy, so that its transactions have ended or come later in the log.
        begin = self._beginning(check)
        schemas = sorted({schema for schema, _ in (*self._watched, *self._parents)} | {self._schema})
        self._reader = BinlogReader(self._connect, free_server_id(session), schemas, begin)
        # MariaDB: what every later snapshot sees; and up to where the log has to be read for the last one.
        self._horizon = begin
        self._until = begin
        # MySQL: the transactions that every later snapshot sees, and the GTIDs of those with changes.
        self._executed: GTIDs = {}
        self._gtids: dict[int, str | None] = {}
        # The tables in which a row was found by a key with a UUID.
        self._proven: set[str] = set()

    # -- beginning ------------------------------------------------------------------------------------------------

    def _watch(self, tables: Sequence[Table]) -> dict[Name, _Watched]:
        """Return the tables of the run that the log has, by their names there."""
        session, fold = self._session, self._fold
        stored = {fold(name): (str(name), bool(is_versioned)) for name, is_versioned in session.fetch_all(TABLES_SQL)}
        found = {}
        for table in tables:
            known = stored.get(fold(session.stored_name(table.name)))
            if known is None:
                continue
            name, is_versioned = known
            columns = columns_of(session, self._schema, name)
            key = tuple(columns[column] for column in table.key)
            found[self._schema, fold(name)] = _Watched(table.name, key, is_versioned)
        return found

    def _find_parents(self) -> dict[Name, _Parent]:
        found = {}
        for (schema, parent), cascade in cascades_of(self._session).items():
            columns = columns_of(self._session, schema, parent)
            found[schema, self._fold(parent)] = _Parent(
                tuple(self._names(cascade.on_delete)),
                tuple(self._names(cascade.on_update)),
                tuple(columns[name] for name in sorted(cascade.columns)),
            )
        return found

    def _names(self, tables: frozenset[Name]) -> Iterator[str]:
        """Yield the run's names of those tables that it has."""
        for schema, name in sorted(tables):
            if (watched := self._watched.get((schema, self._fold(name)))) is not None:
                yield watched.table

    def _beginning(self, check: Callable[[], None]) -> Position:
        try:
            return self._visible_position() if self._is_mariadb else self._settled_position(check)
        except FeedLost as error:
            raise Refused(f"{self._session.alias!r} cannot be followed: {error}. Is log_bin still ON?") from error

    def _visible_position(self) -> Position:
        """Return the position in the log up to which every later snapshot of MariaDB sees all transactions."""
        begin_reading(self._session)
        try:
            return _snapshot_position(str(self._session.fetch_value(SNAPSHOT_POSITION)))
        finally:
            self._session.execute("ROLLBACK")

    def _settled_position(self, check: Callable[[], None]) -> Position:
        """Return a position in the log up to which every later snapshot of MySQL sees all transactions.

        A transaction is in the log before it becomes visible, and meanwhile owns its GTID (MySQL manual, "GTID Life
        Cycle").
        """
        status = self._session.fetch_all("SHOW BINARY LOG STATUS")
        if not status:
            raise FeedLost("the server has no binary log")
        file, offset = status[0][:2]
        owned = owned_gtids(self._session)
        deadline = time.monotonic() + OPEN_TRANSACTIONS_SECONDS
        while owned & owned_gtids(self._session):
            check()
            if time.monotonic() > deadline:
                raise Refused(
                    f"Following {self._session.alias!r} begins when the transactions have ended that are being "
                    f"committed there, and some have not after {OPEN_TRANSACTIONS_SECONDS:.0f} s. Nothing was "
                    "written. Does a semi-synchronous replica not answer? Call again when they have ended."
                )
            time.sleep(POLL_SECONDS)
        return Position.of(str(file), int(offset))

    def _connect(self, cursors: Any) -> Any:
        """Connect to read the log; raise :exc:`FeedLost` if that leads to another server."""
        link = connect(self._session, cursors)
        with link.cursor() as cursor:
            cursor.execute(IDENTITY)
            found = _identity(cursor.fetchall())
        if found != self._identity:
            link.close()
            raise FeedLost("the address of the source leads to another server now")
        return link

    # -- following ------------------------------------------------------------------------------------------------

    @property
    def snapshot_query(self) -> str | None:
        return SNAPSHOT_POSITION if self._is_mariadb else None

    def expect_snapshot(self) -> None:
        if not self._is_mariadb:
            with contextlib.suppress(Error):  # `check` finds out; what was executed before is seen as well
                self._executed = executed_gtids(self._session)

    def moment(self, snapshot: str) -> Moment:
        if not self._is_mariadb:
            return GTIDMoment(self._executed, self._gtids)
        position = _snapshot_position(snapshot)
        if position < self._horizon:
            raise FeedLost("the server began another binary log")
        self._until = self._horizon = position
        return PositionMoment(position)

    def read(self) -> Iterator[Change]:
        with lost_with_session():
            deadline = time.monotonic() + LOG_SECONDS
            while True:
                for found in self._reader.read():
                    for change in self._changes(found):
                        if not self._is_mariadb:
                            self._gtids.setdefault(found.transaction, found.gtid)
                        yield change
                if self._reader.position >= self._until:
                    break
                if time.monotonic() > deadline:
                    raise FeedLost(f"the binary log could not be read up to the snapshot for {LOG_SECONDS:.0f} s")
                time.sleep(POLL_SECONDS)
            if self._is_mariadb:
                self._horizon = max(self._horizon, self._visible_position())
            else:
                self.expect_snapshot()

    def _changes(self, found: LoggedRows | LoggedStatement) -> Iterator[Change]:
        if isinstance(found, LoggedStatement):
            for table in self._named(found):
                yield Change(table, None, found.transaction)
            return
        name = found.schema, self._fold(found.table)
        if (parent := self._parents.get(name)) is not None:
            yield from _cascading(parent, found)
        if (watched := self._watched.get(name)) is not None:
            if found.rows is None or not watched.key or not self._is_understood(watched, found):
                yield Change(watched.table, None, found.transaction)
            else:
                yield from _changes_of(watched, found)

    def _is_understood(self, watched: _Watched, found: LoggedRows) -> bool:
        """Whether keys with UUIDs are certainly read as the table has them: one of them has been found there."""
        if not has_uuid(watched.key) or watched.table in self._proven:
            return True
        test = " AND ".join(f"{self._session.quote(column.name)} = %s" for column in watched.key)
        sql = f"SELECT 1 FROM {self._session.quote(watched.table)} WHERE {test}"
        keys = [key_of(watched.key, after) for _, after in found.rows or () if after is not None]
        if any(key is not None and self._session.fetch_value(sql, key) for key in keys):
            self._proven.add(watched.table)
        return watched.table in self._proven

    def _named(self, statement: LoggedStatement) -> Iterator[str]:
        """Yield the tables whose rows a statement may have changed: all of them, unless it defines some."""
        if changes_nothing(statement.text):
            return
        text, is_definition = statement.text.lower(), defines(statement.text)
        if statement.schema not in ("", self._schema) and self._schema.lower() not in text:
            return
        for (_, name), watched in self._watched.items():
            if not is_definition or name.lower() in text:
                yield watched.table

    def settled(self, transaction: int) -> bool:
        if self._is_mariadb:
            return transaction < self._horizon.number
        if not has_gtid(self._executed, self._gtids.get(transaction)):
            return False
        del self._gtids[transaction]
        return True

    def check(self, source: Lifecycle) -> None:
        with lost_with_session():
            if not self._session.is_same_database(source):
                raise FeedLost("the address of the source leads to another server now")
            if _identity(self._session.fetch_all(IDENTITY)) != self._identity:
                raise FeedLost("the server has another identity now")
            self._refuse_restarted()

    def _refuse_restarted(self) -> None:
        """Raise :exc:`FeedLost` if the server was started since the last call: it may have lost transactions."""
        uptime = float(self._session.fetch_all("SHOW GLOBAL STATUS LIKE 'Uptime'")[0][1])
        now = time.monotonic()
        if uptime < self._uptime + (now - self._started) - UPTIME_TOLERANCE_SECONDS and self._started:
            raise FeedLost("the server was restarted")
        self._uptime, self._started = uptime, now

    def close(self) -> None:
        with contextlib.suppress(Error):
            self._session.connection.close()


def _changes_of(watched: _Watched, found: LoggedRows) -> Iterator[Change]:
    """Yield the keys of rows, or that any row may have changed, if a key could not be read."""
    may_be_gone = found.is_prepared or watched.is_versioned
    for before, after in found.rows or ():
        old = key_of(watched.key, before) if before is not None else None
        new = key_of(watched.key, merged(before, after) if before is not None else after) if after is not None else None
        if (before is not None and old is None) or (after is not None and new is None):
            yield Change(watched.table, None, found.transaction)
        if old is not None and old != new:
            yield Change(watched.table, old, found.transaction, True)
        if new is not None:
            yield Change(watched.table, new, found.transaction, may_be_gone)


def _cascading(parent: _Parent, found: LoggedRows) -> Iterator[Change]:
    """Yield the tables whose rows have changed with those of ``parent``."""
    is_deleting = is_updating = found.rows is None
    for before, after in found.rows or ():
        is_deleting = is_deleting or after is None
        is_updating = is_updating or (
            before is not None and after is not None and has_changed(parent.columns, before, after)
        )
    tables = {*(parent.on_delete if is_deleting else ()), *(parent.on_update if is_updating else ())}
    yield from (Change(table, None, found.transaction) for table in sorted(tables))


def _identity(rows: Sequence[Any]) -> tuple[tuple[str, str], ...]:
    pairs = (row.values() if isinstance(row, Mapping) else row for row in rows)
    return tuple(sorted((str(name), str(value)) for name, value in pairs))


def _snapshot_position(text: str) -> Position:
    """Return the position that a session's snapshot has, as :data:`SNAPSHOT_POSITION` returns it."""
    file, _, offset = text.rpartition("/")
    if not file or not offset.isdigit():
        raise FeedLost("the server does not know the position of a snapshot in its binary log")
    return Position.of(file, int(offset))
