"""Copy sessions from a database table to another."""

from __future__ import annotations

from ..session_command import SessionsCommand


class Command(SessionsCommand):
    help = "Copy all users' sessions from one database table to another; no one is logged out."
    source_kind = "db"
    dest_kind = "db"
