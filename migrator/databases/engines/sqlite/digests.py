"""SQLite: checksums of rows, with functions of ours for digests and sums."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ...tables import Column, StoredColumn
from ..base.digests import LONGEST_TEXT, Checksum, Digests
from ..base.session import Row
from ..base.text_forms import TextForms
from .functions import MOST_ARGUMENTS, register
from .text_forms import text_forms
from .values import CLASSES, nul_condition


class SQLiteDigests(Digests):
    """Checksums by Python's SHA-256; a value of an invalid storage class gets a text of its own."""

    def prepare(self) -> None:
        register(self.connection.connection)

    def text_forms(self, column: Column, stored: StoredColumn) -> TextForms:
        return text_forms(self, column)

    def raw_text(self, column: Column, stored: StoredColumn) -> str | None:
        name = self.quote(column.name)
        as_stored = f"WHEN 'blob' THEN hex({name}) WHEN 'real' THEN migrator_float({name}) ELSE {name}"
        return f"typeof({name}) || CASE typeof({name}) WHEN 'null' THEN NULL {as_stored} END"

    def column_text(self, column: Column, stored: StoredColumn) -> str | None:
        text = super().column_text(column, stored)
        if text is None:
            return None
        # A value of another class gets a text that no value has in another database.
        name = self.quote(column.name)
        is_right = f"typeof({name}) IN ({CLASSES[column.kind]}, 'null')"
        return f"CASE WHEN {is_right} THEN {text} ELSE '?' || quote({name}) || ';' END"

    def length_prefixed(self, text: str) -> str:
        # length() stops at a NUL character (sqlite.org/nulinstr.html), so it would not show where such a text ends.
        length = f"length({text})"
        short, long = f"{length} || ':' || {text}", f"'#' || {self.digest(text)}"
        return f"CASE WHEN {length} > {LONGEST_TEXT} OR {nul_condition(text)} THEN {long} ELSE {short} END"

    def joined(self, texts: Sequence[str]) -> str:
        return " || ".join(f"({text})" for text in texts)

    def digest(self, text: str) -> str:
        return f"migrator_digest(CAST({text} AS BLOB))"

    def checksum_query(self, text: str, table: str, where: str, part: str | None = None) -> str:
        text = f"CAST({text} AS BLOB)"
        # GROUP BY would sort the rows first.
        added = f"migrator_checksum({text})" if part is None else f"migrator_checksums({part}, {text})"
        return f"SELECT {added} FROM {self.quote(table)}{where}"

    def checksum_of_rows_query(
        self, columns: Sequence[Column], table: str, where: str, part: str | None = None
    ) -> str | None:
        if len(columns) >= MOST_ARGUMENTS:
            return None
        values = ", ".join(_as_stored(self.quote(column.name)) for column in columns)
        added = f"checksum_of_rows({values})" if part is None else f"checksums_of_rows({part}, {values})"
        return f"SELECT migrator_{added} FROM {self.quote(table)}{where}"

    def checksum_of_blocks_query(self, text: str, table: str, where: str, key: str) -> str:
        return self._of_blocks("migrator_checksum_of_blocks", [f"CAST({text} AS BLOB)"], table, where, key)

    def checksum_of_stored_blocks_query(
        self, columns: Sequence[Column], table: str, where: str, key: str
    ) -> str | None:
        if len(columns) >= MOST_ARGUMENTS:
            return None
        values = [_as_stored(self.quote(column.name)) for column in columns]
        return self._of_blocks("migrator_checksum_of_stored_blocks", values, table, where, key)

    def _of_blocks(self, function: str, values: Sequence[str], table: str, where: str, key: str) -> str:
        names = [f"value_{number}" for number in range(len(values))]
        columns = ", ".join(f"{value} AS {name}" for value, name in zip(values, names, strict=True))
        name = self.quote(key)
        # Without a limit, the subquery's order would be lost when it is merged with the outer query
        # (sqlite.org/optoverview.html, "Subquery Flattening").
        rows = f"SELECT {name} AS key_, {columns} FROM {self.quote(table)}{where} ORDER BY {name} LIMIT -1"
        return f"SELECT {function}(key_, {', '.join(names)}) FROM ({rows})"

    def checksum(self, row: Row) -> Checksum:
        return Checksum(*map(int, row[0].split())) if row[0] else Checksum(0, 0)  # NULL without rows

    def checksums_by_segment(self, rows: Sequence[Row]) -> dict[Any, Checksum]:
        ((text,),) = rows
        return {part: self.checksum((checksum,)) for part, checksum in json.loads(text or "[]")}


def _as_stored(name: str) -> str:
    """Return the SQL that passes a value to a function: texts, which may be invalid, as bytes, and bytes as digits."""
    return f"CASE typeof({name}) WHEN 'text' THEN CAST({name} AS BLOB) WHEN 'blob' THEN hex({name}) ELSE {name} END"
