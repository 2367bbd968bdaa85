"""Show how far a transition between session stores is."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from ...console.command_line import add_options, typed_options
from ...console.progress import Progress
from ...console.prompts import Prompter
from ...console.reports import Report
from ...sessions.transition.readiness import ReadinessOptions, session_transition
from ...sessions.transition.reports import readiness_report
from ..base import MigratorCommand


class Command(MigratorCommand):
    help = "Show how far the transition of MIGRATOR['SESSIONS'] is, and whether its next step is safe."
    examples = (
        (
            "Show the phase, and whether the next step is safe:",
            "",
        ),
        (
            "Also compare the data of both stores:",
            "--verify full",
        ),
        (
            "Show whether the step back is safe, for a program:",
            "--back --format json",
        ),
    )

    def add_options(self, parser: CommandParser) -> None:
        add_options(parser, ReadinessOptions)

    def perform(self, options: dict[str, Any], progress: Progress, prompter: Prompter) -> Report:
        found = session_transition(**typed_options(ReadinessOptions, options), progress=progress)
        return readiness_report(found)
