"""Copy sessions from a cache to another."""

from __future__ import annotations

from ..session_command import SessionsCommand


class Command(SessionsCommand):
    help = "Copy all users' sessions from one cache to another; no one is logged out."
    examples = (
        (
            "Show what a copy would do:",
            "--source old --dest new --dry-run",
        ),
        (
            "Copy all sessions in four processes:",
            "--source old --dest new --jobs 4",
        ),
        (
            "Copy at most 500 sessions per second:",
            "--source old --dest new --rate 500",
        ),
    )
    source_kind = "cache"
    dest_kind = "cache"
