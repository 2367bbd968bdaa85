"""The options of each command, from its parser."""

from __future__ import annotations

import re
from argparse import SUPPRESS, Action
from collections.abc import Iterator
from pathlib import Path

from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand, CommandParser

import migrator.management.commands
from migrator.management.session_command import SessionsCommand

from .markdown import code, marked, table

COMMANDS = sorted(
    path.stem for path in Path(*migrator.management.commands.__path__).glob("*.py") if not path.stem.startswith("_")
)
_COPIES: dict[str, type[SessionsCommand]] = {
    name: found
    for name in COMMANDS
    if issubclass(found := type(load_command_class("migrator", name)), SessionsCommand) and name != "copy_sessions"
}
# Each does what another command does for one pair of kinds of stores, and has a section of that command's page.
SHORT_FORMS = dict.fromkeys(_COPIES, "copy_sessions")
_DEFAULT = re.compile(r" \(default: ((?:[^()]|\([^()]*\))*)\)")
_UNTITLED = ("options", "positional arguments")


def parser_of(command: str) -> CommandParser:
    """Return the parser of a command line."""
    loaded: BaseCommand = load_command_class(get_commands()[command], command)
    return loaded.create_parser("manage.py", command)


def own_actions(command: str) -> list[Action]:
    """Return a command's arguments, without those that every command of Django has."""
    common = {option for action in BaseCommand().create_parser("", "")._actions for option in action.option_strings}
    return [action for action in parser_of(command)._actions if not common & set(action.option_strings)]


def options(command: str) -> str:
    """Return a table of the command's options for each of its groups."""
    parser = parser_of(command)
    own = {action.dest for action in own_actions(command)}
    parts: list[str] = []
    rows: list[tuple[str, str, str]] = []
    for group in parser._action_groups:
        found = [_row(action) for action in group._group_actions if action.dest in own and action.help != SUPPRESS]
        if group.title in _UNTITLED:
            rows += found
        elif found:
            parts.append(f"### {group.title.capitalize() if group.title else 'Options'}\n")
            parts += [f"{marked(group.description)}\n"] if group.description else []
            parts.append(_table(found))
    if rows:
        parts.insert(0, _table(rows))
    return "\n".join(parts)


def short_forms() -> str:
    """Return a table of the short forms of ``copy_sessions``, and which of their two stores have to be named."""
    rows = []
    for name, found in _COPIES.items():
        long = f"copy_sessions --source {found.source_kind}:ALIAS --dest {found.dest_kind}:ALIAS"
        is_needed = any(action.required for action in own_actions(name) if action.dest in ("source", "dest"))
        left_out = "must be named" if is_needed else "those that the project's sessions use"
        rows.append((f"[`{name}`](#{name})", code(long), left_out))
    return table(("command", "short for", "stores that are left out"), rows)


def _table(rows: list[tuple[str, str, str]]) -> str:
    return table(("option", "meaning", "default"), rows)


def _row(action: Action) -> tuple[str, str, str]:
    text = (action.help or "") % {**vars(action), "prog": "manage.py"}
    said = _DEFAULT.search(text)
    return ", ".join(_names(action)), marked(_DEFAULT.sub("", text)), _default(action, said[1] if said else "")


def _names(action: Action) -> Iterator[str]:
    taken = "|".join(map(str, action.choices)) if action.choices else action.metavar or action.dest.upper()
    if not action.option_strings:
        yield code(f"{taken} …" if action.nargs in ("*", "+") else str(taken))
    for option in action.option_strings:
        yield code(option if action.nargs == 0 else f"{option} {taken}")


def _default(action: Action, said: str) -> str:
    if said:
        is_value = said == str(action.default)
        return code(said) if is_value else marked(said)
    if action.nargs == "+" or (action.option_strings and action.required):
        return "required"
    return "" if action.default in (None, False, "", [], SUPPRESS) else code(str(action.default))
