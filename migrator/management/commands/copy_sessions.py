"""Copy sessions from any store to another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import CommandParser

from ...conf import load
from ...console.command_line import add_options
from ...errors import UsageError
from ...sessions.records import CopyOptions, End
from ...sessions.transition.side_settings import ConfiguredSide
from ..session_command import ENDS, SessionsCommand, add_store_options, named_end, store_name

OF_STORES = ("source_engine", "dest_engine", "source_model", "dest_model")


class Command(SessionsCommand):
    help = (
        "Copy all users' sessions from one store to another; no one is logged out. Without --source and --dest, from "
        "OLD to NEW of MIGRATOR['SESSIONS']."
    )
    examples = (
        ("Show what a copy from OLD to NEW of MIGRATOR['SESSIONS'] would do:", "--dry-run"),
        ("Copy the sessions of a cache to the table of a database:", "--source cache:default --dest db:new"),
        ("Copy all sessions in four processes:", "--source cache:old --dest cache:new --jobs 4"),
    )

    def add_options(self, parser: CommandParser) -> None:
        for end, side in (("source", "OLD"), ("dest", "NEW")):
            parser.add_argument(
                f"--{end}",
                type=store_name,
                metavar="STORE",
                help=f"A store, as cache:ALIAS, db:ALIAS or file (default: {side} of MIGRATOR['SESSIONS']).",
            )
        add_store_options(parser)
        add_options(parser, CopyOptions)

    def ends(self, options: dict[str, Any]) -> tuple[End, End]:
        if options["source"] is None and options["dest"] is None:
            source, dest = self._configured(options)
        elif options["source"] is None or options["dest"] is None:
            raise UsageError("Name both stores, --source and --dest, or neither for those of MIGRATOR['SESSIONS'].")
        else:
            source, dest = (named_end(name, options) for name in ENDS)
        return replace(source, keys_from=options["keys_from"]), dest

    def comparison(self, source: End, dest: End, options: dict[str, Any]) -> str | None:
        if options["source"] is None:
            return "python manage.py session_transition --verify full"
        return super().comparison(source, dest, options)

    def _configured(self, options: dict[str, Any]) -> tuple[End, End]:
        """Return OLD and NEW of the settings, which name their engines and models themselves."""
        if given := [name for name in OF_STORES if options[name]]:
            option = f"--{given[0].replace('_', '-')}"
            raise UsageError(f"{option} requires --source and --dest: MIGRATOR['SESSIONS'] names the engines itself.")
        try:
            sessions = load().SESSIONS
            if sessions is None:
                raise UsageError("Name both stores with --source and --dest, or set MIGRATOR['SESSIONS'].")
            return ConfiguredSide("OLD", sessions.OLD).end, ConfiguredSide("NEW", sessions.NEW).end
        except ImproperlyConfigured as error:
            raise UsageError(str(error)) from None
