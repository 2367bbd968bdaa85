"""Copy sessions from a cache to a table."""

from __future__ import annotations

from ..sessions import SessionsCommand


class Command(SessionsCommand):
    help = "Copy everybody's sessions from a cache to a database table; nobody is logged out."
    source_kind = "cache"
    dest_kind = "db"
