"""Check both databases of a move, and what the move depends on."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from ...console.progress import Progress
from ...console.prompts import Prompter
from ...console.reports import Report
from ...databases.doctor import migrator_doctor
from ...databases.moves import with_move
from ...databases.reports.checks import doctor_report
from ..base import MigratorCommand
from ..database_command import add_databases, add_labels, add_move


class Command(MigratorCommand):
    help = (
        "Check everything that a move from one database to another depends on: versions, drivers, rights, settings of "
        "the servers, and all checks of its plan. Writes nothing. The exit code is 1 if a check failed."
    )
    examples = (
        ("Check a move of all tables:", "--source default --dest new"),
        ("Check a move of one app, and save a page:", "store --source default --dest new --report checks.html"),
        ("List the checks for a program:", "--source default --dest new --format json"),
    )

    def add_options(self, parser: CommandParser) -> None:
        add_labels(parser)
        add_move(parser)
        add_databases(parser, "The database to read, in DATABASES.", "The database to fill, in DATABASES.")

    def perform(self, options: dict[str, Any], progress: Progress, prompter: Prompter) -> Report:
        options = with_move(options)
        found = migrator_doctor(
            **{name: options[name] for name in ("source", "dest", "labels", "exclude")}, progress=progress
        )
        return doctor_report(found)
