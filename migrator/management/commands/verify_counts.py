"""Compare two databases: the row counts, and the values if they are asked for."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from ...console.command_line import add_options, typed_options
from ...console.progress import Progress
from ...console.prompts import Prompter
from ...console.reports import Report
from ...databases.comparison import CompareKeywords, CompareOptions, verify_counts
from ...databases.moves import with_move
from ...databases.reports.comparison import comparison_report
from ..base import MigratorCommand
from ..database_command import add_databases, add_labels, add_move


class Command(MigratorCommand):
    help = "Compare two databases: every table's rows, and the destination's sequences and foreign keys."
    examples = (
        (
            "Compare the row counts of all tables, the sequences and the foreign keys:",
            "--source default --dest new",
        ),
        (
            "Compare the values of about 10,000 rows of each table of an app:",
            "store --source default --dest new --mode sample --sample 10000",
        ),
        (
            "Compare all values, and save the result as a page:",
            "--source default --dest new --mode full --report comparison.html",
        ),
    )

    def add_options(self, parser: CommandParser) -> None:
        add_labels(parser)
        add_move(parser)
        add_databases(parser, "The database that is right.", "The database to compare with it.")
        add_options(parser, CompareOptions, CompareKeywords.__optional_keys__)

    def perform(self, options: dict[str, Any], progress: Progress, prompter: Prompter) -> Report:
        options = with_move(options)
        comparison = verify_counts(
            **{name: options[name] for name in ("source", "dest", "labels", "exclude")},
            **typed_options(CompareOptions, options),
            progress=progress,
        )
        return comparison_report(comparison)
