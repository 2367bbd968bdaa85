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
_COMMAND = re.compile(r"\S*(?:manage\.py|python[\d.]*|django-admin) ")
_OPTIONS = re.compile(r" (?=-)")
_CONTINUED = " \\"  # how a shell's line ends that goes on


def width_of(stream: TextIO) -> int | None:
    """Return the columns of the terminal that a stream writes to, None if it is not a terminal."""
    return shutil.get_terminal_size().columns if stream.isatty() else None


def wrapped(text: str, width: int | None) -> str:
    """Break the lines of a text at single spaces so that they fit into ``width``, and indent what continues them.

    Commands and quoted values stay whole, and so do indented lines, which hold statements to be copied. None breaks
    nothing.
    """
    return "\n".join(
        line if width is None or line.startswith(" ") else _broken(line, width) for line in text.split("\n")
    )


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
