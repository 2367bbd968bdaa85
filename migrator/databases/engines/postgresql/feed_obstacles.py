"""PostgreSQL: what keeps the changes of a source from being read."""

from __future__ import annotations

from collections.abc import Iterator

from ...findings import Finding
from ..base.session import DatabaseSession

# Amazon RDS grants a role in place of the attribute (its documentation, "Logical replication for RDS for PostgreSQL").
MAY_REPLICATE = """
SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = current_user AND (rolsuper OR rolreplication))
    OR EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'rds_replication' AND pg_has_role(oid, 'MEMBER'))
"""


def obstacles(session: DatabaseSession) -> Iterator[Finding]:
    """Yield what keeps a feed from being opened, and the statement that helps."""
    if session.fetch_value("SELECT pg_is_in_recovery()"):
        yield Finding(
            session.alias,
            "it is a standby, and changes are followed on the primary",
            "Name the primary in DATABASES, or move without --follow.",
        )
        return
    level = session.fetch_value("SELECT current_setting('wal_level')")
    if level != "logical":
        yield Finding(
            session.alias,
            f"wal_level is {level!r}, and --follow needs 'logical'",
            "Execute ALTER SYSTEM SET wal_level = 'logical'; and restart the server. Hosting providers have a "
            "parameter for it: rds.logical_replication on Amazon RDS, cloudsql.logical_decoding on Cloud SQL.",
        )
    if not session.fetch_value(MAY_REPLICATE):
        user = session.fetch_value("SELECT quote_ident(current_user)")
        yield Finding(
            session.alias,
            f"its user {user} may not read changes",
            f"Execute ALTER ROLE {user} REPLICATION; on Amazon RDS, GRANT rds_replication TO {user};",
        )
    used, most = session.fetch_all(
        "SELECT count(*), current_setting('max_replication_slots')::integer FROM pg_replication_slots"
    )[0]
    if used >= most:
        yield Finding(
            session.alias,
            f"all {most} of its replication slots are in use (max_replication_slots)",
            "Drop one that is not needed, which pg_replication_slots shows as not active, or raise the limit.",
        )
