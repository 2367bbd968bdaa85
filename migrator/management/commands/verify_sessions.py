"""Compare the sessions of two stores."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.core.management.base import CommandParser

from ...console.command_line import add_options, typed_options
from ...console.progress import Progress
from ...console.prompts import Prompter
from ...console.reports import Report
from ...sessions.comparison import VerifyOptions
from ...sessions.reports import comparison_report
from ...sessions.verification import verify_sessions
from ..base import MigratorCommand
from ..session_command import ENDS, add_store_options, named_end, store_name


class Command(MigratorCommand):
    help = "Compare the sessions of two stores: which are missing, extra, different, or have another expiry."
    examples = (
        (
            "Compare which sessions exist, and when they expire:",
            "--source cache:default --dest db:new",
        ),
        (
            "Compare the data of all sessions:",
            "--source cache:default --dest db:new --mode full",
        ),
        (
            "Compare the data of about 1,000 sessions:",
            "--source db:default --dest cache:redis --mode full --sample 1000",
        ),
    )

    def add_options(self, parser: CommandParser) -> None:
        for end, what in (("source", "The reference"), ("dest", "The store to compare with it")):
            parser.add_argument(
                f"--{end}",
                type=store_name,
                required=True,
                metavar="STORE",
                help=f"{what}, as cache:ALIAS, db:ALIAS or file.",
            )
        add_store_options(parser, verb="Compare")
        add_options(parser, VerifyOptions)

    def perform(self, options: dict[str, Any], progress: Progress, prompter: Prompter) -> Report:
        source, dest = (replace(named_end(name, options), keys_from=options["keys_from"]) for name in ENDS)
        result = verify_sessions(
            source=source,
            dest=dest,
            options=VerifyOptions(**typed_options(VerifyOptions, options)),
            progress=progress,
        )
        return comparison_report(result)
