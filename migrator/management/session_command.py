"""What the commands that copy sessions share: their options, and the two stores that they name."""

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
STORES = {"cache": ("CACHE", "CACHES", "cache"), "db": ("DB", "DATABASES", "database")}


def regular_expression(text: str) -> str:
    """Return an option's regular expression; raise :exc:`ArgumentTypeError` if it is not valid."""
    try:
        re.compile(text)
    except re.error as error:
        raise ArgumentTypeError(f"{text!r} is not a valid regular expression: {error}") from error
    return text


def natural_number(text: str) -> int:
    """Return an option's integer, which may be 0; raise :exc:`ArgumentTypeError` if it is not one."""
    if not text.isdecimal():
        raise ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def add_reading_options(parser: CommandParser) -> None:
    """Add the options for reading keys and values."""
    add_key_regex(parser, "both engines")
    parser.add_argument(
        "--trust-pickle",
        action="store_true",
        help="Load pickles of any class. Use it only if no one else can write to the cache: a pickle can run code.",
    )
    add_chunk_size(parser)


def add_key_regex(parser: CommandParser, engines: str) -> None:
    """Add the option for the pattern of keys, which by default is that of these ``engines``."""
    parser.add_argument(
        "--key-regex",
        type=regular_expression,
        metavar="REGEX",
        help=f"The pattern of a whole session key (default: that of the keys that {engines} create).",
    )


def add_chunk_size(parser: CommandParser) -> None:
    """Add the option for the sessions in a page."""
    parser.add_argument(
        "--chunk-size",
        type=positive_integer,
        default=DEFAULT_CHUNK_SIZE,
        metavar="SESSIONS",
        help="Sessions per page, and so per transaction (default: %(default)s).",
    )


class SessionsCommand(MigratorCommand):
    """A command that copies sessions from one kind of store to another."""

    source_kind = "cache"
    dest_kind = "cache"

    def add_options(self, parser: CommandParser) -> None:
        both_needed = self.source_kind == self.dest_kind
        for end, kind in (("source", self.source_kind), ("dest", self.dest_kind)):
            metavar, setting, what = STORES[kind]
            default = "" if both_needed else f" (default: the {what} that sessions use)"
            parser.add_argument(
                f"--{end}", required=both_needed, metavar=metavar, help=f"An alias in {setting}{default}."
            )
        self._add_engines(parser)
        self._add_policies(parser)
        self._add_passes(parser)
        add_reading_options(parser)

    def _add_engines(self, parser: CommandParser) -> None:
        for end in ("source", "dest"):
            parser.add_argument(
                f"--{end}-engine",
                metavar="ENGINE",
                help="The session engine of that store: cache, cached_db, db, file or a dotted path (default: "
                "SESSION_ENGINE if it uses such a store, otherwise Django's own).",
            )
        for end, kind in (("source", self.source_kind), ("dest", self.dest_kind)):
            if kind == "db":
                parser.add_argument(
                    f"--{end}-model",
                    metavar="app_label.Model",
                    help="The model of the table, such as user_sessions.Session or qsessions.Session; its app "
                    "need not be installed (default: the engine's model).",
                )
        parser.add_argument(
            "--keys-from",
            type=Path,
            metavar="FILE",
            help="Copy the session keys in FILE, one per line, instead of listing the keys.",
        )

    def _add_policies(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--no-ttl",
            choices=("expiry-from-data", "skip", "keep", "error"),
            default="expiry-from-data",
            help="What to do with sessions without expiry: take it from set_expiry() or the cookie age, "
            "skip them, keep them without expiry (caches only), or stop (default: %(default)s).",
        )
        parser.add_argument(
            "--overwrite-older",
            action="store_true",
            help="Overwrite sessions that the destination holds in an older state (default: leave "
            "existing ones unchanged).",
        )
        parser.add_argument("--strict", action="store_true", help="Stop at the first session that JSON would change.")
        parser.add_argument(
            "--allow-unreadable", action="store_true", help="Start even if none of the first sessions can be read."
        )
        parser.add_argument(
            "--match", default="", metavar="PREFIX", help="Copy only sessions whose key begins with PREFIX."
        )
        parser.add_argument("--limit", type=positive_integer, metavar="N", help="Copy at most N sessions, as a trial.")

    def _add_passes(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="Show the plan and stop; nothing is written.")
        parser.add_argument(
            "--jobs", type=positive_integer, default=1, metavar="N", help="Number of parallel processes (default: 1)."
        )
        parser.add_argument("--rate", type=positive_integer, metavar="N", help="Read at most N sessions per second.")
        parser.add_argument(
            "--catch-up",
            type=natural_number,
            default=0,
            metavar="N",
            help="Repeat the pass over the source, up to N times, until one finds nothing to do (default: 0).",
        )
        parser.add_argument(
            "--manifest",
            type=Path,
            metavar="FILE",
            help="Record in FILE, as digests, what was written, so that later passes follow changes and logouts.",
        )
        parser.add_argument(
            "--after-switch",
            action="store_true",
            help="The last pass, with the same --manifest, after all traffic uses the destination: copies "
            "what the others missed, and leaves what was created, changed or deleted there.",
        )
        parser.add_argument(
            "--end-missed",
            action="store_true",
            help="With --after-switch: also delete sessions that were deleted in the source and changed "
            "in the destination since, by workers that used both at the switch (default: count and "
            "list them).",
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
