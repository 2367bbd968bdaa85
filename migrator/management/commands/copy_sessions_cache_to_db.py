"""Copy sessions from a cache to a database table."""

from __future__ import annotations

from ..session_command import SessionsCommand


class Command(SessionsCommand):
    help = "Copy all users' sessions from a cache to a database table; no one is logged out."
    examples = (
        (
            "Show what a copy would do, and which sessions it cannot read:",
            "--dry-run",
        ),
        (
            "Copy the sessions of a cache into the table of another database:",
            "--source redis --dest new",
        ),
        (
            "Repeat the pass over the source up to three times, for what changed meanwhile:",
            "--catch-up 3 --overwrite-older",
        ),
    )
    source_kind = "cache"
    dest_kind = "db"
