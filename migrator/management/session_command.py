"""What the commands that copy sessions share: their options, and the two stores that they name."""

from __future__ import annotations

import shlex
from argparse import ArgumentTypeError
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from ..console.command_line import add_options, typed_options
from ..console.progress import Progress
from ..console.prompts import Prompter
from ..console.reports import Report
from ..errors import UsageError
from ..sessions.copying.run import copy_sessions
from ..sessions.records import CopyOptions, End
from ..sessions.reports import copy_report, plan_report
from .base import MigratorCommand

ENDS = ("source", "dest")


def store_name(text: str) -> tuple[str, str | None]:
    """Return the kind and the alias of ``cache:ALIAS``, ``db:ALIAS`` or ``file``."""
    kind, _, alias = text.partition(":")
    if kind not in ("cache", "db", "file") or (kind == "file") == bool(alias):
        raise ArgumentTypeError(f"{text!r} is not cache:ALIAS, db:ALIAS or file")
    return kind, alias or None


def add_store_options(parser: CommandParser, tables: Collection[str] = ENDS, verb: str = "Copy") -> None:
    """Add the options for both stores; those of ``tables``, ``source`` or ``dest``, may have a model."""
    for end in ENDS:
        parser.add_argument(
            f"--{end}-engine",
            metavar="ENGINE",
            help="The session engine of that store: cache, cached_db, db, file or a dotted path (default: "
            "SESSION_ENGINE if it uses such a store, otherwise Django's own).",
        )
    for end in tables:
        parser.add_argument(
            f"--{end}-model",
            metavar="app_label.Model",
            help="The model of the table, such as user_sessions.Session or qsessions.Session; its app need not be "
            "installed (default: the engine's model).",
        )
    parser.add_argument(
        "--keys-from",
        type=Path,
        metavar="FILE",
        help=f"{verb} the session keys in FILE, one per line, instead of listing the keys.",
    )


def named_end(name: str, options: Mapping[str, Any]) -> End:
    """Return the end that ``--source`` or ``--dest`` names; raise :exc:`UsageError` for a model without a table."""
    kind, alias = options[name]
    model = options[f"{name}_model"]
    if model and kind != "db":
        raise UsageError(f"--{name}-model is for the table of a database, and --{name} names another kind of store.")
    return End(kind, alias, options[f"{name}_engine"], model)


STORES = {"cache": ("CACHE", "CACHES", "cache"), "db": ("DB", "DATABASES", "database")}


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
        kinds = {"source": self.source_kind, "dest": self.dest_kind}
        add_store_options(parser, [end for end, kind in kinds.items() if kind == "db"])
        add_options(parser, CopyOptions)

    def ends(self, options: dict[str, Any]) -> tuple[End, End]:
        """Return the source and the destination that the options name."""
        keys_from = options["keys_from"]
        source = End(
            self.source_kind, options["source"], options["source_engine"], options.get("source_model"), keys_from
        )
        return source, End(self.dest_kind, options["dest"], options["dest_engine"], options.get("dest_model"))

    def perform(self, options: dict[str, Any], progress: Progress, prompter: Prompter) -> Report:
        source, dest = self.ends(options)
        result = copy_sessions(
            source=source,
            dest=dest,
            options=CopyOptions(**typed_options(CopyOptions, options)),
            progress=progress,
            prompter=prompter,
            show=lambda plan: self.show(plan_report(plan), options),
        )
        return copy_report(result, again=self.in_earnest(), compare=self.comparison(source, dest, options))

    def comparison(self, source: End, dest: End, options: dict[str, Any]) -> str | None:
        """Return the command that compares the stores of this copy with all of their sessions; None for a part."""
        return _comparison(source, dest)


def _comparison(source: End, dest: End) -> str | None:
    """Return the command that compares two stores, if both were named."""
    if not (source.alias and dest.alias) or source.keys_from or any(end.engine or end.model for end in (source, dest)):
        return None
    one, other = (shlex.quote(f"{end.kind}:{end.alias}") for end in (source, dest))
    return f"python manage.py verify_sessions --source {one} --dest {other} --mode full"
