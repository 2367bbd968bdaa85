"""Markdown from data."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

# What texts of the code name without marking it as code: options, settings, calls and field lookups.
_NAMES = (
    r"--[a-z][a-z-]*(?: (?:[A-Z]{2,}|full|skip)\b)?",
    r"(?:MIGRATOR|[A-Z]+_[A-Z_]+)(?:\['\w+'\])*",
    r"\w+\(\)",
    r"\w+__\w+=\S*\w",
)
_CODE = re.compile(rf"(?<![\w`-])(?:{'|'.join(_NAMES)})(?![\w`])")


def table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; a cell may hold any Markdown of one line."""
    lines = [headers, ["---"] * len(headers), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def code(text: str) -> str:
    """Return text as code within a line."""
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def marked(text: str) -> str:
    """Return a sentence of the code with options, settings and calls in it marked as code."""
    return _CODE.sub(lambda found: code(found[0]), text.replace("*", r"\*").replace("<", r"\<"))
