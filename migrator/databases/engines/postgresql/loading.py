"""PostgreSQL: its bulk load."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..base.engine import Engine
from ..base.loading import Target, TextWriter, Writer
from ..base.session import Row
from . import copying


class CopyWriter(Writer):
    """Loads rows by COPY; by INSERT where a field wraps its parameter in SQL or the driver must adapt a value."""

    def __init__(self, engine: Engine, table: str, targets: Sequence[Target]) -> None:
        self._engine = engine
        self._copy = copy_statement(engine, table, targets)
        self._renderers = [copying.RENDERERS.get(target.kind, copying.render_any) for target in targets]
        names = ", ".join(engine.quote(target.name) for target in targets)
        self._insert = f"INSERT INTO {engine.quote(table)} ({names}) OVERRIDING SYSTEM VALUE VALUES "
        self._values = f"({', '.join(target.placeholder or '%s' for target in targets)})"
        self._must_insert = any(target.placeholder for target in targets)

    def write(self, rows: Sequence[Row]) -> int:
        if not self._must_insert:
            try:
                data = copying.render_rows(rows, self._renderers)
            except copying.Unrenderable:
                return self._write_by_insert(rows)
            return copying.copy_in(self._engine.connection, self._copy, [data])[1]
        return self._write_by_insert(rows)

    def _write_by_insert(self, rows: Sequence[Row]) -> int:
        page = max(1, min(500, 60_000 // len(rows[0])))
        for start in range(0, len(rows), page):
            part = rows[start : start + page]
            values = ", ".join([self._values] * len(part))
            self._engine.execute(self._insert + values, [value for row in part for value in row])
        return sum(len(str(value)) for row in rows for value in row)


class CopyTextWriter(TextWriter):
    """Loads lines, or rows in the binary form, by one COPY."""

    def __init__(self, engine: Engine, table: str, targets: Sequence[Target], form: str = "TEXT") -> None:
        self._engine = engine
        self._copy = f"{copy_statement(engine, table, targets)} (FORMAT {form})"

    def write(self, lines: Iterable[bytes]) -> tuple[int, int]:
        return copying.copy_in(self._engine.connection, self._copy, lines)


def copy_statement(engine: Engine, table: str, targets: Sequence[Target]) -> str:
    """Build the COPY that loads a table; it takes no parameters, so ``%`` stands for itself."""
    quote = engine.identifier
    names = ", ".join(quote(target.name) for target in targets)
    return f"COPY {quote(table)} ({names}) FROM STDIN"
