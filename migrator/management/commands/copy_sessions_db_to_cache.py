"""Copy sessions from a database table to a cache."""

from __future__ import annotations

from ..session_command import SessionsCommand


class Command(SessionsCommand):
    help = "Copy all users' sessions from a database table to a cache; no one is logged out."
    examples = (
        (
            "Show what a copy would do:",
            "--dry-run",
        ),
        (
            "Copy the sessions of a table to the cache named redis:",
            "--source default --dest redis",
        ),
        (
            "Copy the sessions of django-user-sessions:",
            "--source-model user_sessions.Session --dest redis",
        ),
    )
    source_kind = "db"
    dest_kind = "cache"
