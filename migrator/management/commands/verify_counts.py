"""Compare two databases: the row counts, and the values where they are asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from ...console.progress import Progress
from ...console.prompts import Prompter
from ...console.reports import Report
from ...databases.reports.run import comparison_report
from ...databases.verification.compare import MODES, SAMPLE, verify_counts
from ...databases.verification.contents import MOST_DIFFERENCES
from ..base import MigratorCommand, positive_integer


class Command(MigratorCommand):
    help = "Compare two databases: every table's rows, and the destination's counters and foreign keys."

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
        parser.add_argument(
            "--mode",
            choices=MODES,
            default="count",
            help="Compare the counts, also the values of a sample of rows, or those of all rows (default: count).",
        )
        parser.add_argument(
            "--sample",
            type=positive_integer,
            default=SAMPLE,
            metavar="ROWS",
            help="Rows of each table in --mode sample (default: %(default)s).",
        )
        parser.add_argument(
            "--seed", type=int, metavar="N", help="Choose the same sample as another time (default: a new one)."
        )
        parser.add_argument(
            "--max-diffs",
            type=positive_integer,
            default=MOST_DIFFERENCES,
            metavar="N",
            help="Rows that differ to list for each table; all are counted (default: %(default)s).",
        )
        parser.add_argument(
            "--show-values", action="store_true", help="Show the values that differ, whoever reads the output."
        )
        parser.add_argument(
            "--rejects",
            type=Path,
            metavar="FILE",
            help="The reject file of the run: rows in it that the destination lacks do not count as differences.",
        )
        parser.add_argument(
            "--chunk-size",
            type=positive_integer,
            metavar="ROWS",
            help="Rows whose values are compared at once (default: MIGRATOR['CHUNK_SIZE'] or 10000).",
        )

    def perform(self, options: dict[str, Any], progress: Progress, prompter: Prompter) -> Report:
        own = ("source", "dest", "labels", "exclude", "mode", "sample", "seed", "max_diffs", "rejects", "chunk_size")
        comparison = verify_counts(**{name: options[name] for name in own}, progress=progress)
        return comparison_report(comparison, with_values=options["show_values"])
