"""Settings, system checks, exit codes and functions, from the code."""

from __future__ import annotations

import dataclasses
import inspect
import itertools
import re
from importlib import import_module
from typing import Any

from migrator import errors
from migrator.checks.messages import PROBLEMS

from .markdown import code, table

# The functions and classes that projects may import, and the module of each.
MODULES = ("migrator.databases", "migrator.sessions", "migrator.caches", "migrator.prometheus")
_ROLE = re.compile(r":\w+:(?=`)")
# What a check is about, by the first two digits of its number.
_TOPICS = {
    "00": "The `MIGRATOR` setting",
    "01": "The `MIGRATOR` setting",
    "02": "`TransitionCache`",
    "03": '`MIGRATOR["SESSIONS"]`',
    "04": '`MIGRATOR["SESSIONS"]`',
    "05": 'The servers of `MIGRATOR["SESSIONS"]`',
}


def settings(kind: type[Any]) -> str:
    """Return a table of the keys of a setting."""
    rows = [(code(each.name), each.metadata["meaning"], _default(each)) for each in dataclasses.fields(kind)]
    return table(("key", "meaning", "default"), rows)


def _default(each: dataclasses.Field[Any]) -> str:
    if each.default is dataclasses.MISSING:
        return "required"
    said: str = each.metadata["default"]
    return said or code(str(each.default))


def checks() -> str:
    """Return a table of the system checks for each part of the settings."""
    parts = []
    # E022 is about the same as W022.
    known = sorted(PROBLEMS.items(), key=lambda item: _topic(item[0]))
    for title, found in itertools.groupby(known, lambda item: _topic(item[0])):
        parts.append(f"## {title}\n\n{table(('id', 'problem'), [(code(id), text) for id, text in found])}")
    return "\n".join(parts)


def _topic(id: str) -> str:
    return _TOPICS[id[-3:-1]]


def exit_codes() -> str:
    """Return a table of the exit codes."""
    return table(("code", "meaning"), [(str(number), text) for number, text in errors.EXIT_CODES.items()])


def error_classes() -> str:
    """Return a table of the errors that the functions raise."""
    kinds: list[type[errors.MigratorError]] = [errors.MigratorError, *errors.MigratorError.__subclasses__()]
    rows = [(code(f"migrator.errors.{kind.__name__}"), _codes(kind), inspect.getdoc(kind) or "") for kind in kinds]
    return table(("error", "exit code", "meaning"), rows)


def _codes(kind: type[errors.MigratorError]) -> str:
    of_signals = [str(number) for number in errors.EXIT_CODES if number > 128]
    return ", ".join(of_signals) if kind is errors.Interrupted else str(kind.exit_code)


def public_names() -> str:
    """Return a table of all names that projects may import."""
    rows = []
    for module in MODULES:
        package = import_module(module)
        for name in package.__all__:
            found = getattr(package, name)
            rows.append((code(f"from {module} import {name}"), _summary(found)))
    return table(("import", "what it is"), rows)


def _summary(found: Any) -> str:
    documented = getattr(found, "func", found)  # a partial has the docstring of its class
    first = (inspect.getdoc(documented) or "").split("\n")[0].replace("``", "`")
    return _ROLE.sub("", first)
