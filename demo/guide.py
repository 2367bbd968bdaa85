"""What every part of the tour does: number the steps, show the commands, and report the findings."""

from __future__ import annotations

import io
import shlex
from typing import TYPE_CHECKING

from django.core.management import call_command
from django.core.management.base import CommandError
from django.core.management.color import color_style

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .facts import Fact


class Guide:
    """Announces each step, shows the command that a person would type, and runs it."""

    def __init__(self, steps: int) -> None:
        self.style = color_style()
        self._steps = steps
        self._step = 0

    def announce(self, title: str) -> None:
        self._step += 1
        print("\n" + self.style.MIGRATE_HEADING(f"{self._step}/{self._steps}  {title}"))

    def show(self, *words: str) -> None:
        print(self.style.MIGRATE_LABEL(f"$ {typed(words)}") + "\n", flush=True)

    def command(self, *words: str) -> None:
        self.show(*words)
        call_command(*words)

    def command_with_summary(self, *words: str) -> None:
        """Run a command with its progress on the terminal; print only the last paragraph of its output."""
        self.show(*words)
        output = io.StringIO()
        try:
            call_command(*words, stdout=output)
        except CommandError:
            print(output.getvalue())
            raise
        print("\n" + output.getvalue().rstrip().rpartition("\n\n")[2])

    def report(self, facts: Iterable[Fact]) -> bool:
        """Print findings as they arrive; return whether all of them hold."""
        print()
        all_hold = True
        for fact in facts:
            mark = self.style.SUCCESS("yes") if fact.holds else self.style.ERROR("NO ")
            print(f"  {mark}  {fact.sentence}")
            all_hold &= fact.holds
        return all_hold


def typed(words: tuple[str, ...]) -> str:
    """Format a command as a person types it."""
    return f"python manage.py {shlex.join(words)}"
