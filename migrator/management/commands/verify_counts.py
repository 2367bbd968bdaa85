"""Compare the row counts of two databases."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from ...databases.counting import verify_counts
from ...databases.summary import comparison_report
from ...progress import Progress
from ...prompts import Prompter
from ...report import Report
from ..base import MigratorCommand


class Command(MigratorCommand):
    help = "Count every table on both sides, and look at the destination's counters and foreign keys."

    def add_options(self, parser: CommandParser) -> None:
        parser.add_argument(
            "labels", nargs="*", metavar="app_label[.Model]", help="Only these apps or models (default: all)."
        )
        parser.add_argument("--source", required=True, metavar="ALIAS", help="The database that is right.")
        parser.add_argument("--dest", required=True, metavar="ALIAS", help="The database to hold against it.")
        parser.add_argument(
            "-e",
            "--exclude",
            action="append",
            default=[],
            metavar="app_label[.Model]",
            help="Leave out an app or model; may be repeated.",
        )

    def perform(self, options: dict[str, Any], progress: Progress, prompter: Prompter) -> Report:
        own = ("source", "dest", "labels", "exclude")
        return comparison_report(verify_counts(**{name: options[name] for name in own}))
