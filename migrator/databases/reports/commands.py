"""The commands that reports suggest, with the same databases and tables as the one that was called."""

from __future__ import annotations

import shlex

from ..planning.selection import Choice


def command_line(command: str, source: str, dest: str, choice: Choice, *options: str) -> str:
    """Return what to type for a command between two aliases, on the tables of this choice."""
    excluded = [word for label in choice.exclude for word in ("--exclude", label)]
    words = [*choice.labels, "--source", source, "--dest", dest, *excluded, *options]
    return shlex.join(["python", "manage.py", command, *words])
