"""Lines that fit into the terminal, with everything that people may copy left whole."""

from __future__ import annotations

import re
import shutil
from typing import TextIO

# What a line is never broken in: commands, quoted values, and several spaces.
_WORDS = re.compile(
    r"""(?:manage\.py\ \w+(?:\ --[\w-]+(?:\ [^\s;,.-]\S*)?)*
        |pip\ install\ [^\s)]+
        |ACL\ SETUSER\ \S+(?:\ [+~']\S+)*
        |(?<!\w)'(?:[^'\\]|\\.)*'|(?<!\w)"(?:[^"\\]|\\.)*"|\s{2,}|\S)+""",
    re.VERBOSE,
)
_INDENT = "  "


def width_of(stream: TextIO) -> int | None:
    """Return the columns of the terminal that a stream writes to, None if it is not a terminal."""
    return shutil.get_terminal_size().columns if stream.isatty() else None


def wrapped(text: str, width: int | None, *, breaks_indented: bool = False) -> str:
    """Break the lines of a text at single spaces so that they fit into ``width``, and indent what continues them.

    Commands and quoted values stay whole, and so do indented lines, which hold statements to be copied, unless
    ``breaks_indented``. None breaks nothing.
    """
    return "\n".join(
        line if width is None or (line.startswith(" ") and not breaks_indented) else _broken(line, width)
        for line in text.split("\n")
    )


def _broken(line: str, width: int) -> str:
    body = line.strip(" ")
    start, end = line[: len(line) - len(line.lstrip(" "))], line[len(line.rstrip(" ")) :]
    lines = [start]
    for word in _WORDS.findall(body):
        if lines[-1].strip() and len(lines[-1]) + len(word) >= width:
            lines.append(start + _INDENT)
        lines[-1] += word if not lines[-1].strip() else f" {word}"
    return "\n".join(lines) + (end if body else "")
