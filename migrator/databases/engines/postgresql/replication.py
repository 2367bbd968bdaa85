"""PostgreSQL: whether a server is a standby of another."""

from __future__ import annotations

from django.db import DatabaseError

from ..base.session import DatabaseSession, Row

# A standby has its primary's system identifier, database OIDs and timeline; a copy of the cluster leaves the timeline
# when it is promoted (PostgreSQL manual, "Timelines").
LINEAGE = """
    SELECT system_identifier, (SELECT oid FROM pg_database WHERE datname = current_database()),
           CASE WHEN pg_is_in_recovery() THEN greatest(timeline_id, min_recovery_end_timeline)
                ELSE ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::integer END
    FROM pg_control_system(), pg_control_checkpoint(), pg_control_recovery()
"""


def follows(session: DatabaseSession, other: DatabaseSession) -> bool:
    """Whether one database is that of a standby of the other's server, as far as this role may find out."""
    if not session.fetch_value("SELECT pg_is_in_recovery()"):
        return False
    lineage = _lineage(session)
    return lineage is not None and lineage == _lineage(other)


def patience_note(session: DatabaseSession) -> str | None:
    """Return a note on how long a standby delays replay for a snapshot; ``None`` for a primary, or without a limit.

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
        "It is a standby: once its primary vacuums rows that this run still reads, it waits for "
        f"{patience} (max_standby_streaming_delay), and then ends the run. Set hot_standby_feedback to on there."
    )


def _lineage(session: DatabaseSession) -> Row | None:
    try:
        return session.fetch_all(LINEAGE)[0]
    except DatabaseError:  # some hosting providers reserve these functions
        return None
