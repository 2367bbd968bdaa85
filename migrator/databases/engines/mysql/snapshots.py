"""MySQL and MariaDB: several sessions that read one moment, begun while all tables are locked against writers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing

from django.db import Error

from ..base.session import Session, cause_of

# Writers wait behind the lock, and the lock behind transactions that have written: not for long.
LOCK_SECONDS = 5
NO_RIGHT = (1044, 1045, 1142, 1143, 1227)
WAITED = (1205, 1213)

Readers = dict[int, Session]


def begin_reading(session: Session) -> None:
    """Begin the transaction that reads one moment and cannot write."""
    _make_read_only(session)
    _begin(session)


def _make_read_only(session: Session) -> None:
    session.execute("SET SESSION TRANSACTION READ ONLY")
    session.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")


def _begin(session: Session) -> None:
    session.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")


def open_readers(own: Session, wanted: int, another: Callable[[], Session]) -> tuple[Readers, str | None]:
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


def _begin_together(locker: Session, sessions: Sequence[Session]) -> str | None:
    """Begin all at one moment in which nobody writes; return why that cannot be."""
    for session in sessions:
        _make_read_only(session)
    for name in ("lock_wait_timeout", "innodb_lock_wait_timeout"):
        locker.execute(f"SET SESSION {name} = {LOCK_SECONDS}")
    # Only without autocommit does InnoDB, too, let a lock wait until whoever has written commits.
    locker.connection.set_autocommit(False)
    rows = locker.fetch_all("SHOW FULL TABLES WHERE table_type = 'BASE TABLE'")
    try:
        if rows:
            locker.execute(f"LOCK TABLES {', '.join(f'{locker.quote(row[0])} READ' for row in rows)}")
    except Error as error:
        return _reason(error)
    for session in sessions:
        _begin(session)
    return None


def _reason(error: Error) -> str:
    cause = cause_of(error)
    code = cause.args[0] if cause.args else None
    if code in NO_RIGHT:
        return "its user may not lock tables (the right is LOCK TABLES), which more than one reader needs"
    if code in WAITED:
        return f"somebody's transaction kept its tables from being locked for {LOCK_SECONDS} seconds"
    return f"its tables could not be locked (error {code})"
