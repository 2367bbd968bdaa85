"""Compare the sessions of two places."""

from __future__ import annotations

from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from ...console.command_line import positive_integer
from ...console.progress import Progress
from ...console.prompts import Prompter
from ...console.reports import Report
from ...sessions.comparison import VerifyOptions
from ...sessions.records import End
from ...sessions.reports import comparison_report
from ...sessions.verification import verify_sessions
from ..base import MigratorCommand
from ..session_command import add_reading_options

OPTIONS = ("mode", "ttl_tolerance", "sample", "trust_pickle", "key_regex", "chunk_size", "jobs")


def place(text: str) -> tuple[str, str | None]:
    """Parse ``cache:ALIAS``, ``db:ALIAS`` or ``file``."""
    kind, _, alias = text.partition(":")
    if kind not in ("cache", "db", "file") or (kind == "file") == bool(alias):
        raise ArgumentTypeError(f"{text!r} is none of cache:ALIAS, db:ALIAS and file")
    return kind, alias or None


class Command(MigratorCommand):
    help = "Compare the sessions of two places: which are missing, too many, different, or end at another time."

    def add_options(self, parser: CommandParser) -> None:
        for end, what in (("source", "is right"), ("dest", "is held against it")):
            parser.add_argument(
                f"--{end}",
                type=place,
                required=True,
                metavar="PLACE",
                help=f"What {what}: cache:ALIAS, db:ALIAS or file.",
            )
        for end in ("source", "dest"):
            parser.add_argument(f"--{end}-engine", metavar="ENGINE", help="As for copying.")
            parser.add_argument(f"--{end}-model", metavar="app_label.Model", help="As for copying.")
        parser.add_argument(
            "--keys-from",
            type=Path,
            metavar="FILE",
            help="Session keys to compare, one on each line, in place of listing them.",
        )
        parser.add_argument(
            "--mode",
            choices=("quick", "full"),
            default="quick",
            help="quick compares existence and expiry, full the data as well (default: quick).",
        )
        parser.add_argument(
            "--ttl-tolerance",
            type=float,
            metavar="SECONDS",
            help="How far two expiries may be apart (default: what the two places can keep).",
        )
        parser.add_argument(
            "--sample", type=positive_integer, metavar="N", help="Compare about N sessions (default: all)."
        )
        parser.add_argument(
            "--jobs", type=positive_integer, default=1, metavar="N", help="Processes side by side (default: 1)."
        )
        add_reading_options(parser)

    def perform(self, options: dict[str, Any], progress: Progress, prompter: Prompter) -> Report:
        result = verify_sessions(
            source=self._end("source", options),
            dest=self._end("dest", options),
            options=VerifyOptions(**{name: options[name] for name in OPTIONS}),
            progress=progress,
        )
        return comparison_report(result)

    def _end(self, name: str, options: dict[str, Any]) -> End:
        kind, alias = options[name]
        return End(kind, alias, options[f"{name}_engine"], options[f"{name}_model"], options["keys_from"])
