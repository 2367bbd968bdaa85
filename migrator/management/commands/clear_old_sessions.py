"""Empty the session store that a transition has left behind."""

from __future__ import annotations

from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import CommandParser

from ...console.command_line import positive_integer
from ...console.progress import Progress
from ...console.prompts import Prompter
from ...console.reports import Report
from ...sessions.transition.clear_store import clear_old_sessions
from ...sessions.transition.reports import clear_plan_report, cleared_report
from ...sessions.transition.step_conditions import QUIET_SECONDS
from ..base import MigratorCommand
from ..session_command import add_chunk_size, add_key_regex

OPTIONS = ("side", "clear", "after", "discard_missing", "quiet_for", "key_regex", "rate", "chunk_size", "dry_run")


def days(text: str) -> float:
    """Return an option's number of days, which may be 0; raise :exc:`ArgumentTypeError` if it is not one."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 10_000:
        raise ArgumentTypeError(f"{text!r} is not a number of days")
    return value


class Command(MigratorCommand):
    help = (
        "Delete every session of OLD in MIGRATOR['SESSIONS'], and none of NEW, when no worker needs OLD any more; "
        "or empty the store that only follows, before it is copied to again."
    )

    def add_options(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--side",
            choices=("old", "new"),
            help="Empty the store that only follows, so that it can be copied to again: new in the phases "
            "old and dual_old, old in dual_new (default: OLD in the phase new).",
        )
        parser.add_argument(
            "--clear",
            metavar="STORE",
            help="The store to empty, as cache:ALIAS, db:ALIAS or file, instead of typing it at the prompt.",
        )
        parser.add_argument(
            "--after",
            type=days,
            metavar="DAYS",
            help="For how many days NEW must have been authoritative (default: SESSION_COOKIE_AGE); with 0 no "
            "counts are needed.",
        )
        parser.add_argument(
            "--discard-missing",
            action="store_true",
            help="Also delete live sessions that the other store lacks for an unknown reason.",
        )
        parser.add_argument(
            "--quiet-for",
            type=positive_integer,
            default=QUIET_SECONDS,
            metavar="SECONDS",
            help="For how long no worker may have been seen in a phase that needs the store, at least "
            "twice the interval of the workers' counts (default: %(default)s).",
        )
        add_key_regex(parser, "the engines of both sides")
        parser.add_argument("--dry-run", action="store_true", help="Compare, show the plan and stop.")
        parser.add_argument("--rate", type=positive_integer, metavar="N", help="Delete at most N sessions per second.")
        add_chunk_size(parser)

    def perform(self, options: dict[str, Any], progress: Progress, prompter: Prompter) -> Report:
        result = clear_old_sessions(
            **{name: options[name] for name in OPTIONS},
            progress=progress,
            prompter=prompter,
            show=lambda plan: self.show(clear_plan_report(plan), options),
        )
        return cleared_report(result)
