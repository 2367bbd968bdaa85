"""Checksums of rows, made inside the database from text that every engine spells alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

from ...tables import Column, StoredColumn
from .session import DatabaseSession, Row
from .text_forms import TextForms

# In characters. A longer text goes into a row's text as its own digest: what a statement may build is limited.
LONGEST_TEXT = 1024


class Checksum(NamedTuple):
    """How many rows a range has, and the sum of the first 120 bits of each row's digest, as a number.

    A sum does not depend on the order of rows, and unlike an exclusive or it sees a pair of equal faults.
    """

    rows: int
    sum: int
    # Rows of which the database could make no digest; their values are not in the sum.
    undigested: int = 0

    @classmethod
    def of_halves(cls, rows: int, first: int | None, second: int | None, digested: int) -> Checksum:
        """Put a sum together from those of the higher and of the lower 60 bits, which are ``None`` of no rows."""
        return cls(rows, (int(first or 0) << 60) + int(second or 0), rows - digested)

    def proves(self, other: Checksum) -> bool:
        """Tell whether two ranges hold the same texts."""
        return self == other and not self.undigested


class Digests(DatabaseSession, ABC):
    """Text that is equal on two databases where the values are, and SHA-256 digests of it.

    It need not be equal wherever the values are: where two checksums differ, the rows themselves are compared.
    """

    def prepare(self) -> None:
        """Give the session what the statements of this class need."""
        return

    @abstractmethod
    def text_forms(self, column: Column, stored: StoredColumn) -> TextForms:
        """Return the expressions that write a proven column as text."""

    def raw_text(self, column: Column, stored: StoredColumn) -> str | None:
        """Give the SQL for a column as it is stored, to compare with one of the very same type of this engine."""
        return None

    @abstractmethod
    def length_prefixed(self, text: str) -> str:
        """Give the SQL for any text with its length before it, and beyond :data:`LONGEST_TEXT` for its digest."""

    @abstractmethod
    def joined(self, texts: Sequence[str]) -> str:
        """Give the SQL for texts one after the other."""

    @abstractmethod
    def digest(self, text: str) -> str:
        """Give the SQL for the SHA-256 digest of a text, in hexadecimal."""

    @abstractmethod
    def checksum_query(self, text: str, table: str, where: str, part: str | None = None) -> str:
        """Build the query for the sum of the digests of rows' texts, and for how many texts turned out as NULL.

        With ``part``, an expression, for one such sum of each of its values: see :meth:`checksums_by_segment`.
        """

    def checksum_of_rows_query(
        self, columns: Sequence[Column], table: str, where: str, part: str | None = None
    ) -> str | None:
        """Build the query for the sum of digests of rows as they are stored.

        It compares with another database of this engine; ``None`` where there is no cheaper one than that of texts.
        """
        return None

    @abstractmethod
    def checksum(self, row: Row) -> Checksum:
        """Read the one row of either query."""

    def checksums_by_segment(self, rows: Sequence[Row]) -> dict[Any, Checksum]:
        """Read all rows of a query by parts; an engine may give them otherwise than one by one, the part at the end."""
        return {row[-1]: self.checksum(row[:-1]) for row in rows}

    def segment_of_number(self, name: str, width: int) -> str:
        """Give the SQL for what ``width`` whole numbers next to each other have in common; around zero, more."""
        return f"{self.quote(name)} - {self.quote(name)} %% {width}"

    def segment_of_text(self, text: str, digits: int) -> str:
        """Give the SQL for one of 16 ** ``digits`` parts into which rows fall by a text."""
        return f"substr({self.digest(text)}, 1, {digits})"

    def column_text(self, column: Column, stored: StoredColumn) -> str | None:
        """Give the SQL for a proven column's part of a row's text, or ``None`` where no such text is known."""
        forms = self.text_forms(column, stored)
        if forms.canonical is not None:
            return self._or_null(column, self.joined([forms.canonical, self.semicolon]))
        return None if forms.characters is None else self._or_null(column, self.length_prefixed(forms.characters))

    def raw_column_text(self, column: Column, stored: StoredColumn) -> str | None:
        """Give the SQL for the part of a column that is compared as it is stored, or ``None``."""
        text = self.raw_text(column, stored)
        return None if text is None else self._or_null(column, self.length_prefixed(text))

    def _or_null(self, column: Column, text: str) -> str:
        """Tell NULL by the column itself: a function may also give it for a value that is too much for it."""
        return f"CASE WHEN {self.quote(column.name)} IS NULL THEN {self.null} ELSE {text} END"

    def chosen(self, text: str, seed: int, fraction: float) -> str:
        """Give the SQL condition for about ``fraction`` of all rows; it depends on their text and the seed alone."""
        seeded = self.joined([f"'{seed};'", text])
        return f"substr({self.digest(seeded)}, 1, 8) < '{int(fraction * 16**8):08x}'"

    # NULL, which no other part of a row's text begins like: a number goes on after its sign.
    null = "'-;'"
    semicolon = "';'"


def local_times_agree(connection: BaseDatabaseWrapper, *, uses_time_zones: bool) -> bool:
    """Tell whether a date and time kept without a time zone is spelled as in the other engines: as UTC."""
    return not uses_time_zones or connection.timezone_name == "UTC"
