"""Text for a terminal or a log, in which nothing that came out of a row can act on it.

Keys, names of tables and servers' messages may hold anything that was ever stored: an escape sequence that clears the
screen or sets the window's title, a line break that forges a line of a report, a mark that reverses the order of a
line, or a character without width that makes two keys look the same. They are shown as escapes. Unicode Standard
Annex 9 lists the marks for bidirectional text.
"""

from __future__ import annotations

import re

# Control characters, line breaks, marks of direction, invisible characters, and surrogates, which no stream can write.
_ACTS = (
    "\x00-\x09\x0b-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ud800-\udfff"
    "\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e007f"
)
_IN_A_LINE = re.compile(f"[\n{_ACTS}]")
_IN_LINES = re.compile(f"[{_ACTS}]")


def visible(text: str) -> str:
    """Return text as one line, with every character that a terminal acts on escaped as Python writes it."""
    return _IN_A_LINE.sub(_escape, text)


def visible_lines(text: str) -> str:
    """Return our own text, which may have several lines, with every other such character escaped."""
    return _IN_LINES.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")
