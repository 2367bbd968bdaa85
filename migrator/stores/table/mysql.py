"""Keyed tables of MySQL and MariaDB: many rows are inserted in one statement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from .base import KeyedTable
from .layout import KeyedRow

# Well below the smallest default of max_allowed_packet, 4 MiB.
STATEMENT_BYTES = 1024 * 1024


class MySQLTable(KeyedTable):
    """Rows are never inserted with IGNORE, which would also truncate what does not fit."""

    clock_sql = "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))"

    def identity(self) -> str:
        host, port, directory, database = self._rows("SELECT @@hostname, @@port, @@datadir, DATABASE()", [])[0]
        return f"{self.connection.vendor}:{host}:{port}:{directory}:{database}:{self.layout.table}"

    def fetch(self, keys: Sequence[str]) -> dict[str, KeyedRow]:
        # Under some collations the keys of two different sessions are equal.
        found = super().fetch(keys)
        return {key: found[key] for key in keys if key in found}

    def present(self, keys: Sequence[str]) -> set[str]:
        return super().present(keys).intersection(keys)

    def _insert(self, rows: Sequence[KeyedRow]) -> None:
        values = f"({', '.join(['%s'] * len(self.layout.names()))})"
        for group in self._statements(rows):
            cells: list[Any] = []
            for row in group:
                cells += self._cells(row)
            sql = f"INSERT INTO {self.table} ({self.columns}) VALUES {', '.join([values] * len(group))}"
            self._execute(sql, cells)

    def _statements(self, rows: Sequence[KeyedRow]) -> Iterator[list[KeyedRow]]:
        group: list[KeyedRow] = []
        size = 0
        for row in rows:
            if group and size + len(row.value) > STATEMENT_BYTES:
                yield group
                group, size = [], 0
            group.append(row)
            size += len(row.value) + 200
        yield group

    def _exactly(self, column: str) -> str:
        # Under some collations texts that differ only in case are equal.
        return f"CAST({column} AS BINARY) = CAST(%s AS BINARY)"
