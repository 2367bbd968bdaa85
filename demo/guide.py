"""What every part of the tour does: run the commands, keep all that they print, show its core, and report findings."""

from __future__ import annotations

import io
import re
import shlex
from typing import TYPE_CHECKING

from django.core.management import call_command
from django.core.management.base import CommandError
from django.core.management.color import color_style

from .files import log_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .facts import Fact

COLOURS = re.compile(r"\x1b\[[\d;]*m")
NAMED = re.compile(r"(?:  )?(\S+(?: \S+)*)  +\S")
CONTINUED = re.compile(r" {3,}\S")


class _Screen(io.StringIO):
    """Standard output of a command, wrapped as on a terminal wherever the demo prints; it also goes to the log."""

    def __init__(self, log: io.StringIO) -> None:
        super().__init__()
        self._log = log

    def isatty(self) -> bool:
        return True  # Django itself decides about colours, by sys.stdout

    def write(self, text: str) -> int:
        self._log.write(text)
        return super().write(text)


class Guide:
    """Shows the commands that a person would type, and runs them."""

    def __init__(self) -> None:
        self.style = color_style()

    def command(self, log: str, *words: str, named: Sequence[str]) -> None:
        """Run a command, and show the named parts of what it prints, and its verdict."""
        print(self.style.MIGRATE_LABEL(f"$ {typed(words)}"), flush=True)
        print("\n".join(core(self._output(log, words), named)) + "\n")

    def verdict(self, log: str, *words: str, label: str) -> None:
        """Run a command, and show the beginning of its verdict behind a label."""
        print(f"  {label:<27}  ", end="", flush=True)
        verdict = next(iter(core(self._output(log, words), ())), "")
        print(re.split(r"[;.] | \(|\.$", verdict)[0])

    def report(self, facts: Iterable[Fact]) -> bool:
        """Print findings as they arrive; return whether all of them hold."""
        all_hold = True
        for fact in facts:
            mark = self.style.SUCCESS("yes") if fact.holds else self.style.ERROR("NO ")
            print(f"  {mark}  {fact.sentence}")
            all_hold &= fact.holds
        return all_hold

    def _output(self, log: str, words: tuple[str, ...]) -> str:
        """Run a command and return its standard output; the log also has the command and its progress."""
        everything = io.StringIO()
        screen = _Screen(everything)
        try:
            call_command(*words, stdout=screen, stderr=everything)
        except CommandError:
            print("\n" + screen.getvalue())
            raise
        finally:
            text = f"$ {typed(words)}\n\n{COLOURS.sub('', everything.getvalue())}"
            log_file(log).write_text(text, encoding="utf-8")
        return screen.getvalue()


def core(text: str, named: Sequence[str]) -> Iterable[str]:
    """Yield the named parts of what a command printed, with the lines that continue them, and its verdict."""
    is_chosen = False
    for line in text.splitlines():
        plain = COLOURS.sub("", line)
        if not CONTINUED.match(plain):
            name = found[1] if (found := NAMED.match(plain)) else ""
            is_chosen = name in named or (name.isupper() and name != "PLAN")
        if is_chosen:
            yield line


def typed(words: tuple[str, ...]) -> str:
    """Format a command as a person types it."""
    return f"python manage.py {shlex.join(words)}"
