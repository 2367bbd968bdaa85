"""Read rows in the order of their keys, and rows that the database cannot return as a whole value by value."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from ..errors import MigratorError
from .chunks import Bounds, Restriction, equality, order_by, where_clause
from .engines.base.engine import Engine
from .engines.base.session import LARGEST_FETCH, Row
from .engines.base.values import Unreadable
from .primary_keys import Key, decode_text
from .tables import Table


@dataclass(frozen=True)
class RowReader:
    """Reads columns of one table: the ``names`` of the columns, and the ``expressions`` that read them.

    A stored value that the database cannot return becomes
    :class:`~migrator.databases.engines.base.values.Unreadable`, with its bytes if these can be read.
    """

    engine: Engine
    table: Table
    names: Sequence[str]
    expressions: Sequence[str]
    restriction: Restriction | None = None

    def rows(self, bounds: Bounds) -> Generator[list[Row]]:
        """Yield a range's rows in batches; the caller must close the generator.

        Raises the database's error if no row has caused it, or if the table has no primary key.
        """
        while True:
            count = 0
            try:
                with closing(self._stream(bounds)) as batches:
                    for batch in batches:
                        count += len(batch)
                        yield batch
                return
            except MigratorError:
                raise
            except Exception as error:
                self.recover_from(error)
                if count:
                    bounds = Bounds(self._key_at(bounds, count - 1), bounds.upper)
                keys = self.keys(bounds)
                if not keys:
                    raise
            yield [row for key in keys for row in self._rows_with(key)]
            bounds = Bounds(keys[-1], bounds.upper)

    def _rows_with(self, key: Key) -> list[Row]:
        where, params = equality(self.engine, self.table.key, key)
        return self.rows_where(f" WHERE {where}", params)

    def rows_where(self, where: str, params: Sequence[Any]) -> list[Row]:
        """Read the rows that meet a WHERE clause, keyword included; if some are unreadable, read at most one row."""
        name = self.engine.quote(self.table.name)
        try:
            return self.engine.fetch_all(f"SELECT {', '.join(self.expressions)} FROM {name}{where}", params)
        except Exception as error:
            self.recover_from(error)
        pairs = zip(self.names, self.expressions, strict=True)
        values = [self._value(column, expression, f" FROM {name}{where}", params) for column, expression in pairs]
        return [] if any(value is None for value in values) else [tuple(value[0] for value in values if value)]

    def recover_from(self, error: Exception) -> None:
        """Continue in the same snapshot after an error that a row has caused; raise any other."""
        if isinstance(error, MigratorError) or not self.table.key or not self.engine.is_about_rows(error):
            raise error
        self.engine.recover()

    def _stream(self, bounds: Bounds) -> Generator[list[Row]]:
        return self.engine.stream(*self._query(bounds, self.expressions))

    def _query(self, bounds: Bounds, expressions: Sequence[str]) -> tuple[str, list[Any]]:
        where, params = where_clause(self.engine, self.table.key, bounds, self.restriction)
        name, ordering = (
            self.engine.quote(self.table.name),
            order_by(self.engine, self.table.key, table=self.table.name),
        )
        return f"SELECT {', '.join(expressions)} FROM {name}{where}{ordering}", params

    def _key_at(self, bounds: Bounds, position: int) -> Key:
        return self.keys(bounds, 1, position)[0]

    def keys(self, bounds: Bounds, limit: int = LARGEST_FETCH, position: int = 0) -> list[Key]:
        """Read keys of a range in order, readable or not."""
        names = [self.engine.quote(name) for name in self.table.key]
        page = f" LIMIT {limit} OFFSET {position}"
        sql, params = self._query(bounds, names)
        try:
            with self.engine.reading_everything():
                return [tuple(row) for row in self.engine.fetch_all(sql + page, params)]
        except Exception as error:
            self.recover_from(error)
            if len(names) > 1:
                raise
            sql, params = self._query(bounds, [self.engine.values.stored_bytes(names[0])])
            return [(decode_text(bytes(row[0])),) for row in self.engine.fetch_all(sql + page, params)]

    def _value(self, name: str, expression: str, rest: str, params: Sequence[Any]) -> Row | None:
        try:
            found = self.engine.fetch_all(f"SELECT {expression}{rest}", params)
            return found[0] if found else None
        except Exception as error:
            self.recover_from(error)
            reason = f"{self.engine.alias!r} cannot return it: {self.engine.fault(error, self.table.name).message}"
        try:
            stored = self.engine.values.stored_bytes(self.engine.quote(name))
            return (Unreadable(reason, bytes(self.engine.fetch_value(f"SELECT {stored}{rest}", params))),)
        except Exception as error:  # not even its bytes: a damaged page
            self.recover_from(error)
            return (Unreadable(reason),)
