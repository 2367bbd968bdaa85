"""Copy sessions from a table to a cache."""

from __future__ import annotations

from ...sessions.api import copy_sessions_db_to_cache
from ..session_command import SessionsCommand


class Command(SessionsCommand):
    help = "Copy everybody's sessions from a database table to a cache; nobody is logged out."
    source_kind = "db"
    dest_kind = "cache"
    copy = staticmethod(copy_sessions_db_to_cache)
