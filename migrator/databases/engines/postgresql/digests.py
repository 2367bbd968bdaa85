"""PostgreSQL: checksums of rows."""

from __future__ import annotations

from collections.abc import Sequence

from ...tables import Column, StoredColumn
from ..base.digests import BLOCK_KEYS, LONGEST_TEXT, Digests
from ..base.text_forms import TextForms
from .text_forms import text_forms

# Types whose text never holds a semicolon, so that it needs no length before it.
HARMLESS = ("int2", "int4", "int8", "bool", "numeric", "float4", "float8", "date", "time", "timestamptz", "uuid")
JOINED = "string_agg(text, '')"
SUMS = ", ".join(f"sum(substring(digest FROM {start} FOR 60)::bigint)" for start in (1, 61))


class PostgreSQLDigests(Digests):
    """Checksums by ``sha256()``, over text in UTF-8 whatever the database's own encoding."""

    def text_forms(self, column: Column, stored: StoredColumn) -> TextForms:
        return text_forms(self, column)

    def raw_text(self, column: Column, stored: StoredColumn) -> str | None:
        return f"{self.quote(column.name)}::text"

    def raw_column_text(self, column: Column, stored: StoredColumn) -> str | None:
        if stored.type in HARMLESS:
            return f"COALESCE({self.quote(column.name)}::text || ';', {self.null})"
        return super().raw_column_text(column, stored)

    def length_prefixed(self, text: str) -> str:
        length = f"length({text})"
        short, long = f"{length} || ':' || {text}", f"'#' || {self.digest(text)}"
        return f"CASE WHEN {length} > {LONGEST_TEXT} THEN {long} ELSE {short} END"

    def joined(self, texts: Sequence[str]) -> str:
        return " || ".join(texts)

    def digest(self, text: str) -> str:
        return f"encode(sha256(convert_to({text}, 'UTF8')), 'hex')"

    def checksum_query(self, text: str, table: str, where: str, part: str | None = None) -> str:
        # OFFSET keeps the planner from pulling up the subquery, which would compute the digest once for each sum
        # (PostgreSQL source, is_simple_subquery() in src/backend/optimizer/prep/prepjointree.c).
        digest, rows = f"{self._bits(text)} AS digest", f"FROM {self.quote(table)}{where} OFFSET 0"
        sums = f"count(*), {SUMS}, count(digest)"
        if part is None:
            return f"SELECT {sums} FROM (SELECT {digest} {rows}) rows"
        return f"SELECT {sums}, part FROM (SELECT {digest}, {part} AS part {rows}) rows GROUP BY part"

    def checksum_of_blocks_query(self, text: str, table: str, where: str, key: str) -> str:
        block = self.segment_of_number(key, BLOCK_KEYS)
        # An aggregate without ORDER BY takes rows in the order of a sorted subquery (PostgreSQL manual, 9.21), and one
        # that has it sorts each group again.
        name = self.quote(table)
        order = f"{block}, {name}.{self.quote(key)}"
        rows = f"SELECT {block} AS block, {text} AS text FROM {name}{where} ORDER BY {order}"
        digest = f"CASE WHEN count(*) = count(text) THEN {self._bits(JOINED)} END"
        blocks = f"SELECT count(*) AS rows, {digest} AS digest FROM ({rows}) rows GROUP BY block"
        digested = "sum(CASE WHEN digest IS NOT NULL THEN rows END)"
        return f"SELECT coalesce(sum(rows), 0), {SUMS}, coalesce({digested}, 0) FROM ({blocks}) blocks"

    def _bits(self, text: str) -> str:
        return f"('x' || {self.digest(text)})::bit(120)"
