"""Python's values rendered as lines of text, in the format of :class:`~.loading.TextWriter`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any

from .session import Row

NULL = "\\N"

Render = Callable[[Any], str]


def escape(text: str) -> str:
    """Escape a text as a line's fields are (PostgreSQL manual, COPY, "Text Format"; MySQL manual, LOAD DATA)."""
    if "\\" in text:
        text = text.replace("\\", "\\\\")
    if "\n" in text:
        text = text.replace("\n", "\\n")
    if "\r" in text:
        text = text.replace("\r", "\\r")
    if "\t" in text:
        text = text.replace("\t", "\\t")
    return text


def hexadecimal(value: bytes | memoryview) -> str:
    """Render bytes as an escaped backslash, an x and hexadecimal digits."""
    return "\\\\x" + value.hex()


def render_rows(rows: Sequence[Row], renderers: Sequence[Render]) -> bytes:
    """Render rows as lines, column by column."""
    columns = [
        [NULL if value is None else render(value) for value in column]
        for render, column in zip(renderers, zip(*rows, strict=True), strict=True)
    ]
    lines = map("\t".join, zip(*columns, strict=True)) if columns else repeat("", len(rows))
    return ("\n".join(lines) + "\n").encode()
