"""Empty the store of sessions that a transition has left behind."""

from __future__ import annotations

from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import CommandParser

from ...console.command_line import positive_integer
from ...console.progress import Progress
from ...console.prompts import Prompter
from ...console.reports import Report
from ...sessions.records import DEFAULT_CHUNK_SIZE
from ...sessions.transition.clear_store import clear_old_sessions
from ...sessions.transition.reports import clear_plan_report, cleared_report
from ...sessions.transition.step_conditions import QUIET_SECONDS
from ..base import MigratorCommand
from ..session_command import regular_expression

OPTIONS = ("side", "clear", "after", "discard_missing", "quiet_for", "key_regex", "rate", "chunk_size", "dry_run")


def days(text: str) -> float:
    """Parse an option's number of days from nought."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 10_000:
        raise ArgumentTypeError(f"{text!r} is no number of days")
    return value


class Command(MigratorCommand):
    help = (
        "Delete every session of OLD in MIGRATOR['SESSIONS'], once nobody can need them, and none of NEW; "
        "or empty the store that only follows, before it is copied to again."
    )

    def add_options(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--side",
            choices=("old", "new"),
            help="Empty the store that only follows, to copy to it again: new in the phases old and dual_old, old in "
            "dual_new (default: OLD in the phase new).",
        )
        parser.add_argument(
            "--clear",
            metavar="PLACE",
            help="What is emptied, cache:ALIAS, db:ALIAS or file, in place of typing it at the terminal.",
        )
        parser.add_argument(
            "--after",
            type=days,
            metavar="DAYS",
            help="For how long NEW must have decided (default: SESSION_COOKIE_AGE); 0 asks no record of that.",
        )
        parser.add_argument(
            "--discard-missing",
            action="store_true",
            help="Delete also live sessions that the other store lacks without anything telling that they ended there.",
        )
        parser.add_argument(
            "--quiet-for",
            type=positive_integer,
            default=QUIET_SECONDS,
            metavar="SECONDS",
            help="For how long no worker may have been seen in a phase that needs what is emptied, at least twice the "
            "interval of the workers' counts (default: %(default)s).",
        )
        parser.add_argument(
            "--key-regex",
            type=regular_expression,
            metavar="REGEX",
            help="What a session key looks like, as a whole (default: as the engines of both sides make them).",
        )
        parser.add_argument("--dry-run", action="store_true", help="Compare, show the plan and stop.")
        parser.add_argument("--rate", type=positive_integer, metavar="N", help="Delete at most so many in a second.")
        parser.add_argument(
            "--chunk-size",
            type=positive_integer,
            default=DEFAULT_CHUNK_SIZE,
            metavar="SESSIONS",
            help="Sessions in a page, and so in a transaction (default: %(default)s).",
        )

    def perform(self, options: dict[str, Any], progress: Progress, prompter: Prompter) -> Report:
        result = clear_old_sessions(
            **{name: options[name] for name in OPTIONS},
            progress=progress,
            prompter=prompter,
            show=lambda plan: self.show(clear_plan_report(plan), options),
        )
        return cleared_report(result)
