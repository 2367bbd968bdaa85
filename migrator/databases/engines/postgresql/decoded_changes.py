"""PostgreSQL: the lines of its output plugin ``test_decoding``, of which only the keys of rows are read.

A line describes one row: ``table public.shop_order: UPDATE: old-key: id[bigint]:7 new-tuple: id[bigint]:8 …``. Values
are quoted, but a value may look like anything, so a line is read column by column from its beginning (PostgreSQL
source, contrib/test_decoding/test_decoding.c).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

# Possessive (+ after * or +): there is one way only to read a line, and positions to go back to take 80 bytes each.
_QUOTED = r'"(?:[^"]|"")*+"'
_NAME = rf"(?:{_QUOTED}|[a-z_][a-z0-9_]*+)"
_TABLE = re.compile(rf"{_NAME}\.{_NAME}")
_ACTION = re.compile(r": (INSERT|UPDATE|DELETE|TRUNCATE):")
# A type may have names in quotes, and ends in [] if it is an array.
_TYPE = rf"(?:{_QUOTED}|\[\]|[^\[\]\"])*+"
_TEXT = r"'[^']*+(?:''[^']*+)*+'"
_COLUMN = re.compile(rf" ({_NAME})\[{_TYPE}\]:(B?{_TEXT}|[^\s']++)")
_OLD_KEY, _NEW_TUPLE, _NO_TUPLE = " old-key:", " new-tuple:", " (no-tuple-data)"
# Instead of a value that is stored apart from its row and did not change.
_UNCHANGED = "unchanged-toast-datum"

TABLE = "table "


class NotUnderstood(ValueError):
    """A line is not in the form that is known."""


@dataclass(frozen=True)
class Line:
    """One line: the tables as SQL has them, and the texts of the key's columns before and after the change.

    ``before`` and ``after`` are ``None`` where the line does not have the whole key.
    """

    tables: tuple[str, ...]
    action: str
    before: tuple[str, ...] | None = None
    after: tuple[str, ...] | None = None


def read_line(line: str, keys: Mapping[str, Sequence[str]]) -> Line:
    """Read a line that begins with ``table``; ``keys`` has the columns of each table's key, as SQL has their names.

    Of tables that ``keys`` lacks, only the name and the action are read. Raises :exc:`NotUnderstood`.
    """
    position, tables = len(TABLE), []
    while True:
        found = _TABLE.match(line, position)
        if found is None:
            raise NotUnderstood("a line does not name its table")
        tables.append(found.group())
        position = found.end()
        if not line.startswith(", ", position):
            break
        position += 2
    action = _ACTION.match(line, position)
    if action is None:
        raise NotUnderstood("a line does not name its action")
    kind, position = action.group(1), action.end()
    names = keys.get(tables[0])
    if kind == "TRUNCATE" or names is None or line.startswith(_NO_TUPLE, position):
        return Line(tuple(tables), kind)
    before = after = None
    if kind == "DELETE":
        before, _ = _key(line, position, names, {})
    elif line.startswith(_OLD_KEY, position):
        before, old = _key(line, position + len(_OLD_KEY), names, {}, until=_NEW_TUPLE)
        after, _ = _key(line, old.end + len(_NEW_TUPLE), names, old.texts)
    else:
        position += len(_NEW_TUPLE) if line.startswith(_NEW_TUPLE, position) else 0
        after, _ = _key(line, position, names, {})
    return Line((tables[0],), kind, before, after)


@dataclass(frozen=True)
class _Columns:
    """The texts of a key's columns, by name, and where the columns end."""

    texts: Mapping[str, str]
    end: int


def _key(
    line: str, position: int, names: Sequence[str], old: Mapping[str, str], until: str | None = None
) -> tuple[tuple[str, ...] | None, _Columns]:
    """Read columns up to ``until``, or until the key is complete; ``old`` has the texts of unchanged ones."""
    texts: dict[str, str] = {}
    for name, value, end in _columns(line, position, until):
        position = end
        if name in names:
            if value != _UNCHANGED:  # a stored text is in quotes
                texts[name] = _text(value)
            elif name in old:
                texts[name] = old[name]
            else:
                break
            if until is None and len(texts) == len(names):
                break
    whole = tuple(texts[name] for name in names) if len(texts) == len(names) else None
    return whole, _Columns(texts, position)


def _columns(line: str, position: int, until: str | None) -> Iterator[tuple[str, str, int]]:
    """Yield the name of each column, its value as it is printed, and where it ends."""
    while position < len(line):
        if until is not None and line.startswith(until, position):
            return
        found = _COLUMN.match(line, position)
        if found is None:
            raise NotUnderstood("a line has a column that cannot be read")
        position = found.end()
        yield found.group(1), found.group(2), position
    if until is not None:
        raise NotUnderstood(f"a line lacks{until}")


def _text(value: str) -> str:
    """Return a value without its quotes."""
    value = value.removeprefix("B") if value.startswith("B'") else value
    return value[1:-1].replace("''", "'") if value.startswith("'") else value
