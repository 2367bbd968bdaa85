"""Keyed tables of SQLite."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .base import KeyedTable
from .layout import KeyedRow


class SQLiteTable(KeyedTable):
    """A page takes the write lock before it reads, so that it never fails halfway through (SQLITE_BUSY)."""

    limits_lengths = False

    @property
    def can_open_again(self) -> bool:
        name = str(self.connection.settings_dict["NAME"])
        return super().can_open_again and not (name == ":memory:" or "mode=memory" in name)

    def identity(self) -> str:
        name = str(self.connection.settings_dict["NAME"])
        try:
            status = Path(name).stat()
        except OSError:  # in memory
            return f"{self.connection.vendor}:{name}:{self.layout.table}"
        return f"{self.connection.vendor}:{status.st_dev}:{status.st_ino}:{self.layout.table}"

    def _where_keys(self, keys: Sequence[str]) -> tuple[str, list[Any]]:
        # One parameter, because their number is limited (SQLITE_MAX_VARIABLE_NUMBER).
        return f"{self.key} IN (SELECT value FROM json_each(%s))", [json.dumps(list(keys))]

    def _lock(self) -> None:
        self._execute(f"DELETE FROM {self.table} WHERE 0", [])

    def _insert(self, rows: Sequence[KeyedRow]) -> None:
        values = ", ".join(["%s"] * len(self.layout.names()))
        with self.connection.cursor() as cursor:
            cursor.executemany(
                f"INSERT INTO {self.table} ({self.columns}) VALUES ({values})",
                [self._cells(row) for row in rows],
            )
