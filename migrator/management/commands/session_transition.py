"""Show how far a transition between session stores is."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from ...console.command_line import positive_integer
from ...console.progress import Progress
from ...console.prompts import Prompter
from ...console.reports import Report
from ...sessions.transition.readiness import session_transition
from ...sessions.transition.reports import readiness_report
from ...sessions.transition.step_conditions import QUIET_SECONDS
from ..base import MigratorCommand
from ..session_command import add_key_regex


class Command(MigratorCommand):
    help = "Show how far the transition of MIGRATOR['SESSIONS'] is, and whether its next step is safe."

    def add_options(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--verify",
            choices=("quick", "full"),
            help="Also compare the two stores: existence and expiry, or the data too (default: no comparison).",
        )
        parser.add_argument("--back", action="store_true", help="Check the step back instead of the next one.")
        parser.add_argument(
            "--quiet-for",
            type=positive_integer,
            default=QUIET_SECONDS,
            metavar="SECONDS",
            help="For how long no event that makes the step unsafe may have been counted, at least twice the "
            "interval of the workers' counts (default: %(default)s).",
        )
        add_key_regex(parser, "the engines of both sides")
        parser.add_argument(
            "--trust-pickle",
            action="store_true",
            help="With --verify full: load pickles of any class. Use it only if no one else can write to the cache.",
        )
        parser.add_argument("--reset", action="store_true", help="Delete the counts after showing them.")

    def perform(self, options: dict[str, Any], progress: Progress, prompter: Prompter) -> Report:
        found = session_transition(
            verify=options["verify"],
            back=options["back"],
            quiet_for=options["quiet_for"],
            key_regex=options["key_regex"],
            reset=options["reset"],
            trust_pickle=options["trust_pickle"],
            progress=progress,
        )
        return readiness_report(found)
