"""What every part of the tour does: count the steps, show the commands, and tell what was found."""

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
    """Say each step, show the command that a person would type, and run it."""

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

    def command_with_its_end(self, *words: str) -> None:
        """Run a command with its progress on the terminal; of its text, print what follows the last empty line."""
        self.show(*words)
        output = io.StringIO()
        try:
            call_command(*words, stdout=output)
        except CommandError:
            print(output.getvalue())
            raise
        print("\n" + output.getvalue().rstrip().rpartition("\n\n")[2])

    def tell(self, facts: Iterable[Fact]) -> bool:
        """Say what was found as it is found; tell whether all is as it should be."""
        print()
        all_hold = True
        for fact in facts:
            mark = self.style.SUCCESS("yes") if fact.holds else self.style.ERROR("NO ")
            print(f"  {mark}  {fact.sentence}")
            all_hold &= fact.holds
        return all_hold


def typed(words: tuple[str, ...]) -> str:
    """Write a command as a person types it."""
    return f"python manage.py {shlex.join(words)}"
