"""Move a whole database to another one."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from ...console.progress import Progress
from ...console.prompts import Prompter
from ...console.reports import Report
from ...databases.api import batch_migrate
from ...databases.reports.run import outcome_report
from ..database_command import RunCommand


class Command(RunCommand):
    help = "Move all tables of the project's models, or chosen ones, from one database to another, and prove it."

    def add_options(self, parser: CommandParser) -> None:
        parser.add_argument(
            "labels", nargs="*", metavar="app_label[.Model]", help="Only these apps or models (default: all)."
        )
        parser.add_argument(
            "--replace",
            metavar="ALIAS",
            help="Empty the selected tables of the destination first, even where they hold rows of your own. "
            "ALIAS must equal --dest.",
        )
        parser.add_argument(
            "--update",
            action="store_true",
            help="Rewrite only the rows that differ, in a destination that was filled before; delete what is gone.",
        )
        parser.add_argument("--migrate", action="store_true", help="Create the destination's tables first.")
        parser.add_argument("--keep-indexes", action="store_true", help="Leave indexes on while rows are loaded.")
        super().add_options(parser)

    def perform(self, options: dict[str, Any], progress: Progress, prompter: Prompter) -> Report:
        own = ("labels", "replace", "update", "migrate", "keep_indexes")
        outcome = batch_migrate(
            **{name: options[name] for name in own},
            **self.run_arguments(options),
            console=self.console(options, progress, prompter),
        )
        return outcome_report(outcome)
