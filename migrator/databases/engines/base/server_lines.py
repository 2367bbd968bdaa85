"""Rows as lines of text, rendered by the database that they are read from, so that Python converts no value.

A destination chooses the format in which each column accepts values, and a source returns the SQL for that format.
If either can't be right for every value, it returns ``None``, and the table's rows are converted one by one.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ...tables import Column, Kind, StoredColumn
from .session import DatabaseSession

# The escapes of the characters that end fields and lines; the backslash comes first.
ESCAPES = ((b"\\", b"\\\\"), (b"\t", b"\\t"), (b"\n", b"\\n"), (b"\r", b"\\r"))


class TextFormat(enum.Enum):
    """The format of a value in a line, before backslashes, tabs, newlines and carriage returns are escaped."""

    INTEGER = "digits, after an optional sign"
    BOOLEAN = "0 or 1"
    FLOAT = "a number that every reader reads as the same double; NaN, Infinity, -Infinity"
    DECIMAL = "digits with a point, and NaN"
    TEXT = "the characters"
    JSON = "the document's characters"
    BINARY = "a backslash, an x, and hexadecimal digits"
    DATE = "YYYY-MM-DD"
    TIME = "HH:MM:SS, and a fraction of up to six digits"
    DATETIME = "date, space and time: in UTC, or local where USE_TZ is off"
    MICROSECONDS = "a duration as a number of microseconds"
    SPAN = "a duration as '<n> days <n>.<6 digits> seconds', of which only the days may be negative"
    UUID = "32 hexadecimal digits"
    ADDRESS_TEXT = "an address as Django's field prints it, or any other text that a text column holds"
    ADDRESS = "an address as Python prints it, or one that ends like an IPv4 address"
    STORED = "text that the same type of the same engine reads back"


# The formats of most kinds have their names.
FORMATS: Mapping[Kind, TextFormat] = {
    kind: TextFormat[kind.name] for kind in Kind if kind.name in TextFormat.__members__
}


@dataclass(frozen=True)
class LineField:
    """A column's part of a line: its SQL, and the condition for values that it is wrong for.

    ``cheaper`` can be used if no source check finds anything in the column, nor its ``unsafe_when``. ``may_have_nul``:
    its text may hold the character NUL.
    """

    sql: str
    unsafe_when: str | None = None
    cheaper: LineField | None = None
    may_have_nul: bool = False


class Block(NamedTuple):
    """A piece of the stream of rows, and how many rows it completes since the last block."""

    rows: int
    data: bytes


class Unrendered(ValueError):
    """The database could not render a row; its values have to be converted one by one."""

    def __init__(self) -> None:
        super().__init__("a row has a value that the database cannot render")


def escaped(text: bytes) -> bytes:
    """Escape a text, or many at once, as the fields of a line."""
    for character, escape in ESCAPES:
        text = text.replace(character, escape)
    return text


class Lines(DatabaseSession, ABC):
    """Which lines of text one database accepts and renders. The safe answer is ``None``."""

    def prepare(self) -> None:
        """Prepare the session for the fields of this class."""
        return

    def text_format(self, column: Column, stored: StoredColumn) -> TextFormat | None:
        """Return the format in which a column, as a destination, accepts the values of its kind unchanged."""
        return None

    @abstractmethod
    def field(self, form: TextFormat, column: Column, stored: StoredColumn) -> LineField | None:
        """Return the SQL for a column's field in this format; ``None`` if the database can't render it.

        :meth:`read` escapes it and writes NULL as ``\\N``. For a value that the column should not hold, the field is
        NULL, and the row has no line.
        """

    @abstractmethod
    def selected(self, fields: Sequence[LineField]) -> str:
        """Return the select list from which :meth:`read` makes lines of these fields."""

    @abstractmethod
    def read(self, sql: str, params: Sequence[Any]) -> Generator[Block]:
        """Run a query for lines and yield them in blocks; the generator has to be closed.

        Raises :exc:`Unrendered` if a row has no line.
        """

    def read_binary(self, sql: str, params: Sequence[Any]) -> Generator[Block]:
        """Run a query for rows in the database's own binary form, for a destination that accepts it."""
        raise NotImplementedError
