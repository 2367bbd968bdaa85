"""Copy sessions from a cache to a database table."""

from __future__ import annotations

from ..session_command import SessionsCommand


class Command(SessionsCommand):
    help = "Copy all users' sessions from a cache to a database table; no one is logged out."
    source_kind = "cache"
    dest_kind = "db"
