"""Empty the session store that a transition has left behind."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser

from ...console.command_line import add_options, typed_options
from ...console.progress import Progress
from ...console.prompts import Prompter
from ...console.reports import Report
from ...sessions.transition.clear_store import ClearOptions, clear_old_sessions
from ...sessions.transition.reports import clear_plan_report, cleared_report
from ..base import MigratorCommand


class Command(MigratorCommand):
    help = (
        "Delete every session of OLD in MIGRATOR['SESSIONS'], and none of NEW, when no worker needs OLD any more; "
        "or empty the store that only follows, before it is copied to again."
    )
    examples = (
        (
            "Show what would be deleted from OLD:",
            "--dry-run",
        ),
        (
            "Delete it, without a prompt:",
            "--clear cache:default --no-input",
        ),
        (
            "Empty NEW before it is copied to again, in the phase dual_old:",
            "--side new --clear db:new",
        ),
    )

    def add_options(self, parser: CommandParser) -> None:
        add_options(parser, ClearOptions)

    def perform(self, options: dict[str, Any], progress: Progress, prompter: Prompter) -> Report:
        result = clear_old_sessions(
            **typed_options(ClearOptions, options),
            progress=progress,
            prompter=prompter,
            show=lambda plan: self.show(clear_plan_report(plan), options),
        )
        return cleared_report(result, again=self.in_earnest())
