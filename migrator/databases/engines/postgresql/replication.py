"""PostgreSQL: which server is a standby of which."""

from __future__ import annotations

from django.db import DatabaseError

from ..base.session import DatabaseSession, Row

# A standby has the number of its primary's cluster, the same number for a database, and the primary's timeline, which
# a copy of the cluster leaves once it is promoted (PostgreSQL manual, "Timelines").
LINEAGE = """
    SELECT system_identifier, (SELECT oid FROM pg_database WHERE datname = current_database()),
           CASE WHEN pg_is_in_recovery() THEN greatest(timeline_id, min_recovery_end_timeline)
                ELSE ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::integer END
    FROM pg_control_system(), pg_control_checkpoint(), pg_control_recovery()
"""


def follows(session: DatabaseSession, other: DatabaseSession) -> bool:
    """Tell whether one database is that of a standby of the other's server, as far as this may be asked."""
    if not session.fetch_value("SELECT pg_is_in_recovery()"):
        return False
    lineage = _lineage(session)
    return lineage is not None and lineage == _lineage(other)


def patience_note(session: DatabaseSession) -> str | None:
    """Say how long a standby lets a snapshot hold it up; ``None`` for a primary, or a standby that goes to no end.

    PostgreSQL manual, "Handling Query Conflicts".
    """
    if not session.fetch_value("SELECT pg_is_in_recovery()"):
        return None
    ((patience, tells_primary),) = session.fetch_all(
        "SELECT current_setting('max_standby_streaming_delay'), current_setting('hot_standby_feedback')"
    )
    if patience == "-1" or tells_primary == "on":
        return None
    return (
        "It is a standby: once rows that this run still reads are vacuumed at its primary, it waits for "
        f"{patience} (max_standby_streaming_delay), and then ends the run. Set hot_standby_feedback there to on."
    )


def _lineage(session: DatabaseSession) -> Row | None:
    try:
        return session.fetch_all(LINEAGE)[0]
    except DatabaseError:  # some hosts keep these functions for themselves
        return None
