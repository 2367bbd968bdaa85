"""Copy the rows of chosen models to another database."""

from __future__ import annotations

from django.core.management.base import CommandParser

from ...databases.api import batch_migrate_models
from ..database_command import RunCommand


class Command(RunCommand):
    help = "Add the rows of chosen models to a database that may already hold others."
    examples = (
        (
            "Add the orders since October, and show first what that means:",
            "store.Order --source default --dest new --filter placed__gte=2026-10-01 --dry-run",
        ),
        (
            "Add some users with their groups and permissions:",
            "auth.User --source default --dest new --filter id__in=3,5,8",
        ),
        (
            "Add two models, and keep rows that cannot be stored in a file:",
            "store.Product store.Line --source default --dest new --on-error skip --rejects rejected.jsonl",
        ),
    )
    function = batch_migrate_models
    chosen = ("models", "filters")

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
            help="Only rows that match this Django field lookup, for example created__gte=2024-01-01; may be repeated. "
            "in and range take values separated by commas.",
        )
        super().add_options(parser)
