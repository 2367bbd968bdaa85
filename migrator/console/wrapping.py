"""Lines that fit into the terminal, with everything that people may copy left whole."""

from __future__ import annotations

import os
import re
from typing import TextIO

# What a line is never broken in: commands, quoted values, and several spaces.
_WORDS = re.compile(
    r"""(?:manage\.py\ \w+(?:\ --[\w-]+(?:\ [^\s;,.-]\S*)?)*
        |pip\ install\ [^\s)]+
        |ACL\ SETUSER\ \S+(?:\ [+~']\S+)*
        |(?<!\w)'(?:[^'\\]|\\.)*'|(?<!\w)"(?:[^"\\]|\\.)*"|\s{2,}|\S)+""",
    re.VERBOSE,
)
USUAL = (80, 24)  # columns and lines of a terminal
_INDENT = "  "
_ITEM = "  - "
_COMMAND = re.compile(r"\S*(?:manage\.py|python[\d.]*|django-admin) ")
_OPTIONS = re.compile(r" (?=-)")
_CONTINUED = " \\"  # how a shell's line ends that goes on


def width_of(stream: TextIO) -> int | None:
    """Return the columns of the terminal that a stream writes to, None if it is not a terminal."""
    return size_of(stream).columns if stream.isatty() else None


def size_of(stream: TextIO) -> os.terminal_size:
    """Return the size of the terminal that a stream writes to; COLUMNS and LINES of the environment go before it.

    One without a size, such as a container's, counts as one of 80 columns and 24 lines.
    """
    try:
        found = os.get_terminal_size(stream.fileno())
    except (AttributeError, OSError, ValueError):  # an object that only acts as a terminal
        found = os.terminal_size(USUAL)
    if not (found.columns and found.lines):
        found = os.terminal_size(USUAL)
    given = (os.environ.get(name, "") for name in ("COLUMNS", "LINES"))
    return os.terminal_size(
        int(text) if text.isdecimal() and int(text) else size for text, size in zip(given, found, strict=True)
    )


def wrapped(text: str, width: int | None) -> str:
    """Break the lines of a text at single spaces so that they fit into ``width``, and indent what continues them.

    Commands and quoted values stay whole, and so do indented lines, which hold statements to be copied, but not the
    items of a list. None breaks nothing.
    """
    return text if width is None else "\n".join(_broken(line, width) for line in text.split("\n"))


def hanging(start: str, text: str, width: int | None, *, indent: int | None = None) -> str:
    """Write a text after ``start``; further lines of it are indented to where it begins, or by ``indent``."""
    if width is None:
        return f"{start}{text}"
    return _filled(start, text, " " * (len(start) if indent is None else indent), width)


def instruction(start: str, text: str, width: int | None) -> str:
    """Write what to do next after ``start``: a command that is too long is continued as a shell allows it."""
    if not _COMMAND.match(text):
        return hanging(start, text, width)
    if width is None or len(start) + len(text) <= width or "'" in text:
        return start + text
    first, *options = _OPTIONS.split(text)
    broken = [start + first]
    for option in options:
        if len(broken[-1]) + len(option) + len(" ") + len(_CONTINUED) > width:
            broken[-1] += _CONTINUED
            broken.append(" " * len(start) + _INDENT + option)
        else:
            broken[-1] += f" {option}"
    return "\n".join(broken)


def _broken(line: str, width: int) -> str:
    if line.startswith(_ITEM):
        return hanging(_ITEM, line.removeprefix(_ITEM), width)
    if line.startswith(" "):
        return line
    body = line.rstrip(" ")
    return _filled("", body, _INDENT, width) + line[len(body) :]


def _filled(start: str, text: str, indent: str, width: int) -> str:
    lines, is_empty = [start], True
    for word in _WORDS.findall(text):
        if not is_empty and len(lines[-1]) + len(word) >= width:
            lines.append(indent)
            is_empty = True
        lines[-1] += word if is_empty else f" {word}"
        is_empty = False
    return "\n".join(lines)
