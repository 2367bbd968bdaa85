"""SQLite: the bulk load by INSERT."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from ..base.engine import Engine
from ..base.loading import Target, Writer
from ..base.session import Row

# The size of one row in so many is measured.
SAMPLED = 16
# A statement costs about as much as a row, so many rows share one. Not every build of SQLite accepts more parameters
# (sqlite.org/limits.html, SQLITE_MAX_VARIABLE_NUMBER).
MOST_ROWS = 50
MOST_PARAMETERS = 999


class InsertWriter(Writer):
    """Loads rows by one prepared statement for many of them, and another for the rest.

    The statements are in the driver's own form: Django would search each for placeholders every time.
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
