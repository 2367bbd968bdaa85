"""MySQL and MariaDB: several sessions that read the same snapshot, which begins while no transaction commits."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Generic, TypeVar

from django.db import Error

from ..base.session import DatabaseSession, cause_of
from ..base.shared_snapshots import Invitation
from .enlisted_sessions import EnlistedSessions, dismiss, hold_for_command

LOCK_SECONDS = 5  # for a moment without open writing transactions, or without commits
# ER_DBACCESS_DENIED_ERROR, ER_ACCESS_DENIED_ERROR, ER_TABLEACCESS_DENIED_ERROR, ER_COLUMNACCESS_DENIED_ERROR and
# ER_SPECIFIC_ACCESS_DENIED_ERROR (MySQL Server Error Message Reference)
NO_PRIVILEGE = (1044, 1045, 1142, 1143, 1227)
BUSY = (1205, 1213)  # ER_LOCK_WAIT_TIMEOUT, ER_LOCK_DEADLOCK

Reader = TypeVar("Reader", bound=DatabaseSession)


def begin_reading(session: DatabaseSession) -> None:
    """Begin a read-only transaction with a consistent snapshot."""
    make_read_only(session)
    begin_snapshot(session)


def make_read_only(session: DatabaseSession) -> None:
    """Make all further transactions of a session read-only, with one snapshot each."""
    session.execute("SET SESSION TRANSACTION READ ONLY")
    session.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")


def begin_snapshot(session: DatabaseSession) -> None:
    """Begin the snapshot of a session that :func:`make_read_only` has set up; an earlier one ends."""
    session.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")


class CommonSnapshot(Generic[Reader]):
    """A snapshot that several sessions have begun at the same moment.

    ``readers`` are those of this process, by number, and ``enlisted`` the server's numbers of those of other hosts.
    ``has_begun``: if not, no session has begun any. ``problem``: why there are fewer than wanted.
    """

    def __init__(self) -> None:
        self.readers: dict[int, Reader] = {}
        self.enlisted: frozenset[int] = frozenset()
        self.has_begun = False
        self.problem: str | None = None


def begin_common_snapshot(
    own: DatabaseSession, wanted: int, another: Callable[[], Reader], invitation: Invitation | None = None
) -> CommonSnapshot[Reader]:
    """Begin the snapshot of ``own``, of ``wanted`` more sessions, and of those on other hosts that accept.

    If there would be neither, ``own`` does not begin it either.
    """
    common: CommonSnapshot[Reader] = CommonSnapshot()
    try:
        locker = another()
    except Error:
        common.problem = "its server accepts no more connections"
        return common
    with closing(locker.connection):
        try:
            for number in range(wanted):
                common.readers[number] = another()
        except Error:
            common.problem = "its server accepts no more connections"
        enlisted = None
        if invitation is not None:
            hold_for_command(own, invitation.name)
            enlisted = EnlistedSessions(locker, invitation)
            enlisted.gather()
        if not (common.readers or enlisted):
            return common
        problem = _begin_together(locker, [own, *common.readers.values()], enlisted)
    if problem:
        for session in common.readers.values():
            session.connection.close()
        common.readers, common.problem = {}, problem
        if invitation is not None:
            dismiss(own, invitation.name)
        return common
    common.has_begun = True
    if enlisted is not None:
        common.enlisted = enlisted.begun
    return common


def _begin_together(
    locker: DatabaseSession, sessions: Sequence[DatabaseSession], enlisted: EnlistedSessions | None
) -> str | None:
    """Begin all snapshots while no transaction can commit, or does; return why that is impossible, or ``None``."""
    for session in sessions:
        make_read_only(session)
    is_mariadb = locker.connection.mysql_is_mariadb  # type: ignore[attr-defined]
    try:
        if is_mariadb:
            _lock_tables(locker)
        else:
            _lock_server(locker)
    except Error as error:
        if not is_mariadb and _logs_commits(locker) and _begin_between_commits(locker, sessions, enlisted):
            return None
        return _reason(error, "LOCK TABLES" if is_mariadb else "FLUSH_TABLES or RELOAD")
    _begin_all(sessions, enlisted)
    if enlisted is not None:
        enlisted.end()
    return None


def _begin_all(sessions: Sequence[DatabaseSession], enlisted: EnlistedSessions | None) -> None:
    for session in sessions:
        begin_snapshot(session)
    if enlisted is not None:
        enlisted.begin()


def _lock_tables(locker: DatabaseSession) -> None:
    """Lock all tables for reading, at a moment when no open transaction has written.

    With NOWAIT: a lock that waits while it holds others would deadlock with the application's transactions, and the
    server would roll those back.
    """
    # InnoDB takes table locks only without autocommit (MySQL manual, "LOCK TABLES and UNLOCK TABLES Statements",
    # "Interaction of Table Locking and Transactions").
    locker.connection.set_autocommit(False)
    rows = locker.fetch_all("SHOW FULL TABLES WHERE table_type IN ('BASE TABLE', 'SYSTEM VERSIONED')")
    statement = f"LOCK TABLES {', '.join(f'{locker.quote(row[0])} READ' for row in rows)} NOWAIT"
    deadline = time.monotonic() + LOCK_SECONDS
    while rows:
        try:
            locker.execute(statement)
            break
        except Error as error:
            locker.connection.rollback()
            if _code(error) not in BUSY or time.monotonic() > deadline:
                raise
        time.sleep(random.uniform(0.001, 0.02))  # noqa: S311 - jitter


def _lock_server(locker: DatabaseSession) -> None:
    """Lock the whole server for reading: writing statements wait, and no transaction is rolled back."""
    locker.execute(f"SET SESSION lock_wait_timeout = {LOCK_SECONDS}")
    locker.execute("FLUSH TABLES WITH READ LOCK")


def _logs_commits(session: DatabaseSession) -> bool:
    """Whether each transaction gets a GTID, unless a privileged user exempts it from the binary log."""
    rows = session.fetch_all("SELECT @@GLOBAL.gtid_mode, @@GLOBAL.log_bin")
    return tuple(rows[0]) == ("ON", 1)


def _begin_between_commits(
    watcher: DatabaseSession, sessions: Sequence[DatabaseSession], enlisted: EnlistedSessions | None
) -> bool:
    """Begin all snapshots, again and again, until no transaction has committed in the meantime; whether one had not.

    A transaction's GTID is owned before its changes become visible, until it is among the executed ones (MySQL manual,
    "GTID Life Cycle"). So if none is owned after the last beginning, and those executed are the same as before the
    first, no changes became visible between the two.
    """
    deadline = time.monotonic() + LOCK_SECONDS
    while time.monotonic() < deadline:
        before = watcher.fetch_value("SELECT @@GLOBAL.gtid_executed")
        _begin_all(sessions, enlisted)
        # In this order: a transaction moves from the first to the second.
        owned = watcher.fetch_value("SELECT @@GLOBAL.gtid_owned")
        if not owned and watcher.fetch_value("SELECT @@GLOBAL.gtid_executed") == before:
            if enlisted is not None:
                enlisted.end()
            return True
    for session in sessions:
        session.execute("ROLLBACK")
    return False


def _reason(error: Error, right: str) -> str:
    code = _code(error)
    if code in NO_PRIVILEGE:
        return (
            f"several readers need a common snapshot, and its user may not lock out writers for it (privilege {right})"
        )
    if code in BUSY:
        return f"several readers need a common snapshot, and for {LOCK_SECONDS} s other sessions wrote without a pause"
    return f"writers could not be locked out (error {code})"


def _code(error: Error) -> object:
    cause = cause_of(error)
    return cause.args[0] if cause.args else None
