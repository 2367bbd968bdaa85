"""PostgreSQL: the settings of a session, and whether it is a session of its own."""

from __future__ import annotations

import time

from ....errors import Refused
from ..base.session import DatabaseSession
from . import out_of_range_dates

# No time limit ends a session that waits for the other database, or a long statement; values are printed exactly.
SESSION_SETTINGS = {
    # Where a policy would hide rows, the query fails (PostgreSQL manual, "Row Security Policies").
    "row_security": "off",
    "statement_timeout": "0",
    "transaction_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "idle_session_timeout": "0",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "cursor_tuple_fraction": "1",
    # The server has to notice a client that is gone: its lock would keep every other run out.
    "tcp_keepalives_idle": "60",
    "tcp_keepalives_interval": "15",
    "tcp_keepalives_count": "4",
}
# A pooler may answer a moment before it can give the session to the next client.
POOLER_SECONDS = 0.05
POOLER_ATTEMPTS = 4


def set_up(session: DatabaseSession) -> None:
    """Set up a session that has just connected.

    Raises :exc:`~migrator.errors.Refused` behind a pooler in transaction mode.
    """
    _refuse_pooler(session)
    # Older servers lack some of the settings.
    session.execute(
        "SELECT set_config(known.name, wanted.value, false) FROM unnest(%s::text[], %s::text[]) "
        "AS wanted(name, value) JOIN pg_settings known USING (name)",
        (list(SESSION_SETTINGS), list(SESSION_SETTINGS.values())),
    )
    out_of_range_dates.reject_24_hours(session.connection.connection)


def _refuse_pooler(session: DatabaseSession) -> None:
    """Refuse a pooler that gives the session to another client between two transactions.

    A run's lock and settings would be lost there, and its settings would reach the application instead. A connection
    through a pooler shows the pooler's own backend number at login (PostgreSQL manual, "Message Formats",
    BackendKeyData).
    """
    if session.connection.connection.info.backend_pid == _backend(session):
        return
    other = session.connection.copy()
    try:
        for _ in range(POOLER_ATTEMPTS):
            before = _backend(session)
            time.sleep(POOLER_SECONDS)
            other.set_autocommit(False)
            with other.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                taken = cursor.fetchone()[0]
            if before in (taken, 0) or _backend(session) != before:
                raise Refused(
                    f"{session.alias!r} is reached through a pooler that gives every transaction another session, "
                    "where a run's lock and settings are lost. Configure the server itself in DATABASES, or a pool in "
                    "session mode."
                )
            other.rollback()
            time.sleep(POOLER_SECONDS)
    finally:
        other.close()


def _backend(session: DatabaseSession) -> int:
    return int(session.fetch_value("SELECT pg_backend_pid()"))
