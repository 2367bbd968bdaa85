"""The help of commands: a short usage, options in groups, and examples."""

from __future__ import annotations

import shlex
from argparse import Action
from collections.abc import Iterator, Mapping, Sequence

from django.core.management.base import CommandParser, DjangoHelpFormatter

WIDTH = 72
# The options of all commands, by the title of their group, in the order in which groups are shown.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "selection": (
        "cache",
        "move",
        "source",
        "dest",
        "exclude",
        "filters",
        "with_parents",
        "keys_from",
        "match",
        "key_regex",
        "limit",
        "source_engine",
        "dest_engine",
        "source_model",
        "dest_model",
        "side",
        "back",
    ),
    "safety": (
        "dry_run",
        "forecast",
        "scratch",
        "replace",
        "update",
        "migrate",
        "on_error",
        "rejects",
        "keep_triggers",
        "overwrite",
        "overwrite_older",
        "no_ttl",
        "strict",
        "allow_unreadable",
        "trust_pickle",
        "clear",
        "after",
        "quiet_for",
        "discard_missing",
        "reset",
        "no_input",
    ),
    "interrupted runs": ("resume", "trust_done", "cleanup", "keep_journal"),
    "passes": ("follow", "until_quiet", "follow_up", "catch_up", "manifest", "after_switch", "end_missed"),
    "verification": ("verify", "mode", "sample", "seed", "max_diffs", "show_values", "ttl_tolerance"),
    "speed": ("jobs", "executor", "chunk_size", "rate", "keep_indexes"),
    "output": ("watch", "format", "report", "no_progress"),
}
OF_DJANGO = "options of every Django command"


class HelpFormatter(DjangoHelpFormatter):
    """Keep the line breaks of texts that have some, such as examples."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" in text:
            return "\n".join(indent + line for line in text.splitlines())
        return super()._fill_text(text, width, indent)


def arrange(parser: CommandParser) -> None:
    """Give a parser a short usage, and put its options into groups; argparse can do neither once they are added."""
    usage = _folded([parser.prog, *_needed(parser._actions), "[options]"], "\n       ")
    parser.usage = usage.replace("%", "%%")
    positional, of_django = parser._action_groups[:2]
    of_django.title = OF_DJANGO
    groups = [positional]
    for title, names in GROUPS.items():
        moved = sorted((a for a in of_django._group_actions if a.dest in names), key=lambda a: names.index(a.dest))
        if moved:
            group = parser.add_argument_group(title)
            group._group_actions += moved
            of_django._group_actions = [action for action in of_django._group_actions if action not in moved]
            groups.append(group)
    parser._action_groups[:] = [*groups, of_django]


def _needed(actions: Sequence[Action]) -> Iterator[str]:
    """Yield how options that are required, and arguments without a name, are typed."""
    for action in actions:
        if action.option_strings and action.required:
            yield f"{action.option_strings[-1]} {action.metavar}"
        elif not action.option_strings:
            yield f"[{action.metavar} ...]" if action.nargs == "*" else f"{action.metavar} ..."


def examples_text(command: str, examples: Sequence[tuple[str, str]]) -> str:
    """Format examples, each of which is what it does and the words behind the command."""
    parts = [f"  {what}\n    {_broken(f'manage.py {command} {words}')}" for what, words in examples]
    return "\n".join(["examples:", *parts])


def _broken(call: str) -> str:
    return _folded([shlex.quote(word) for word in shlex.split(call)], " \\\n      ")


def _folded(words: Sequence[str], line_break: str) -> str:
    """Join words with spaces, and with breaks where a line would not fit into a terminal of 80 columns."""
    lines = [""]
    for word in words:
        if len(lines[-1]) + len(word) > WIDTH:
            lines.append("")
        lines[-1] += f"{word} "
    return line_break.join(line.rstrip() for line in lines)
