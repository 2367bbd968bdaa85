"""Rows on their way into a table."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ...tables import Kind
from .session import Row


@dataclass(frozen=True)
class Target:
    """A column to write: its name, what its values are, and a field's own SQL around the parameter, if any."""

    name: str
    kind: Kind
    placeholder: str | None = None


class Writer(ABC):
    """Loads rows into one table, in the current transaction."""

    @abstractmethod
    def write(self, rows: Sequence[Row]) -> int:
        """Take converted rows, load them now or with later ones, and return their size in bytes."""

    def finish(self) -> None:
        """Load what was taken and is not loaded yet. Without this call it never is."""
        return


class TextWriter(ABC):
    """Loads lines of text into one table, in the current transaction.

    Fields are between tabs, NULL is ``\\N``, and a backslash escapes: backslash, tab, newline and carriage return are
    written as ``\\\\``, ``\\t``, ``\\n`` and ``\\r``. Each line ends in a newline.
    """

    @abstractmethod
    def write(self, lines: Iterable[bytes]) -> tuple[int, int]:
        """Load blocks of UTF-8, which need not end where a line does; return the rows and bytes that were loaded."""
