"""Copy sessions from a cache to another."""

from __future__ import annotations

from ...sessions.api import copy_sessions_cache_to_cache
from ..session_command import SessionsCommand


class Command(SessionsCommand):
    help = "Copy everybody's sessions from one cache to another; nobody is logged out."
    source_kind = "cache"
    dest_kind = "cache"
    copy = staticmethod(copy_sessions_cache_to_cache)
