"""MySQL and MariaDB: several sessions that read one moment, begun while nobody can write."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from contextlib import closing

from django.db import Error

from ..base.session import DatabaseSession, cause_of

LOCK_SECONDS = 5  # in which a moment without writers has to be found
NO_RIGHT = (1044, 1045, 1142, 1143, 1227)
BUSY = (1205, 1213)

Readers = dict[int, DatabaseSession]


def begin_reading(session: DatabaseSession) -> None:
    """Begin the transaction that reads one moment and cannot write."""
    make_read_only(session)
    _begin(session)


def make_read_only(session: DatabaseSession) -> None:
    """Let the session's transactions from now on write nothing, and read one moment each."""
    session.execute("SET SESSION TRANSACTION READ ONLY")
    session.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")


def _begin(session: DatabaseSession) -> None:
    session.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")


def open_readers(
    own: DatabaseSession, wanted: int, another: Callable[[], DatabaseSession]
) -> tuple[Readers, str | None]:
    """Begin the snapshot of ``own`` and of ``wanted`` sessions more at the same moment.

    Returns those sessions, and why they are fewer. Where there are none, ``own`` has not begun either.
    """
    readers: Readers = {}
    note: str | None = None
    try:
        locker = another()
    except Error:
        return {}, "its server takes no more connections"
    with closing(locker.connection):
        try:
            for number in range(wanted):
                readers[number] = another()
        except Error:
            note = "its server takes no more connections"
        problem = _begin_together(locker, [own, *readers.values()]) if readers else None
    if problem:
        for session in readers.values():
            session.connection.close()
        return {}, problem
    return readers, note


def _begin_together(locker: DatabaseSession, sessions: Sequence[DatabaseSession]) -> str | None:
    """Begin all at one moment in which nobody writes; return why that cannot be."""
    for session in sessions:
        make_read_only(session)
    is_mariadb = locker.connection.mysql_is_mariadb  # type: ignore[attr-defined]
    try:
        if is_mariadb:
            _lock_tables(locker)
        else:
            _lock_server(locker)
    except Error as error:
        return _reason(error, "LOCK TABLES" if is_mariadb else "RELOAD")
    for session in sessions:
        _begin(session)
    return None


def _lock_tables(locker: DatabaseSession) -> None:
    """Lock all tables against writers, at an instant in which no transaction has written.

    Without waiting: a lock that waits while it holds others would make the server break off the transactions of the
    application that wait for it in turn.
    """
    # Only without autocommit do InnoDB's own locks count, too.
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
        time.sleep(random.uniform(0.001, 0.02))  # noqa: S311 - not to keep step with what is busy


def _lock_server(locker: DatabaseSession) -> None:
    """Lock the whole server against writers: the statements of open transactions wait, and none is broken off."""
    locker.execute(f"SET SESSION lock_wait_timeout = {LOCK_SECONDS}")
    locker.execute("FLUSH TABLES WITH READ LOCK")


def _reason(error: Error, right: str) -> str:
    code = _code(error)
    if code in NO_RIGHT:
        return f"several readers have to begin at one moment, and its user may not stop writers for it (by {right})"
    if code in BUSY:
        return f"several readers have to begin at one moment, and somebody wrote all the time for {LOCK_SECONDS} s"
    return f"writers could not be stopped for a moment (error {code})"


def _code(error: Error) -> object:
    cause = cause_of(error)
    return cause.args[0] if cause.args else None
