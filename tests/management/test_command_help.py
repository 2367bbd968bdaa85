"""The help of each command fits a terminal of 80 columns, has its options in groups, and shows examples that work."""

from __future__ import annotations

import io
import re
import shlex
from contextlib import redirect_stdout

import pytest
from django.core.management import load_command_class
from django.core.management.base import BaseCommand, CommandParser

from migrator.management.base import MigratorCommand
from migrator.management.command_help import GROUPS, OF_DJANGO
from tests.test_docs import COMMANDS

OWN_WORDS = {"help", "version", "verbosity"}  # Django's options


def command_of(name: str) -> MigratorCommand:
    loaded = load_command_class("migrator", name)
    assert isinstance(loaded, MigratorCommand)
    return loaded


def parser_of(name: str) -> CommandParser:
    return command_of(name).create_parser("manage.py", name)


@pytest.fixture(autouse=True)
def eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_in_a_group(name: str) -> None:
    known = {action.dest for action in BaseCommand().create_parser("", "")._actions}
    groups = {group.title: group._group_actions for group in parser_of(name)._action_groups}
    assert {action.dest for action in groups.pop(OF_DJANGO)} == known
    groups.pop("positional arguments")
    assert set(groups) <= set(GROUPS)
    assert [title for title in GROUPS if title in groups] == list(groups), "in the order of the table"


def test_no_group_has_an_option_that_no_command_has() -> None:
    every = {action.dest for name in COMMANDS for action in parser_of(name)._actions}
    assert {dest for names in GROUPS.values() for dest in names} <= every


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_a_terminal(name: str) -> None:
    shown = io.StringIO()
    with redirect_stdout(shown), pytest.raises(SystemExit):
        parser_of(name).parse_args(["--help"])
    lines = shown.getvalue().splitlines()
    assert [line for line in lines if len(line) > 80] == []
    assert lines[0].startswith(f"usage: manage.py {name} ")
    assert "examples:" in lines


@pytest.mark.parametrize("name", COMMANDS)
def test_the_default_of_an_option_is_in_its_help_once(name: str) -> None:
    for action in parser_of(name)._actions:
        text = action.help or ""
        has_default = action.default not in (None, False, "", 0, []) and action.dest not in {
            "verbosity",
            "help",
            "version",
        }
        assert text.count("(default: ") <= 1
        assert ("%(default)s" in text) == has_default, action.dest


@pytest.mark.parametrize("name", COMMANDS)
def test_three_examples_parse(name: str) -> None:
    examples = command_of(name).examples
    assert len(examples) == 3
    for what, words in examples:
        assert re.fullmatch(r"[A-Z].*:", what)
        parser_of(name).parse_args(shlex.split(words))  # raises CommandError
    epilog = str(parser_of(name).epilog).replace(" \\\n     ", "")
    assert [f"    manage.py {name} {words}".rstrip() for _, words in examples] == epilog.splitlines()[2::2]
