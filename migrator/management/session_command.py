"""What the commands that copy sessions share: their options, and the two ends they make of them."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from ..console.command_line import positive_integer
from ..console.progress import Progress
from ..console.prompts import Prompter
from ..console.reports import Report
from ..sessions.copying.run import copy_sessions
from ..sessions.records import DEFAULT_CHUNK_SIZE, CopyOptions, End
from ..sessions.reports import copy_report, plan_report
from .base import MigratorCommand

OPTIONS = (
    "no_ttl",
    "overwrite_older",
    "strict",
    "allow_unreadable",
    "trust_pickle",
    "key_regex",
    "match",
    "limit",
    "chunk_size",
    "jobs",
    "rate",
    "catch_up",
    "manifest",
    "after_switch",
    "end_missed",
    "dry_run",
)
WHERE = {"cache": ("CACHE", "A cache in CACHES"), "db": ("DB", "A database in DATABASES")}


def regular_expression(text: str) -> str:
    """Check an option's regular expression."""
    try:
        re.compile(text)
    except re.error as error:
        raise ArgumentTypeError(f"{text!r} is no regular expression: {error}") from error
    return text


def natural_number(text: str) -> int:
    """Parse an option's whole number from nought."""
    if not text.isdecimal():
        raise ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def add_reading_options(parser: CommandParser) -> None:
    """Add the options that say how keys and values are read."""
    parser.add_argument(
        "--key-regex",
        type=regular_expression,
        metavar="REGEX",
        help="What a session key looks like, as a whole (default: as the engines of both ends make them).",
    )
    parser.add_argument(
        "--trust-pickle",
        action="store_true",
        help="Read pickles whatever they name. Only where nobody else can write to the cache: a pickle can run code.",
    )
    parser.add_argument(
        "--chunk-size",
        type=positive_integer,
        default=DEFAULT_CHUNK_SIZE,
        metavar="SESSIONS",
        help="Sessions in a page, and so in a transaction (default: %(default)s).",
    )


class SessionsCommand(MigratorCommand):
    """A command that copies sessions from one kind of place to another."""

    source_kind = "cache"
    dest_kind = "cache"

    def add_options(self, parser: CommandParser) -> None:
        both_needed = self.source_kind == self.dest_kind
        for end, kind in (("source", self.source_kind), ("dest", self.dest_kind)):
            name, what = WHERE[kind]
            default = "" if both_needed else " (default: the one that sessions use)"
            parser.add_argument(f"--{end}", required=both_needed, metavar=name, help=f"{what}{default}.")
        self._add_engines(parser)
        self._add_policies(parser)
        self._add_passes(parser)
        add_reading_options(parser)

    def _add_engines(self, parser: CommandParser) -> None:
        for end in ("source", "dest"):
            parser.add_argument(
                f"--{end}-engine",
                metavar="ENGINE",
                help="Which session engine keeps them there: cache, cached_db, db, file or a dotted name "
                "(default: SESSION_ENGINE where it keeps such a place, else Django's own).",
            )
        for end, kind in (("source", self.source_kind), ("dest", self.dest_kind)):
            if kind == "db":
                parser.add_argument(
                    f"--{end}-model",
                    metavar="app_label.Model",
                    help="The model whose table it is, such as user_sessions.Session or qsessions.Session; its app "
                    "need not be installed (default: the engine's).",
                )
        parser.add_argument(
            "--keys-from",
            type=Path,
            metavar="FILE",
            help="Session keys to copy, one on each line, in place of listing them.",
        )

    def _add_policies(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--no-ttl",
            choices=("expiry-from-data", "skip", "keep", "error"),
            default="expiry-from-data",
            help="What becomes of sessions without time to live: they get what set_expiry() left or the cookie's age, "
            "are skipped, stay so (caches only), or stop the copy (default: %(default)s).",
        )
        parser.add_argument(
            "--overwrite-older",
            action="store_true",
            help="Write over sessions that the destination holds in an older state (default: leave what is there).",
        )
        parser.add_argument("--strict", action="store_true", help="Stop at the first session that JSON would change.")
        parser.add_argument(
            "--allow-unreadable", action="store_true", help="Begin although none of the first sessions can be read."
        )
        parser.add_argument("--match", default="", metavar="PREFIX", help="Only sessions whose key begins so.")
        parser.add_argument("--limit", type=positive_integer, metavar="N", help="Only so many sessions, as a trial.")

    def _add_passes(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="Show the plan and stop; nothing is written.")
        parser.add_argument(
            "--jobs", type=positive_integer, default=1, metavar="N", help="Processes side by side (default: 1)."
        )
        parser.add_argument("--rate", type=positive_integer, metavar="N", help="At most so many sessions in a second.")
        parser.add_argument(
            "--catch-up",
            type=natural_number,
            default=0,
            metavar="N",
            help="Pass over the source again, up to N times, until a pass finds nothing to do (default: 0).",
        )
        parser.add_argument(
            "--manifest",
            type=Path,
            metavar="FILE",
            help="Remember in FILE, as digests, what was written, so that later passes follow changes and logouts.",
        )
        parser.add_argument(
            "--after-switch",
            action="store_true",
            help="The last pass, with the same --manifest, once all traffic uses the destination: brings what the "
            "others missed, and touches nothing that was made, changed or ended there.",
        )
        parser.add_argument(
            "--end-missed",
            action="store_true",
            help="With --after-switch: also end sessions that ended in the source and were changed in the destination "
            "since, by workers that used both at the switch (default: count and list them).",
        )

    def perform(self, options: dict[str, Any], progress: Progress, prompter: Prompter) -> Report:
        keys_from = options["keys_from"]
        source = End(
            self.source_kind, options["source"], options["source_engine"], options.get("source_model"), keys_from
        )
        dest = End(self.dest_kind, options["dest"], options["dest_engine"], options.get("dest_model"))
        result = copy_sessions(
            source=source,
            dest=dest,
            options=CopyOptions(**{name: options[name] for name in OPTIONS}),
            progress=progress,
            prompter=prompter,
            show=lambda plan: self.show(plan_report(plan), options),
        )
        return copy_report(result)
