"""Questions to the user. The base class answers safely when there is no one to ask."""

from __future__ import annotations

import sys
from typing import ClassVar, TextIO

from ..errors import Declined
from .safe_text import visible_lines
from .wrapping import width_of, wrapped


class Prompter:
    """Answer for a caller that has already decided (``--no-input``, or a call from code).

    It continues when nothing can be lost, and never decides that anything may be destroyed.
    """

    can_ask: ClassVar[bool] = False

    def proceed(self, question: str) -> bool:
        """Return the answer to a question whose yes destroys nothing."""
        return True

    def type_to_destroy(self, warning: str, word: str) -> bool:
        """Return whether what ``warning`` names may be destroyed; ``word`` is what the user has to type."""
        return False


class NoTerminal(Prompter):
    """Answer when standard input is not a terminal and ``--no-input`` was not given: nothing is written."""

    def proceed(self, question: str) -> bool:
        raise Declined(
            f"There is no terminal to ask on ({question}). Nothing was written. "
            "Pass --no-input to continue without a question."
        )


class TerminalPrompter(Prompter):
    """Ask the user at the terminal; the default answer is no, as is the end of input."""

    can_ask = True

    def __init__(self, stdin: TextIO | None = None, stdout: TextIO | None = None) -> None:
        self._stdin = stdin or sys.stdin
        self._stdout = stdout or sys.stderr

    def _ask(self, text: str) -> str:
        self._stdout.write(wrapped(visible_lines(text), width_of(self._stdout)))
        self._stdout.flush()
        return self._stdin.readline().strip()

    def proceed(self, question: str) -> bool:
        return self._ask(f"{question} [y/N] ").lower() in ("y", "yes")

    def type_to_destroy(self, warning: str, word: str) -> bool:
        return self._ask(f"{warning}\nType {word!r} to continue, anything else to stop: ") == word


def prompter_for(*, no_input: bool) -> Prompter:
    """Choose who answers: the option, the terminal, or no one."""
    if no_input:
        return Prompter()
    try:
        interactive = sys.stdin.isatty()
    except (AttributeError, ValueError):  # standard input is closed
        interactive = False
    return TerminalPrompter() if interactive else NoTerminal()
