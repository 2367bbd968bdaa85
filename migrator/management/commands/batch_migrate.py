"""Copy a whole database to another one."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from ...console.command_line import add_options
from ...console.progress import Progress
from ...console.prompts import Prompter
from ...console.reports import Report
from ...databases.api import batch_migrate
from ...databases.moves import with_move
from ...databases.run_options import RunKeywords, RunOptions, WholeRunKeywords
from ..database_command import RunCommand, add_labels, add_move


class Command(RunCommand):
    help = "Copy all tables of the project's models, or chosen ones, from one database to another, and verify the copy."
    examples = (
        (
            "Show what a move would do; nothing is written:",
            "--source default --dest new --migrate --dry-run",
        ),
        (
            "Create the tables, copy all rows in four processes, and compare every value:",
            "--source default --dest new --migrate --jobs 4 --verify full",
        ),
        (
            "Move a live site: copy, follow what changes, and make the last pass on ENTER:",
            "--source default --dest new --migrate --follow",
        ),
    )
    function = batch_migrate
    chosen = ("labels",)

    def add_options(self, parser: CommandParser) -> None:
        add_labels(parser)
        add_options(parser, RunOptions, WholeRunKeywords.__optional_keys__ - RunKeywords.__optional_keys__)
        super().add_options(parser)
        add_move(parser)

    def perform(self, options: dict[str, Any], progress: Progress, prompter: Prompter) -> Report:
        return super().perform(with_move(options), progress, prompter)
