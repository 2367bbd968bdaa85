"""Copy sessions from a cache to another."""

from __future__ import annotations

from ..session_command import SessionsCommand


class Command(SessionsCommand):
    help = "Copy all users' sessions from one cache to another; no one is logged out."
    source_kind = "cache"
    dest_kind = "cache"
