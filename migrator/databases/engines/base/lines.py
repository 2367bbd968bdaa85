"""Rows as lines of text, spelled by the database that they are read from: Python looks at no value.

A destination names the form in which each of its columns takes a value, and a source gives the SQL for that form.
Where either cannot be right for every value, it says so, and the table's rows are converted one by one.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ...tables import Column, StoredColumn
from .session import DatabaseSession

# What stands for the characters that end fields and lines; the backslash comes first.
ESCAPES = ((b"\\", b"\\\\"), (b"\t", b"\\t"), (b"\n", b"\\n"), (b"\r", b"\\r"))


class TextFormat(enum.Enum):
    """How a value is spelled in a line, before its backslashes, tabs, newlines and carriage returns are escaped."""

    INTEGER = "digits, and a sign before them"
    BOOLEAN = "0 or 1"
    FLOAT = "a number that every reader takes for the same double; NaN, Infinity, -Infinity"
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
    ADDRESS_TEXT = "an address as Django's field gives it, or whatever else a text column has in its place"
    ADDRESS = "an address as Python writes it, or one that ends like an IPv4 address"
    STORED = "what the very same type of the same engine reads back"


@dataclass(frozen=True)
class LineField:
    """A column's part of a line: its SQL, and the condition for values for which that is not right.

    ``cheaper`` is the one to take where nothing in the column is suspicious, or in that one's doubt. ``may_have_nul``:
    its text may hold the character NUL.
    """

    sql: str
    unsafe_when: str | None = None
    cheaper: LineField | None = None
    may_have_nul: bool = False


class Block(NamedTuple):
    """A piece of what rows travel as, and how many rows have come since the last number."""

    rows: int
    data: bytes


class Unrendered(ValueError):
    """A row whose line the database could not make; its values have to be looked at one by one."""

    def __init__(self) -> None:
        super().__init__("a row has a value that the database cannot render")


def escaped(text: bytes) -> bytes:
    """Escape a text, or many at once, as a line's fields are."""
    for character, escape in ESCAPES:
        text = text.replace(character, escape)
    return text


class Lines(DatabaseSession, ABC):
    """What one database takes and gives as lines of text. The safe answer is ``None``."""

    def prepare(self) -> None:
        """Give the session what the fields of this class need."""
        return

    def text_format(self, column: Column, stored: StoredColumn) -> TextFormat | None:
        """Give the form in which a column, as a destination, takes the values of its kind as they are."""
        return None

    @abstractmethod
    def field(self, form: TextFormat, column: Column, stored: StoredColumn) -> LineField | None:
        """Give the SQL for a column's field in this form; ``None`` where that is not known.

        :meth:`read` gives it escaped and with NULL as ``\\N``. A value that the column should not hold makes the field
        NULL, and of such a field there is no line.
        """

    @abstractmethod
    def selected(self, fields: Sequence[LineField]) -> str:
        """Give what has to be selected for :meth:`read` to make lines of these fields."""

    @abstractmethod
    def read(self, sql: str, params: Sequence[Any]) -> Generator[Block]:
        """Run a query for lines and give them in blocks; the generator has to be closed.

        Raises :exc:`Unrendered` where there is no line of a row.
        """

    def read_binary(self, sql: str, params: Sequence[Any]) -> Generator[Block]:
        """Run a query for rows as the database itself keeps them, where its kind of destination takes that."""
        raise NotImplementedError
