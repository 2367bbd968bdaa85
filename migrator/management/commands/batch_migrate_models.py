"""Copy the rows of chosen models to another database."""

from __future__ import annotations

from django.core.management.base import CommandParser

from ...databases.api import batch_migrate_models
from ..database_command import RunCommand


class Command(RunCommand):
    help = "Add the rows of chosen models to a database that may already hold others."
    examples = (
        (
            "Show what adding orders, and all that they refer to, would do:",
            "store.Order --source default --dest new --filter placed__gte=2026-10-01 --with-parents --dry-run",
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
    chosen = ("models", "filters", "with_parents")

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
            metavar="[MODEL:]FIELD__LOOKUP=VALUE",
            help="Only rows that match this Django field lookup, for example created__gte=2024-01-01; may be repeated. "
            "It applies to each model, or to the one it names: app_label.Model:created__gte=2024-01-01. in and range "
            "take values separated by commas.",
        )
        parser.add_argument(
            "--with-parents",
            action="store_true",
            help="Also copy the rows that the chosen rows refer to, and those that these refer to.",
        )
        super().add_options(parser)
