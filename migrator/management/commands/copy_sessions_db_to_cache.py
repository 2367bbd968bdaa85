"""Copy sessions from a database table to a cache."""

from __future__ import annotations

from ..session_command import SessionsCommand


class Command(SessionsCommand):
    help = "Copy all users' sessions from a database table to a cache; no one is logged out."
    source_kind = "db"
    dest_kind = "cache"
