"""The loaders that write rows into a table."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ...tables import Kind
from .session import Row


@dataclass(frozen=True)
class Target:
    """A column to write: its name, the kind of its values, and the field's own SQL around the parameter, if any."""

    name: str
    kind: Kind
    placeholder: str | None = None


class Writer(ABC):
    """Loads rows into one table, in the current transaction."""

    @abstractmethod
    def write(self, rows: Sequence[Row]) -> int:
        """Load converted rows, now or together with later ones, and return their size in bytes."""

    def finish(self) -> None:
        """Load the rows that are still buffered. Without this call they are lost."""
        return


class TextWriter(ABC):
    """Loads lines of text into one table, in the current transaction.

    Fields are between tabs, NULL is ``\\N``, and a backslash escapes: backslash, tab, newline and carriage return are
    written as ``\\\\``, ``\\t``, ``\\n`` and ``\\r``. Each line ends in a newline.
    """

    @abstractmethod
    def write(self, lines: Iterable[bytes]) -> tuple[int, int]:
        """Load blocks of UTF-8, which may end within a line; return the rows and bytes that were loaded."""
