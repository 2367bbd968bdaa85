"""Reading and writing of a keyed table, in SQL that all engines understand."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

from django.db import Error, IntegrityError, OperationalError, transaction

from ...clock import MICROSECONDS_PER_SECOND, now
from .layout import KeyedRow, Layout
from .reading import ReadTable

ATTEMPTS = 5


class KeyedTable(ReadTable):
    """One table of one database. Every write is a transaction of its own and can be repeated."""

    # Whether texts longer than their column are rejected, or truncated if the server is not in strict mode.
    limits_lengths = True
    # A query for the server's time in microseconds of Unix time; None if it uses the clock of this host.
    clock_sql: ClassVar[str | None] = None

    def takes_address(self, text: str) -> bool:
        """Whether a column of IP addresses takes a text that is not empty."""
        return True

    def __init__(self, alias: str, connection: Any, layout: Layout) -> None:
        super().__init__(alias, connection, layout)
        # Whether none of the rows that were last added existed.
        self._finds_room = True

    def add(self, rows: Sequence[KeyedRow]) -> set[str]:
        """Write the rows whose keys do not exist or have expired; return the keys written.

        If none existed the last time, all rows are inserted at once, and looked up only if that fails. The page is
        tried again after a deadlock, and if another client writes one of the rows at the same moment.
        """
        rows = list({row.key: row for row in rows}.values())
        interrupted = False
        if self._finds_room:
            try:
                with transaction.atomic(using=self.alias):
                    self._insert(rows)
                return {row.key for row in rows}
            except Error as error:
                interrupted = isinstance(error, OperationalError)
                if interrupted and self.connection.in_atomic_block:
                    raise
                self._finds_room = False
                if interrupted:
                    self.connection.close_if_unusable_or_obsolete()
        written = self._add_patiently(rows, interrupted)
        self._finds_room = len(written) == len(rows)
        return written

    def _add_patiently(self, rows: Sequence[KeyedRow], interrupted: bool) -> set[str]:
        for attempt in range(ATTEMPTS):
            try:
                with transaction.atomic(using=self.alias):
                    written = self._add(rows)
                # If the reply was lost, the rows may exist already, and be ours.
                return written | self._same(rows) if interrupted else written
            except (IntegrityError, OperationalError) as error:
                if attempt == ATTEMPTS - 1 or self.connection.in_atomic_block:
                    raise
                interrupted = isinstance(error, OperationalError)
                time.sleep(0.05 * 2**attempt)
                self.connection.close_if_unusable_or_obsolete()
        raise AssertionError("the last attempt returns or raises")

    def _same(self, rows: Sequence[KeyedRow]) -> set[str]:
        there = self.fetch([row.key for row in rows])
        return {row.key for row in rows if row.key in there and there[row.key].value == row.value}

    def _add(self, rows: Sequence[KeyedRow]) -> set[str]:
        self._lock()
        moment = self.moment(now())
        condition, parameters = self._where_keys([row.key for row in rows])
        there = dict(
            self._rows(
                f"SELECT {self.key}, {self.expires} > %s FROM {self.table} WHERE {condition}",
                [moment, *parameters],
            )
        )
        if expired := [key for key, is_live in there.items() if not is_live]:
            condition, parameters = self._where_keys(expired)
            self._execute(f"DELETE FROM {self.table} WHERE {condition} AND {self.expires} <= %s", [*parameters, moment])
        absent = [row for row in rows if not there.get(row.key)]
        if absent:
            self._insert(absent)
        return {row.key for row in absent}

    def _lock(self) -> None:
        """Keep others from writing between our reading and our writing, if the engine can."""

    def _insert(self, rows: Sequence[KeyedRow]) -> None:
        """Insert rows. Raises :exc:`IntegrityError` if a key exists."""
        raise NotImplementedError

    def insert(self, row: KeyedRow) -> bool:
        """Write one row if its key does not exist or has expired; return whether it was written.

        This takes one statement if the key does not exist.
        """
        for _ in range(ATTEMPTS):
            try:
                with self._alone():
                    self._insert([row])
            except IntegrityError:
                if self.fetch([row.key]):
                    return False
                if not self._delete_expired(row.key):
                    raise  # it was not the key that was rejected
            else:
                return True
        return False

    def _delete_expired(self, key: str) -> bool:
        with self._alone():
            sql = f"DELETE FROM {self.table} WHERE {self.key} = %s AND {self.expires} <= %s"
            return self._execute(sql, [key, self.moment(now())]) > 0

    def update(self, row: KeyedRow, *, more: Collection[str] = ()) -> bool:
        """Overwrite a row that has not expired, whatever it holds; return whether there was one.

        Of the additional columns, those named in ``more`` are written.
        """
        cells = self._cells(row)
        cell_of = {self.value: cells[1], self.expires: cells[2]}
        quote = self.connection.ops.quote_name
        cell_of |= {quote(name): cell for name, cell in zip(self._more_names(), cells[3:], strict=True) if name in more}
        sql = (
            f"UPDATE {self.table} SET {', '.join(f'{name} = %s' for name in cell_of)}"
            f" WHERE {self.key} = %s AND {self.expires} > %s"
        )
        with self._alone():
            return self._execute(sql, [*cell_of.values(), row.key, self.moment(now())]) > 0

    def _alone(self) -> AbstractContextManager[Any]:
        """Run one statement that needs no transaction, and that must not break an open transaction if it fails."""
        if self.connection.get_autocommit() and not self.connection.in_atomic_block:
            return nullcontext()
        return transaction.atomic(using=self.alias)

    def replace(self, pairs: Sequence[tuple[KeyedRow, KeyedRow]]) -> set[str]:
        """Write each (seen, new) if the row is still as seen; return the keys written."""
        names = [self.value, self.expires, *map(self.connection.ops.quote_name, self._more_names())]
        assignments = ", ".join(f"{name} = %s" for name in names)
        statements = []
        for seen, new in pairs:
            where, parameters = self._where_seen(seen)
            sql = f"UPDATE {self.table} SET {assignments} WHERE {where}"
            statements.append((seen.key, sql, [*self._cells(new)[1:], *parameters]))
        return self._changed(statements)

    def discard(self, rows: Sequence[KeyedRow]) -> set[str]:
        """Delete the rows that are still as seen; return their keys."""
        statements = []
        for seen in rows:
            where, parameters = self._where_seen(seen)
            statements.append((seen.key, f"DELETE FROM {self.table} WHERE {where}", parameters))
        return self._changed(statements)

    def delete(self, keys: Sequence[str]) -> None:
        """Delete rows, whatever they hold."""
        if keys:
            condition, parameters = self._where_keys(keys)
            with transaction.atomic(using=self.alias):
                self._execute(f"DELETE FROM {self.table} WHERE {condition}", parameters)

    def delete_expired(self, size: int) -> set[str]:
        """Delete up to ``size`` rows that have expired, whatever they hold; return their keys."""
        moment = self.moment(now())
        sql = f"SELECT {self.key} FROM {self.table} WHERE {self.expires} <= %s LIMIT {size:d}"
        keys = [key for (key,) in self._rows(sql, [moment])]
        if keys:
            condition, parameters = self._where_keys(keys)
            with transaction.atomic(using=self.alias):
                self._execute(
                    f"DELETE FROM {self.table} WHERE {condition} AND {self.expires} <= %s", [*parameters, moment]
                )
        return set(keys)

    def _more_names(self) -> list[str]:
        return [column.name for column in self.layout.more]

    def _where_seen(self, seen: KeyedRow) -> tuple[str, list[Any]]:
        # A column of whole seconds returns another expiry than was written.
        bounds = [
            self.moment(seen.expires - MICROSECONDS_PER_SECOND),
            self.moment(seen.expires + MICROSECONDS_PER_SECOND),
        ]
        same = self._exactly(self.value)
        where = f"{self.key} = %s AND {same} AND {self.expires} >= %s AND {self.expires} <= %s"
        return where, [seen.key, seen.value, *bounds]

    def _exactly(self, column: str) -> str:
        return f"{column} = %s"

    def _changed(self, statements: Sequence[tuple[str, str, Sequence[Any]]]) -> set[str]:
        """Run statements for one row each; return the keys of the rows that they changed."""
        if not statements:
            return set()
        with transaction.atomic(using=self.alias):
            self._demand_all()
            return {key for key, sql, parameters in statements if self._execute(sql, parameters) > 0}

    def _demand_all(self) -> None:
        """Have the transaction's statements fail if they would see only some of the rows, if that is demanded."""

    def _execute(self, sql: str, parameters: Sequence[Any]) -> int:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return int(cursor.rowcount)

    def _cells(self, row: KeyedRow) -> list[Any]:
        cells = [row.key, row.value, self.moment(row.expires)]
        for column, cell in zip(self.layout.more, row.more, strict=True):
            if cell is not None and column.is_moment:
                cell = self.moment(cell)
            elif cell is not None and column.dump:
                cell = column.dump(cell)
            cells.append(cell)
        return cells
