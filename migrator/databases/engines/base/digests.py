"""Checksums of rows, computed by the database over the canonical text form of their values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

from ...tables import Column, StoredColumn
from .session import DatabaseSession, Row
from .text_forms import TextForms

# In characters. In a row's text, a longer text is replaced by its digest: the size of a result is limited.
LONGEST_TEXT = 1024
# Consecutive keys whose rows have a digest in common. The more, the fewer digests; and the larger is their joined text,
# which MySQL limits.
BLOCK_KEYS = 100


class Checksum(NamedTuple):
    """How many rows a range has, and the sum of the first 120 bits of the digests of its rows or blocks, as a number.

    A sum does not depend on the order of rows or blocks, and unlike XOR it detects two equal differences.
    """

    rows: int
    sum: int
    # Rows that the database could not compute a digest for; they aren't in the sum.
    undigested: int = 0

    @classmethod
    def of_halves(cls, rows: int, first: int | None, second: int | None, digested: int) -> Checksum:
        """Combine the sums of the upper and of the lower 60 bits; both are ``None`` without rows."""
        return cls(int(rows), (int(first or 0) << 60) + int(second or 0), int(rows - digested))

    def proves(self, other: Checksum) -> bool:
        """Whether this proves that two ranges hold the same texts."""
        return self == other and not self.undigested


class Digests(DatabaseSession, ABC):
    """The text of rows, which is equal in two databases only if their values are, and SHA-256 digests of it.

    Equal values may have different texts: if two checksums differ, the rows themselves are compared.
    """

    @property
    def joins_blocks(self) -> bool:
        """Whether :meth:`checksum_of_blocks_query` works for rows of any size."""
        return True

    def prepare(self) -> None:
        """Prepare the session for the statements of this class."""
        return

    @abstractmethod
    def text_forms(self, column: Column, stored: StoredColumn) -> TextForms:
        """Return the expressions that write a proven column as text."""

    def raw_text(self, column: Column, stored: StoredColumn) -> str | None:
        """Return the SQL for a column as stored, to compare with a column of the same type of this engine."""
        return None

    @abstractmethod
    def length_prefixed(self, text: str) -> str:
        """Return the SQL for a text after its length, or for its digest if it is longer than :data:`LONGEST_TEXT`."""

    @abstractmethod
    def joined(self, texts: Sequence[str]) -> str:
        """Return the SQL that concatenates texts."""

    @abstractmethod
    def digest(self, text: str) -> str:
        """Return the SQL for the SHA-256 digest of a text, in hexadecimal."""

    @abstractmethod
    def checksum_query(self, text: str, table: str, where: str, part: str | None = None) -> str:
        """Build the query for the sum of the digests of rows' texts, and for the number of texts that are NULL.

        With ``part``, an expression, it returns one sum for each value of that: see :meth:`checksums_by_segment`.
        """

    def checksum_of_rows_query(
        self, columns: Sequence[Column], table: str, where: str, part: str | None = None
    ) -> str | None:
        """Build the query for the sum of the digests of rows as stored, to compare with a database of this engine.

        ``None`` if none is cheaper than the query over texts.
        """
        return None

    @abstractmethod
    def checksum_of_blocks_query(self, text: str, table: str, where: str, key: str) -> str:
        """Build the query for the sum of the digests of blocks of rows, which is cheaper than that of each row's.

        A block is the rows with :data:`BLOCK_KEYS` consecutive values of ``key``, the primary key, a whole number. Its
        text is that of its rows, in the order of their keys. A block with a row whose text is NULL has no digest.
        """

    def checksum_of_stored_blocks_query(
        self, columns: Sequence[Column], table: str, where: str, key: str
    ) -> str | None:
        """Build the same query for rows as stored; ``None`` if :meth:`checksum_of_rows_query` returns that."""
        return None

    def checksum(self, row: Row) -> Checksum:
        """Read the row that any of these queries without ``part`` returns."""
        return Checksum.of_halves(*row)

    def checksums_by_segment(self, rows: Sequence[Row]) -> dict[Any, Checksum]:
        """Read all rows of a query by parts; the part is a row's last column, unless the engine has another format."""
        return {row[-1]: self.checksum(row[:-1]) for row in rows}

    def segment_of_number(self, name: str, width: int) -> str:
        """Return the SQL that is equal for ``width`` consecutive integers; around zero, for more."""
        return f"{self.quote(name)} - {self.quote(name)} %% {width}"

    def segment_of_text(self, text: str, digits: int) -> str:
        """Return the SQL that divides rows into 16 ** ``digits`` parts by a text."""
        return f"substr({self.digest(text)}, 1, {digits})"

    def column_text(self, column: Column, stored: StoredColumn) -> str | None:
        """Return the SQL for a proven column's part of a row's text, or ``None`` if it has no text form."""
        forms = self.text_forms(column, stored)
        if forms.canonical is not None:
            return self._or_null(column, self.joined([forms.canonical, self.semicolon]))
        return None if forms.characters is None else self._or_null(column, self.length_prefixed(forms.characters))

    def raw_column_text(self, column: Column, stored: StoredColumn) -> str | None:
        """Return the SQL for the part of a column that is compared as stored, or ``None``."""
        text = self.raw_text(column, stored)
        return None if text is None else self._or_null(column, self.length_prefixed(text))

    def _or_null(self, column: Column, text: str) -> str:
        """Test the column itself for NULL: a function may also return NULL for a value that is too large for it."""
        return f"CASE WHEN {self.quote(column.name)} IS NULL THEN {self.null} ELSE {text} END"

    def chosen(self, text: str, seed: int, fraction: float) -> str:
        """Return the SQL condition for about ``fraction`` of all rows; it depends only on their text and the seed."""
        seeded = self.joined([f"'{seed};'", text])
        return f"substr({self.digest(seeded)}, 1, 8) < '{int(fraction * 16**8):08x}'"

    # NULL. No other part of a row's text begins like this: after the sign of a number come digits.
    null = "'-;'"
    semicolon = "';'"


def local_times_agree(connection: BaseDatabaseWrapper, *, uses_time_zones: bool) -> bool:
    """Whether dates and times stored without a time zone have the same text as in other engines: that of UTC."""
    return not uses_time_zones or connection.timezone_name == "UTC"
