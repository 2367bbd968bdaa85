"""SQLite: its bulk load."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from ..base.engine import Engine
from ..base.loading import Target, Writer
from ..base.session import Row

# One row of so many tells the size of all.
SAMPLED = 16
# A statement costs about as much as its row, so that many share one; more parameters not every build of SQLite takes.
MOST_ROWS = 50
MOST_PARAMETERS = 999


class InsertWriter(Writer):
    """Loads rows by one prepared statement for many of them, and another for those that are left.

    They go to the driver as it takes them: Django would look for placeholders in so long a statement each time.
    """

    def __init__(self, engine: Engine, table: str, targets: Sequence[Target]) -> None:
        self._engine = engine
        names = ", ".join(engine.quote(target.name) for target in targets)
        row = ", ".join(target.placeholder or "%s" for target in targets)
        self._rows_at_once = max(1, min(MOST_ROWS, MOST_PARAMETERS // len(targets)))
        start, marks = f"INSERT INTO {engine.quote(table)} ({names}) VALUES ", ("?",) * len(targets)
        self._one = f"{start}({row})" % marks
        self._many = start % () + ", ".join([f"({row})" % marks] * self._rows_at_once)

    def write(self, rows: Sequence[Row]) -> int:
        step = self._rows_at_once
        left = len(rows) - len(rows) % step
        parameters = [tuple(chain.from_iterable(rows[start : start + step])) for start in range(0, left, step)]
        connection = self._engine.connection
        with connection.wrap_database_errors:
            connection.connection.executemany(self._many, parameters)
            connection.connection.executemany(self._one, rows[left:])
        sample = rows[::SAMPLED]
        size = sum(len(value) if isinstance(value, str | bytes) else 8 for row in sample for value in row)
        return size * len(rows) // max(1, len(sample))
