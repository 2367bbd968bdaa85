"""What the commands between two databases share: which databases and tables, and how a run is made and shown."""

from __future__ import annotations

from argparse import Action, ArgumentParser, Namespace
from collections.abc import Callable, Collection
from typing import Any, ClassVar

from django.core.management.base import CommandParser

from ..console.command_line import add_options, typed_options
from ..console.progress import Progress
from ..console.prompts import Prompter
from ..console.reports import Report
from ..databases.reports.plan import plan_report
from ..databases.reports.run import result_report
from ..databases.result import RunResult
from ..databases.run_options import Console, RunKeywords, RunOptions
from .base import MigratorCommand


def add_labels(parser: CommandParser) -> None:
    """Add the positional argument that chooses apps and models."""
    parser.add_argument(
        "labels", nargs="*", metavar="app_label[.Model]", help="Only these apps or models (default: all)."
    )


class _MoveAction(Action):
    """Store the name of a move, which has the source and the destination."""

    def __call__(
        self, parser: ArgumentParser, namespace: Namespace, values: Any, option_string: str | None = None
    ) -> None:
        setattr(namespace, self.dest, values)
        for action in parser._actions:  # argparse asks for what is required at its end
            if action.dest in ("source", "dest"):
                action.required = False


def add_move(parser: CommandParser) -> None:
    """Add the option that names a move of the settings."""
    parser.add_argument(
        "--move",
        action=_MoveAction,
        metavar="NAME",
        help="Take the source, the destination and the tables from MIGRATOR['MOVES'], in place of --source and --dest.",
    )


def add_databases(parser: CommandParser, source: str, dest: str) -> None:
    """Add the options for both databases, with these help texts, and for what is left out."""
    parser.add_argument("--source", required=True, metavar="ALIAS", help=source)
    parser.add_argument("--dest", required=True, metavar="ALIAS", help=dest)
    parser.add_argument(
        "-e",
        "--exclude",
        action="append",
        default=[],
        metavar="app_label[.Model]",
        help="Leave out an app or model; may be repeated.",
    )


class RunCommand(MigratorCommand):
    """A command that copies rows from one database to another, by a function that takes what it chooses."""

    function: ClassVar[Callable[..., RunResult]]
    # Keywords of the function in addition to both databases and the options of the run.
    chosen: ClassVar[Collection[str]]

    def add_options(self, parser: CommandParser) -> None:
        add_databases(parser, "The database to read, in DATABASES.", "The database to fill, in DATABASES.")
        add_options(parser, RunOptions, RunKeywords.__optional_keys__)

    def perform(self, options: dict[str, Any], progress: Progress, prompter: Prompter) -> Report:
        resuming = self.command_line("--resume", "--cleanup")
        abandoning = self.command_line("--resume", "--cleanup", "--trust-done")
        hint = f"Resume:\n    {resuming} --resume\nAbandon:\n    {abandoning} --cleanup"
        result = type(self).function(
            **{name: options[name] for name in ("source", "dest", "exclude", *self.chosen)},
            **typed_options(RunOptions, options),
            resume_hint=hint,
            console=Console(lambda plan: self.show(plan_report(plan), options), progress, prompter),
        )
        return result_report(result, again=self.in_earnest())
