"""SQLite: the settings of a database that matter for a run."""

from __future__ import annotations

from ....console.wording import byte_text
from ..base.session import DatabaseSession

SHOWN = ("encoding", "journal_mode")


def settings_of(session: DatabaseSession) -> list[tuple[str, str]]:
    """Return the names and values of these settings."""
    size = session.fetch_value("PRAGMA page_count") * session.fetch_value("PRAGMA page_size")
    return [
        ("size", byte_text(size)),
        *((name, str(session.fetch_value(f"PRAGMA {name}"))) for name in SHOWN),
    ]
