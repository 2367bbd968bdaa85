"""Copy a cache to another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from ...caches.copying import copy_cache
from ...caches.records import CacheOptions
from ...caches.reports import copy_report, plan_report
from ...console.command_line import positive_integer
from ...console.progress import Progress
from ...console.prompts import Prompter
from ...console.reports import Report
from ..base import MigratorCommand

OPTIONS = ("match", "keys_from", "chunk_size", "limit", "rate", "jobs", "overwrite", "dry_run")


class Command(MigratorCommand):
    help = "Copy every key of a cache to another, with its exact time to live. Values are never unpickled."

    def add_options(self, parser: CommandParser) -> None:
        parser.add_argument("--source", required=True, metavar="CACHE", help="The cache to read, in CACHES.")
        parser.add_argument("--dest", required=True, metavar="CACHE", help="The cache to fill, in CACHES.")
        parser.add_argument(
            "--match", default="", metavar="PREFIX", help="Only keys of the application that begin with it."
        )
        parser.add_argument(
            "--keys-from", type=Path, metavar="FILE", help="Keys to copy, one on each line, instead of listing them."
        )
        parser.add_argument(
            "--overwrite",
            action="store_true",
            help="Overwrite keys that the destination has with another value (default: leave them).",
        )
        parser.add_argument(
            "--chunk-size", type=positive_integer, default=1000, metavar="KEYS", help="Keys in a page (default: 1000)."
        )
        parser.add_argument("--limit", type=positive_integer, metavar="N", help="Only so many keys, as a trial.")
        parser.add_argument("--rate", type=positive_integer, metavar="N", help="At most so many keys per second.")
        parser.add_argument(
            "--jobs",
            type=positive_integer,
            default=1,
            metavar="N",
            help="Processes that copy in parallel (default: 1).",
        )
        parser.add_argument("--dry-run", action="store_true", help="Show the plan and stop; nothing is written.")

    def perform(self, options: dict[str, Any], progress: Progress, prompter: Prompter) -> Report:
        result = copy_cache(
            source=options["source"],
            dest=options["dest"],
            options=CacheOptions(**{name: options[name] for name in OPTIONS}),
            progress=progress,
            prompter=prompter,
            show=lambda plan: self.show(plan_report(plan), options),
        )
        return copy_report(result)
