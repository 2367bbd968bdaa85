"""MySQL and MariaDB: several sessions that read the same snapshot, which begins while no transaction commits."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TypeVar

from django.db import Error

from ..base.session import DatabaseSession, cause_of

LOCK_SECONDS = 5  # for a moment without open writing transactions, or without commits
# ER_DBACCESS_DENIED_ERROR, ER_ACCESS_DENIED_ERROR, ER_TABLEACCESS_DENIED_ERROR, ER_COLUMNACCESS_DENIED_ERROR and
# ER_SPECIFIC_ACCESS_DENIED_ERROR (MySQL Server Error Message Reference)
NO_PRIVILEGE = (1044, 1045, 1142, 1143, 1227)
BUSY = (1205, 1213)  # ER_LOCK_WAIT_TIMEOUT, ER_LOCK_DEADLOCK

Reader = TypeVar("Reader", bound=DatabaseSession)


def begin_reading(session: DatabaseSession) -> None:
    """Begin a read-only transaction with a consistent snapshot."""
    make_read_only(session)
    _begin(session)


def make_read_only(session: DatabaseSession) -> None:
    """Make all further transactions of a session read-only, with one snapshot each."""
    session.execute("SET SESSION TRANSACTION READ ONLY")
    session.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")


def _begin(session: DatabaseSession) -> None:
    session.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")


def open_readers(
    own: DatabaseSession, wanted: int, another: Callable[[], Reader]
) -> tuple[dict[int, Reader], str | None]:
    """Begin the snapshot of ``own`` and of ``wanted`` more sessions at the same moment.

    Returns those sessions by number, and why they are fewer than wanted. If it returns none, ``own`` has not begun
    its snapshot either.
    """
    readers: dict[int, Reader] = {}
    note: str | None = None
    try:
        locker = another()
    except Error:
        return {}, "its server accepts no more connections"
    with closing(locker.connection):
        try:
            for number in range(wanted):
                readers[number] = another()
        except Error:
            note = "its server accepts no more connections"
        problem = _begin_together(locker, [own, *readers.values()]) if readers else None
    if problem:
        for session in readers.values():
            session.connection.close()
        return {}, problem
    return readers, note


def _begin_together(locker: DatabaseSession, sessions: Sequence[DatabaseSession]) -> str | None:
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
        if not is_mariadb and _logs_commits(locker) and _begin_between_commits(locker, sessions):
            return None
        return _reason(error, "LOCK TABLES" if is_mariadb else "FLUSH_TABLES or RELOAD")
    for session in sessions:
        _begin(session)
    return None


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


def _begin_between_commits(watcher: DatabaseSession, sessions: Sequence[DatabaseSession]) -> bool:
    """Begin all snapshots, again and again, until no transaction has committed in the meantime; whether one had not.

    A transaction's GTID is owned before its changes become visible, until it is among the executed ones (MySQL manual,
    "GTID Life Cycle"). So if none is owned after the last beginning, and those executed are the same as before the
    first, no changes became visible between the two.
    """
    deadline = time.monotonic() + LOCK_SECONDS
    while time.monotonic() < deadline:
        before = watcher.fetch_value("SELECT @@GLOBAL.gtid_executed")
        for session in sessions:
            _begin(session)
        # In this order: a transaction moves from the first to the second.
        owned = watcher.fetch_value("SELECT @@GLOBAL.gtid_owned")
        if not owned and watcher.fetch_value("SELECT @@GLOBAL.gtid_executed") == before:
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
