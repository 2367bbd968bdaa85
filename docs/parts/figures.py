"""Tables of what the benchmarks have measured, from `bench/figures.json`, which they write."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .markdown import table

FILE = Path(__file__).resolve().parent.parent.parent / "bench" / "figures.json"
NAMES = ("moves", "growth", "shapes", "verification", "follow", "sessions", "rolling", "round_trips")
# The facts about a machine that are versions of packages, and of servers, which have their name with them.
_PACKAGES = {"python": "Python", "django": "Django", "psycopg": "psycopg"}
_SERVERS = ("postgresql", "mysql", "sqlite")
# The columns of the README's table: the others need more explanation.
_IN_README = ("route", "rows per second", "MiB of memory", "`bulk_create` by 5,000", "the standard tool")


def _figures(name: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))[name]
    return read


def measured(name: str) -> str:
    """Return the table of one benchmark, with the day and the code that was measured."""
    found = _figures(name)
    rows = [[_shown(cell) for cell in row] for row in found["rows"]]
    when = f"Measured on {found['date']} at commit `{found['commit']}`{_machine(found['machine'])}, by:"
    return f"{table(found['columns'], rows)}\n{when}\n\n```console\n$ {found['command']}\n```\n"


def readme_table() -> str:
    """Return the README's table of moves."""
    found = _figures("moves")
    chosen = [found["columns"].index(column) for column in _IN_README]
    rows = [[_shown(row[position]) for position in chosen] for row in found["rows"]]
    return table(_IN_README, rows).replace("| --- " * len(_IN_README) + "|", "|---" * len(_IN_README) + "|")


def _machine(facts: Mapping[str, str | int]) -> str:
    versions = [str(facts[name]).partition(" (")[0] for name in _SERVERS if name in facts]
    versions += [f"{title} {facts[name]}" for name, title in _PACKAGES.items() if name in facts]
    return f", with {', '.join(versions)}" if versions else ""


def _shown(cell: object) -> str:
    return f"{cell:,}" if isinstance(cell, int) else str(cell)
