"""Command lines: the options of commands, and the words that were typed.

Options are described where they are kept: at the fields of the frozen dataclass that they fill.
"""

from __future__ import annotations

import re
import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Collection, Iterable, Mapping
from dataclasses import field, fields
from pathlib import Path
from typing import Any, TypeVar

from django.core.management.base import DjangoHelpFormatter

T = TypeVar("T")
_ARGUMENTS = "add_argument"  # the key of a field's metadata


def option(default: T, help: str, **arguments: Any) -> T:
    """Return a field with this default that is an option of commands, too; ``arguments`` are those of argparse.

    The option has the field's name. One that is off by default takes no value. The help of one with another default
    ends with it.
    """
    kind = {"action": "store_true"} if default is False else {"default": default}
    shown = help if default in (None, False, "") else with_default(help)
    return field(default=default, metadata={_ARGUMENTS: {"help": shown, **kind, **arguments}})


def with_default(help: str) -> str:
    """Return a help text that ends with the option's default."""
    return f"{help.removesuffix('.')} (default: %(default)s)."


def add_options(parser: ArgumentParser, options: type[Any], names: Collection[str] | None = None) -> None:
    """Add the options of these ``names``, or all, to a command line, in the order of the dataclass ``options``."""
    for each in fields(options):
        if _ARGUMENTS in each.metadata and (names is None or each.name in names):
            parser.add_argument(f"--{each.name.replace('_', '-')}", **each.metadata[_ARGUMENTS])


def typed_options(options: type[Any], parsed: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a command line holds of the fields of a dataclass, by the field's name."""
    return {each.name: parsed[each.name] for each in fields(options) if each.name in parsed}


def typed_command() -> list[str]:
    """Return the words that this process was started with, as they are typed."""
    program, *words = sys.argv
    python = Path(sys.executable).name
    if Path(program).name == "__main__.py":
        return [python, "-m", "django", *words]
    return [python, program, *words] if program.endswith(".py") else [program, *words]


def called_command(name: str, parser: ArgumentParser, options: Mapping[str, Any]) -> list[str]:
    """Return the words to type for a command that was called from Python with these options.

    Options that every command of Django has are left out: they are about the call.
    """
    values: list[str] = []
    words: list[str] = []
    # Django reads the actions too, in `call_command`. What a command cannot do without comes first.
    for action in sorted(parser._actions, key=lambda action: not action.required):
        given = options.get(action.dest, action.default)
        if given == action.default or DjangoHelpFormatter.show_last.intersection(action.option_strings):
            continue
        each = map(str, given if isinstance(given, list | tuple) else [given])
        if not action.option_strings:
            values += each
            continue
        flag = next(text for text in action.option_strings if text.startswith("--"))
        words += [flag] if action.nargs == 0 else [word for value in each for word in (flag, value)]
    return ["python", "manage.py", name, *values, *words]


def without_option(words: Iterable[str], flag: str) -> list[str]:
    """Return the words of a command line without an option and its value, in either way of writing it."""
    kept: list[str] = []
    each = iter(words)
    for word in each:
        if word == flag:
            next(each, None)
        elif not word.startswith(f"{flag}="):
            kept.append(word)
    return kept


def positive_integer(text: str) -> int:
    """Parse an option's whole number above zero."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise ArgumentTypeError(f"{text!r} is not a whole number above zero")
    return value


def natural_number(text: str) -> int:
    """Parse an option's whole number, which may be 0."""
    if not text.isdecimal():
        raise ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def days(text: str) -> float:
    """Parse an option's number of days, which may be 0."""
    return _number_of("days", text, 10_000)


def seconds(text: str) -> float:
    """Parse an option's number of seconds, which may be 0."""
    return _number_of("seconds", text, 1e9)


def _number_of(unit: str, text: str, below: float) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < below:  # as neither inf nor nan is
        raise ArgumentTypeError(f"{text!r} is not a number of {unit}")
    return value


def regular_expression(text: str) -> str:
    """Check an option's regular expression."""
    try:
        re.compile(text)
    except re.error as error:
        raise ArgumentTypeError(f"{text!r} is not a valid regular expression: {error}") from error
    return text
