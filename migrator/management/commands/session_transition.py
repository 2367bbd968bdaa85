"""Tell how far a change of session stores is."""

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
from ..session_command import regular_expression


class Command(MigratorCommand):
    help = "Tell how far the transition of MIGRATOR['SESSIONS'] is, and whether its next step is safe."

    def add_options(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--verify",
            choices=("quick", "full"),
            help="Compare the two stores as well: existence and expiry, or the data also (default: not).",
        )
        parser.add_argument("--back", action="store_true", help="Judge the step back in place of the next one.")
        parser.add_argument(
            "--quiet-for",
            type=positive_integer,
            default=QUIET_SECONDS,
            metavar="SECONDS",
            help="For how long nothing that speaks against the step may have been counted, at least twice the interval "
            "of the workers' counts (default: %(default)s).",
        )
        parser.add_argument(
            "--key-regex",
            type=regular_expression,
            metavar="REGEX",
            help="What a session key looks like, as a whole (default: as the engines of both sides make them).",
        )
        parser.add_argument(
            "--trust-pickle",
            action="store_true",
            help="With --verify full: read pickles whatever they name. Only where nobody else can write to the cache.",
        )
        parser.add_argument("--reset", action="store_true", help="Forget what was counted, after telling it.")

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
