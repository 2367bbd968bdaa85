"""MySQL and MariaDB: checksums of rows."""

from __future__ import annotations

from collections.abc import Sequence

from django.conf import settings

from ...tables import Column, Kind, StoredColumn
from ..base.digests import LONGEST_TEXT, Checksum, Digests, local_times_agree
from ..base.session import Row

ALL = 2**64 - 1  # rows: the largest LIMIT that there is


class MySQLDigests(Digests):
    """Checksums by ``SHA2()``, over bytes, so that no collation has a say."""

    def plain_text(self, column: Column, stored: StoredColumn) -> str | None:
        name = self.quote(column.name)
        match column.kind:
            case Kind.INTEGER | Kind.BOOLEAN | Kind.DURATION:
                return f"CAST({name} AS CHAR)"
            case Kind.FLOAT:
                return f"CAST({name} AS CHAR)"
            case Kind.DECIMAL:
                return _trimmed(f"CAST({name} AS CHAR)") if stored.scale else f"CAST({name} AS CHAR)"
            case Kind.UUID:
                return f"LOWER(REPLACE(CAST({name} AS CHAR), '-', ''))"
            case Kind.DATE:
                return f"DATE_FORMAT({name}, '%%Y-%%m-%%d')"
            case Kind.TIME:
                return f"TIME_FORMAT({name}, '%%H:%%i:%%s.%%f')"
            case Kind.DATETIME if local_times_agree(self.connection, uses_time_zones=settings.USE_TZ):
                return f"DATE_FORMAT({name}, '%%Y-%%m-%%d %%H:%%i:%%s.%%f')"
            case Kind.ADDRESS:
                return f"CAST({name} AS CHAR)"
        return None

    def any_text(self, column: Column, stored: StoredColumn) -> str | None:
        name = self.quote(column.name)
        if column.kind is Kind.BINARY:
            return f"LOWER(HEX({name}))"
        return name if column.kind is Kind.TEXT else None

    def raw_text(self, column: Column, stored: StoredColumn) -> str | None:
        return self.quote(column.name) if column.kind is Kind.JSON else None

    def framed(self, text: str) -> str:
        data = f"CAST(CONVERT({text} USING utf8mb4) AS BINARY)"
        length = f"CHAR_LENGTH({text})"
        short, long = f"CONCAT({length}, ':', {data})", f"CONCAT('#', {self.digest(data)})"
        return f"CASE WHEN {length} > {LONGEST_TEXT} THEN {long} ELSE {short} END"

    def joined(self, texts: Sequence[str]) -> str:
        return f"CONCAT({', '.join(texts)})"

    def digest(self, text: str) -> str:
        return f"SHA2({text}, 256)"

    def checksum_query(self, text: str, table: str, where: str, part: str | None = None) -> str:
        # With LIMIT the digests are kept for the moment, where each sum would else have them made anew. Of a whole
        # table, which may be large, they would take a place of their own on the server's disk.
        kept = f" LIMIT {ALL}" if where else ""
        digest, rows = f"{self.digest(text)} AS digest", f"FROM {self.quote(table)}{where}{kept}"
        # CONV gives text, which SUM would turn into an inexact double.
        first, second = (f"SUM(CAST(CONV(SUBSTR(digest, {start}, 15), 16, 10) AS UNSIGNED))" for start in (1, 16))
        sums = f"COUNT(*), {first}, {second}, COUNT(digest)"
        if part is None:
            return f"SELECT {sums} FROM (SELECT {digest} {rows}) rows_"
        return f"SELECT {sums}, part FROM (SELECT {digest}, {part} AS part {rows}) rows_ GROUP BY part"

    def checksum(self, row: Row) -> Checksum:
        return Checksum.of_halves(*row)


def _trimmed(number: str) -> str:
    return f"TRIM(TRAILING '.' FROM TRIM(TRAILING '0' FROM {number}))"
