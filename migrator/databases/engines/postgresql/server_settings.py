"""PostgreSQL: the settings of a server that matter for a run."""

from __future__ import annotations

from ..base.session import DatabaseSession

SHOWN = ("default_transaction_read_only", "max_connections", "server_encoding", "statement_timeout", "wal_level")
# What a new session has: Django sets the time zone of its own.
ZONE = "TimeZone"


def settings_of(session: DatabaseSession) -> list[tuple[str, str]]:
    """Return the names and values of these settings."""
    query = "SELECT name, reset_val FROM pg_settings WHERE name = ANY(%s) ORDER BY name"
    found = [(str(name), str(value)) for name, value in session.fetch_all(query, ([*SHOWN, ZONE],))]
    ((collation, size, in_recovery, is_encrypted),) = session.fetch_all(
        "SELECT d.datcollate, pg_size_pretty(pg_database_size(d.oid)), pg_is_in_recovery(), coalesce(s.ssl, false) "
        "FROM pg_database d LEFT JOIN pg_stat_ssl s ON s.pid = pg_backend_pid() WHERE d.datname = current_database()"
    )
    yes = {True: "yes", False: "no"}
    return [
        ("collation", str(collation)),
        ("size", str(size)),
        ("replica", yes[in_recovery]),
        ("TLS", yes[is_encrypted]),
        *found,
    ]
