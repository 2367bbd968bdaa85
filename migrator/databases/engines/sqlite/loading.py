"""SQLite: its bulk load."""

from __future__ import annotations

from collections.abc import Sequence

from ..base.engine import Engine
from ..base.loading import Target, Writer
from ..base.session import Row

# One row of so many tells the size of all.
SAMPLED = 16


class ManyWriter(Writer):
    """Loads rows by one prepared statement."""

    def __init__(self, engine: Engine, table: str, targets: Sequence[Target]) -> None:
        self._engine = engine
        names = ", ".join(engine.quote(target.name) for target in targets)
        values = ", ".join(target.placeholder or "%s" for target in targets)
        self._statement = f"INSERT INTO {engine.quote(table)} ({names}) VALUES ({values})"

    def write(self, rows: Sequence[Row]) -> int:
        with self._engine.connection.cursor() as cursor:
            cursor.executemany(self._statement, rows)
        sample = rows[::SAMPLED]
        size = sum(len(value) if isinstance(value, str | bytes) else 8 for row in sample for value in row)
        return size * len(rows) // max(1, len(sample))
