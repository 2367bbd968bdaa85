"""What a keyed table can be asked, in the SQL that all engines speak."""

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
    """One table of one database. Every write is a transaction of its own and may be repeated."""

    # Whether texts longer than their column are refused, or cut where the server is lax.
    limits_lengths = True
    # Asks the server for the present in microseconds of Unix time; None where it has the clock of this host.
    clock_sql: ClassVar[str | None] = None

    def takes_address(self, text: str) -> bool:
        """Tell whether a column of addresses takes a text that is not empty."""
        return True

    def __init__(self, alias: str, connection: Any, layout: Layout) -> None:
        super().__init__(alias, connection, layout)
        # Whether the last rows to be added found none of theirs there.
        self._finds_room = True

    def add(self, rows: Sequence[KeyedRow]) -> set[str]:
        """Write the rows whose keys are not there or have expired; return the keys written.

        Where none was there lately, the rows are written as if none were, and looked for after that fails. A deadlock,
        or a row that somebody else writes at the same moment, has the whole page tried again.
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
                # After a lost answer the rows may be there already, and ours.
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
        """Make sure that nobody writes between our reading and our writing, where the engine lets us."""

    def _insert(self, rows: Sequence[KeyedRow]) -> None:
        """Insert rows; a key that is there is an :exc:`IntegrityError`."""
        raise NotImplementedError

    def insert(self, row: KeyedRow) -> bool:
        """Write one row whose key is not there or has expired, in one statement where there is none; tell whether."""
        for _ in range(ATTEMPTS):
            try:
                with self._alone():
                    self._insert([row])
            except IntegrityError:
                if self.fetch([row.key]):
                    return False
                if not self._delete_expired(row.key):
                    raise  # it is not the key that was refused
            else:
                return True
        return False

    def _delete_expired(self, key: str) -> bool:
        with self._alone():
            sql = f"DELETE FROM {self.table} WHERE {self.key} = %s AND {self.expires} <= %s"
            return self._execute(sql, [key, self.moment(now())]) > 0

    def update(self, row: KeyedRow, *, more: Collection[str] = ()) -> bool:
        """Write over a row that has not expired, whatever it holds; tell whether there was one.

        Of the columns beside, those named in ``more`` are written.
        """
        cells = self._cells(row)
        taken = {self.value: cells[1], self.expires: cells[2]}
        quote = self.connection.ops.quote_name
        taken |= {quote(name): cell for name, cell in zip(self._more_names(), cells[3:], strict=True) if name in more}
        sql = (
            f"UPDATE {self.table} SET {', '.join(f'{name} = %s' for name in taken)}"
            f" WHERE {self.key} = %s AND {self.expires} > %s"
        )
        with self._alone():
            return self._execute(sql, [*taken.values(), row.key, self.moment(now())]) > 0

    def _alone(self) -> AbstractContextManager[Any]:
        """Run one statement that needs no transaction, but must not break one that is open when it fails."""
        if self.connection.get_autocommit() and not self.connection.in_atomic_block:
            return nullcontext()
        return transaction.atomic(using=self.alias)

    def replace(self, pairs: Sequence[tuple[KeyedRow, KeyedRow]]) -> set[str]:
        """Write each (seen, new) where the row is still as seen; return the keys of those that were."""
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
        """Delete some ``size`` rows that have expired, whatever they hold; return their keys."""
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
        # A column of whole seconds gives another expiry than was written.
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
        """Run statements on a row each; return the keys of the rows that they changed."""
        if not statements:
            return set()
        with transaction.atomic(using=self.alias):
            self._demand_all()
            return {key for key, sql, parameters in statements if self._execute(sql, parameters) > 0}

    def _demand_all(self) -> None:
        """Have the transaction's statements fail where they would see a part of the rows alone, if that is demanded."""

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
