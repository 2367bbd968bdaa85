"""Copy a cache to another."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from ...caches.copying import copy_cache
from ...caches.records import CacheOptions
from ...caches.reports import copy_report, plan_report
from ...console.command_line import add_options, typed_options
from ...console.progress import Progress
from ...console.prompts import Prompter
from ...console.reports import Report
from ..base import MigratorCommand


class Command(MigratorCommand):
    help = "Copy every key of a cache to another, with its exact time to live. Values are never unpickled."
    examples = (
        (
            "Show how many keys would be copied, and how:",
            "--source default --dest redis --dry-run",
        ),
        (
            "Copy all keys in four processes:",
            "--source default --dest redis --jobs 4",
        ),
        (
            "Copy the keys of one part of the site, and overwrite what is there:",
            "--source default --dest redis --match catalogue: --overwrite",
        ),
    )

    def add_options(self, parser: CommandParser) -> None:
        parser.add_argument("--source", required=True, metavar="CACHE", help="The cache to read, in CACHES.")
        parser.add_argument("--dest", required=True, metavar="CACHE", help="The cache to fill, in CACHES.")
        add_options(parser, CacheOptions)

    def perform(self, options: dict[str, Any], progress: Progress, prompter: Prompter) -> Report:
        result = copy_cache(
            source=options["source"],
            dest=options["dest"],
            options=CacheOptions(**typed_options(CacheOptions, options)),
            progress=progress,
            prompter=prompter,
            show=lambda plan: self.show(plan_report(plan), options),
        )
        return copy_report(result, again=self.in_earnest())
