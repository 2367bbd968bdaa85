"""Copy sessions from a database table to another."""

from __future__ import annotations

from ..session_command import SessionsCommand


class Command(SessionsCommand):
    help = "Copy all users' sessions from one database table to another; no one is logged out."
    examples = (
        (
            "Show what a copy would do:",
            "--source default --dest new --dry-run",
        ),
        (
            "Copy all sessions, also over those that are in an older state there:",
            "--source default --dest new --overwrite-older",
        ),
        (
            "Copy the sessions of django-qsessions to Django's own table:",
            "--source default --dest default --source-model qsessions.Session --dest-model sessions.Session",
        ),
    )
    source_kind = "db"
    dest_kind = "db"
