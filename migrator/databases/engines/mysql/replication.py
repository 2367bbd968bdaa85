"""MySQL and MariaDB: whether one server replicates another, and whether two are nodes of one cluster."""

from __future__ import annotations

from django.db import DatabaseError

from ..base.session import DatabaseSession

# By domain, the server and the sequence number of the last transaction (MariaDB manual, "Global Transaction ID").
Positions = dict[int, tuple[int, int]]


def share_cluster(session: DatabaseSession, other: DatabaseSession) -> bool:
    """Whether both are nodes of one Galera cluster, in which each node gets what is written to any."""
    cluster = _cluster(session)
    return cluster is not None and cluster == _cluster(other)


def _cluster(session: DatabaseSession) -> str | None:
    names = "'wsrep_connected', 'wsrep_cluster_state_uuid'"
    found: dict[str, str] = dict(session.fetch_all(f"SHOW GLOBAL STATUS WHERE Variable_name IN ({names})"))
    return found["wsrep_cluster_state_uuid"] if found.get("wsrep_connected") == "ON" else None


def follows(session: DatabaseSession, other: DatabaseSession) -> bool:
    """Whether ``session``'s server is a replica of the other's, as far as this user can see."""
    if session.fetch_value("SELECT DATABASE()") != other.fetch_value("SELECT DATABASE()"):
        return False
    if session.connection.mysql_is_mariadb:  # type: ignore[attr-defined]
        return _follows_mariadb(session, other)
    try:
        found = session.fetch_value(
            "SELECT COUNT(*) FROM performance_schema.replication_connection_status "
            "WHERE service_state = 'ON' AND source_uuid = %s",
            (other.fetch_value("SELECT @@server_uuid"),),
        )
    except DatabaseError:  # this user may not read that table, or the other server is MariaDB
        return False
    return bool(found)


def _follows_mariadb(session: DatabaseSession, other: DatabaseSession) -> bool:
    """Compare GTID positions: those of a replica are positions of its primary, and never ahead of it.

    Two unrelated servers with the same ``server_id`` may be taken for such a pair.
    """
    running = session.fetch_all("SHOW GLOBAL STATUS LIKE 'Slaves_running'")
    if not (running and int(running[0][1])):
        return False
    try:
        written = _positions(str(other.fetch_value("SELECT @@gtid_binlog_pos")))
    except DatabaseError:  # the other server is MySQL
        return False
    applied = _positions(str(session.fetch_value("SELECT @@gtid_slave_pos")))
    return any(
        domain in written and written[domain][0] == server and number <= written[domain][1]
        for domain, (server, number) in applied.items()
    )


def _positions(text: str) -> Positions:
    """Parse a GTID list such as ``0-1-270,1-2-15``: domain, server and sequence number of each."""
    parts = (tuple(map(int, gtid.split("-"))) for gtid in text.split(",") if gtid)
    return {domain: (server, number) for domain, server, number in parts}
