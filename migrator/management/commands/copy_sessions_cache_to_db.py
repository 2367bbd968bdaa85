"""Copy sessions from a cache to a table."""

from __future__ import annotations

from ...sessions.api import copy_sessions_cache_to_db
from ..session_command import SessionsCommand


class Command(SessionsCommand):
    help = "Copy everybody's sessions from a cache to a database table; nobody is logged out."
    source_kind = "cache"
    dest_kind = "db"
    copy = staticmethod(copy_sessions_cache_to_db)
