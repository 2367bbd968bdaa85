"""MySQL and MariaDB: what a binary log has, as far as changes of rows depend on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

POSITION_BITS = 40

Row = Sequence[Any]


@dataclass(frozen=True, order=True)
class Position:
    """A place in the log. Positions of one server are ordered."""

    file_number: int
    offset: int
    file: str

    @classmethod
    def of(cls, file: str, offset: int) -> Position:
        """Return a position in a file, whose name ends in its number."""
        return cls(int(file.rpartition(".")[2]), offset, file)

    @property
    def number(self) -> int:
        """The position as one number, which is larger for a later one."""
        return self.file_number << POSITION_BITS | self.offset


@dataclass(frozen=True)
class LoggedRows:
    """Rows of one table, each before and after its change.

    ``rows`` is ``None`` if they could not be read. ``transaction`` is the position of the transaction's beginning.
    """

    transaction: int
    gtid: str | None
    schema: str
    table: str
    rows: Sequence[tuple[Row | None, Row | None]] | None
    # They are those of a transaction that is prepared, and may be undone.
    is_prepared: bool = False


@dataclass(frozen=True)
class LoggedStatement:
    """A statement that was logged as such: DDL, or one whose session does not log rows."""

    transaction: int
    gtid: str | None
    # The session's database; empty if it is not known.
    schema: str
    text: str
