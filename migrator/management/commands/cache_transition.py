"""Show how far the transition of a cache is."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from ...caches.transition.reports import transition_report
from ...caches.transition.status import cache_transition
from ...console.progress import Progress
from ...console.prompts import Prompter
from ...console.reports import Report
from ..base import MigratorCommand


class Command(MigratorCommand):
    help = "Show the phase of a TransitionCache, and what all workers have counted. Writes nothing."
    examples = (
        ("Show the only transition in CACHES:", ""),
        ("Show one of several:", "--cache default"),
        ("Print its counts for a program:", "--format json"),
    )

    def add_options(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--cache", metavar="CACHE", help="The alias of the TransitionCache (default: the only one in CACHES)."
        )

    def perform(self, options: dict[str, Any], progress: Progress, prompter: Prompter) -> Report:
        return transition_report(cache_transition(cache=options["cache"]))
