"""MySQL and MariaDB: checksums of rows."""

from __future__ import annotations

from collections.abc import Sequence

from ...tables import Column, Kind, StoredColumn
from ..base.digests import BLOCK_KEYS, LONGEST_TEXT, Digests
from ..base.text_forms import TextForms
from .text_forms import text_forms, utf8_bytes

ALL = 2**64 - 1  # rows: the largest LIMIT (MySQL manual, SELECT)
# CONV returns text, which SUM would convert to an inexact double.
SUMS = ", ".join(f"SUM(CAST(CONV(SUBSTR(digest, {start}, 15), 16, 10) AS UNSIGNED))" for start in (1, 16))
NO_LENGTH = 2**40  # that no joined text has


class MySQLDigests(Digests):
    """Checksums by ``SHA2()``, over bytes, so that no collation matters."""

    @property
    def joins_blocks(self) -> bool:
        # MySQL sorts whole rows for it, and fails if some are larger than sort_buffer_size (ER_OUT_OF_SORTMEMORY).
        return bool(self.connection.mysql_is_mariadb)  # type: ignore[attr-defined]

    def text_forms(self, column: Column, stored: StoredColumn) -> TextForms:
        return text_forms(self, column, stored)

    def raw_text(self, column: Column, stored: StoredColumn) -> str | None:
        return self.quote(column.name) if column.kind is Kind.JSON else None

    def length_prefixed(self, text: str) -> str:
        data = utf8_bytes(text)
        length = f"CHAR_LENGTH({text})"
        short, long = f"CONCAT({length}, ':', {data})", f"CONCAT('#', {self.digest(data)})"
        return f"CASE WHEN {length} > {LONGEST_TEXT} THEN {long} ELSE {short} END"

    def joined(self, texts: Sequence[str]) -> str:
        return f"CONCAT({', '.join(texts)})"

    def digest(self, text: str) -> str:
        return f"SHA2({text}, 256)"

    def checksum_query(self, text: str, table: str, where: str, part: str | None = None) -> str:
        # With LIMIT the server materializes the digests instead of computing them once for each sum (MySQL manual,
        # "Optimizing Derived Tables"). Those of a whole table, which may be large, would take space on its disk.
        kept = f" LIMIT {ALL}" if where else ""
        digest, rows = f"{self.digest(text)} AS digest", f"FROM {self.quote(table)}{where}{kept}"
        sums = f"COUNT(*), {SUMS}, COUNT(digest)"
        if part is None:
            return f"SELECT {sums} FROM (SELECT {digest} {rows}) rows_"
        return f"SELECT {sums}, part FROM (SELECT {digest}, {part} AS part {rows}) rows_ GROUP BY part"

    def checksum_of_blocks_query(self, text: str, table: str, where: str, key: str) -> str:
        joined = f"GROUP_CONCAT({text} ORDER BY {self.quote(key)} SEPARATOR '') AS joined"
        length = f"SUM(COALESCE(LENGTH({text}), {NO_LENGTH})) AS length_"
        block = self.segment_of_number(key, BLOCK_KEYS)
        texts = f"SELECT COUNT(*) AS count_, {joined}, {length} FROM {self.quote(table)}{where} GROUP BY {block}"
        # A joined text lacks the NULLs, and what exceeds max_allowed_packet (MySQL manual, GROUP_CONCAT).
        digest = f"CASE WHEN LENGTH(joined) = length_ THEN {self.digest('joined')} END AS digest"
        blocks = f"SELECT count_, {digest} FROM ({texts}) texts_ LIMIT {ALL}"
        digested = "SUM(CASE WHEN digest IS NOT NULL THEN count_ END)"
        return f"SELECT COALESCE(SUM(count_), 0), {SUMS}, COALESCE({digested}, 0) FROM ({blocks}) blocks_"
