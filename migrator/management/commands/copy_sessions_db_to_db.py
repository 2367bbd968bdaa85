"""Copy sessions from a table to another."""

from __future__ import annotations

from ...sessions.api import copy_sessions_db_to_db
from ..session_command import SessionsCommand


class Command(SessionsCommand):
    help = "Copy everybody's sessions from one database table to another; nobody is logged out."
    source_kind = "db"
    dest_kind = "db"
    copy = staticmethod(copy_sessions_db_to_db)
