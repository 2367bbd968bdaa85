"""Copy chosen models and rows to another database."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from ...console.progress import Progress
from ...console.prompts import Prompter
from ...console.reports import Report
from ...databases.api import batch_migrate_models
from ...databases.reports.run import outcome_report
from ..database_command import RunCommand


class Command(RunCommand):
    help = "Add the rows of chosen models to a database that may already hold others."

    def add_options(self, parser: CommandParser) -> None:
        parser.add_argument(
            "models",
            nargs="+",
            metavar="app_label.Model",
            help="The models to copy, with their parents' tables and their many-to-many tables.",
        )
        parser.add_argument(
            "--filter",
            action="append",
            default=[],
            dest="filters",
            metavar="FIELD__LOOKUP=VALUE",
            help="Only rows that meet this Django lookup, for example created__gte=2024-01-01; may be repeated. "
            "in and range take values separated by commas.",
        )
        super().add_options(parser)

    def perform(self, options: dict[str, Any], progress: Progress, prompter: Prompter) -> Report:
        outcome = batch_migrate_models(
            models=options["models"],
            filters=options["filters"],
            **self.run_arguments(options),
            console=self.console(options, progress, prompter),
        )
        return outcome_report(outcome)
