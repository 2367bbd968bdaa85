"""MySQL and MariaDB: the settings of a server that matter for a run."""

from __future__ import annotations

from ....console.wording import byte_text
from ..base.session import DatabaseSession

SHOWN = (
    "character_set_database",
    "collation_database",
    "innodb_buffer_pool_size",
    "local_infile",
    "lower_case_table_names",
    "max_allowed_packet",
    "read_only",
    "sql_mode",
    "system_time_zone",
    "time_zone",
)


def settings_of(session: DatabaseSession) -> list[tuple[str, str]]:
    """Return the names and values of these settings: what a new session has, not this one."""
    listed = ", ".join(["%s"] * len(SHOWN))
    found = session.fetch_all(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({listed})", SHOWN)
    size = session.fetch_value(
        "SELECT SUM(data_length + index_length) FROM information_schema.tables WHERE table_schema = DATABASE()"
    )
    ((_, cipher),) = session.fetch_all("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
    return [
        ("size", byte_text(int(size or 0))),
        ("TLS", str(cipher or "no")),
        *((str(name), str(value) or "-") for name, value in sorted(found)),
    ]
