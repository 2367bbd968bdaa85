"""What the commands that copy rows between databases share: their options, and how a plan is shown."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from ..console.progress import Progress
from ..console.prompts import Prompter
from ..databases.options import VERIFY, Console
from ..databases.reports.run import plan_report
from .base import MigratorCommand, positive_integer

ARGUMENTS = (
    "source",
    "dest",
    "exclude",
    "chunk_size",
    "dry_run",
    "resume",
    "trust_done",
    "cleanup",
    "keep_triggers",
    "verify",
    "on_error",
    "rejects",
    "keep_journal",
    "jobs",
)


class RunCommand(MigratorCommand):
    """A command that copies rows from one database to another."""

    def add_options(self, parser: CommandParser) -> None:
        parser.add_argument("--source", required=True, metavar="ALIAS", help="The database to read, in DATABASES.")
        parser.add_argument("--dest", required=True, metavar="ALIAS", help="The database to fill, in DATABASES.")
        parser.add_argument(
            "-e",
            "--exclude",
            action="append",
            default=[],
            metavar="app_label[.Model]",
            help="Leave out an app or model; may be repeated.",
        )
        parser.add_argument(
            "--chunk-size",
            type=positive_integer,
            metavar="ROWS",
            help="Rows in a chunk, and so in a transaction (default: MIGRATOR['CHUNK_SIZE'], or at least 10000).",
        )
        parser.add_argument("--dry-run", action="store_true", help="Show the plan and stop; nothing is written.")
        parser.add_argument("--resume", action="store_true", help="Go on with a run that was cut off.")
        parser.add_argument(
            "--trust-done",
            action="store_true",
            help="With --resume: do not hold the chunks that were committed against the source again.",
        )
        parser.add_argument(
            "--cleanup",
            action="store_true",
            help="Abandon an interrupted run: recreate the indexes, keys and triggers it dropped; list the rest.",
        )
        parser.add_argument("--keep-triggers", action="store_true", help="Let triggers fire for the rows of this run.")
        parser.add_argument(
            "--verify",
            choices=VERIFY,
            default="count",
            help="What is compared at the end: nothing, the counts, or also the values of all rows (default: count).",
        )
        parser.add_argument(
            "--on-error",
            choices=("stop", "skip"),
            default="stop",
            help="What happens at a row that the destination cannot hold (default: stop).",
        )
        parser.add_argument(
            "--rejects", type=Path, metavar="FILE", help="Where --on-error skip keeps such rows, as JSON lines."
        )
        parser.add_argument(
            "--jobs",
            type=positive_integer,
            default=1,
            metavar="N",
            help="Processes that copy side by side, all of one snapshot of the source (default: 1).",
        )
        parser.add_argument(
            "--keep-journal", action="store_true", help="Leave the run's journal tables in the destination."
        )

    def run_arguments(self, options: dict[str, Any]) -> dict[str, Any]:
        """Pick the options that the functions behind these commands take by the same names."""
        words = [word for word in _command_line() if word not in ("--resume", "--cleanup")]
        given_up = [word for word in words if word != "--trust-done"]
        hint = f"Go on:   {shlex.join(words)} --resume\nGive up: {shlex.join(given_up)} --cleanup"
        return {**{name: options[name] for name in ARGUMENTS}, "resume_hint": hint}

    def console(self, options: dict[str, Any], progress: Progress, prompter: Prompter) -> Console:
        """Make who shows the plan, draws the progress and asks."""
        return Console(lambda plan: self.show(plan_report(plan), options), progress, prompter)


def _command_line() -> list[str]:
    """Give the words that this process was started with, as they are typed."""
    program, *words = sys.argv
    python = Path(sys.executable).name
    if Path(program).name == "__main__.py":
        return [python, "-m", "django", *words]
    return [python, program, *words] if program.endswith(".py") else [program, *words]
