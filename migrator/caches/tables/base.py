"""What a keyed table can be asked, in the SQL that all engines speak."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.conf import settings
from django.db import Error, IntegrityError, OperationalError, transaction
from django.utils import timezone

from ...errors import Refused
from ..stores.base import FIRST_CHARACTERS, WHOLE, Share, now

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
NAIVE_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001  (as drivers give times that are UTC)
MICROSECOND = dt.timedelta(microseconds=1)
SECOND = 1_000_000
ATTEMPTS = 5

Convert = Callable[[Any], Any]


@dataclass(frozen=True)
class Column:
    """A column beside key, value and expiry, with what turns its database value into a plain one and back."""

    name: str
    load: Convert | None = None
    dump: Convert | None = None
    is_moment: bool = False


@dataclass(frozen=True)
class Layout:
    """The table's name and those of its columns."""

    table: str
    key: str
    value: str
    expires: str
    more: tuple[Column, ...] = ()
    missing_hint: str = "Create it first"

    def names(self) -> list[str]:
        return [self.key, self.value, self.expires, *(column.name for column in self.more)]


class Row(NamedTuple):
    """A row; ``expires`` in microseconds of Unix time, ``more`` in the order of the layout."""

    key: str
    value: str
    expires: int
    more: tuple[Any, ...] = ()


class KeyedTable:
    """One table of one database. Every write is a transaction of its own and may be repeated."""

    def __init__(self, alias: str, connection: Any, layout: Layout) -> None:
        self.alias = alias
        self.connection = connection
        self.layout = layout
        self._zone = connection.timezone or timezone.get_default_timezone()
        quote = connection.ops.quote_name
        self.table = quote(layout.table)
        self.key, self.value, self.expires = quote(layout.key), quote(layout.value), quote(layout.expires)
        self.columns = ", ".join(quote(name) for name in layout.names())
        self._read_columns = ", ".join(
            [self.key, self.value, self._expiry_read(), *(quote(column.name) for column in layout.more)]
        )

    def _expiry_read(self) -> str:
        """Spell the expiry as it is read: the column, or an expression that gives microseconds of Unix time."""
        return str(self.expires)

    @property
    def can_open_again(self) -> bool:
        """Whether another connection sees the same table."""
        return not self.connection.in_atomic_block

    # What it is

    def check_exists(self) -> None:
        """Raise :exc:`Refused` where the table cannot be read."""
        try:
            with self.connection.cursor() as cursor:
                present = self.layout.table in self.connection.introspection.table_names(cursor, include_views=True)
        except Error as error:
            raise Refused(f"The database {self.alias!r} does not answer: {str(error).splitlines()[0]}") from error
        if not present:
            raise Refused(
                f"The database {self.alias!r} has no table {self.layout.table!r}. {self.layout.missing_hint}."
            )

    def address(self) -> str:
        """Name the table and its database for people, without a password."""
        known = self.connection.settings_dict
        place = f"{known['HOST']}:{known['PORT']}/".lstrip(":/") if known.get("HOST") else ""
        return f"{place}{known['NAME']}, table {self.layout.table}"

    def identity(self) -> str:
        """Name the physical table: two aliases of one database give the same name."""
        raise NotImplementedError

    def count(self, *, like: str | None = None) -> int:
        """Count the rows that have not expired."""
        where, parameters = self._where_like(like)
        sql = f"SELECT COUNT(*) FROM {self.table} WHERE {self.expires} > %s{where}"
        return int(self._rows(sql, [self.moment(now()), *parameters])[0][0])

    # Moments

    def moment(self, microseconds: int) -> Any:
        """Turn microseconds of Unix time into what the column takes."""
        value = EPOCH + microseconds * MICROSECOND
        if not settings.USE_TZ:
            value = timezone.make_naive(value, self._zone)
        return self.connection.ops.adapt_datetimefield_value(value)

    def microseconds(self, moment: Any) -> int:
        """Turn what the column gives into microseconds of Unix time."""
        if type(moment) is int:
            return moment
        if isinstance(moment, str):
            moment = dt.datetime.fromisoformat(moment)
        if moment.tzinfo is None:
            if self._zone is dt.UTC:
                return int((moment - NAIVE_EPOCH) // MICROSECOND)
            moment = timezone.make_aware(moment, self._zone)
        return int((moment - EPOCH) // MICROSECOND)

    # Reading

    def pages(self, size: int, *, like: str | None = None, share: Share = WHOLE) -> Iterator[list[Row]]:
        """Read the rows that have not expired in the order of their keys, ``size`` at a time."""
        where, parameters = self._where_like(like)
        bounds, more = self._where_share(share)
        where, parameters = where + bounds, parameters + more
        after: list[Any] = []
        while True:
            beyond = f" AND {self.key} > %s" if after else ""
            sql = (
                f"SELECT {self._read_columns} FROM {self.table} WHERE {self.expires} > %s{where}{beyond}"
                f" ORDER BY {self.key} LIMIT {size:d}"
            )
            found = self._rows(sql, [self.moment(now()), *parameters, *after])
            if not found:
                return
            yield self._loaded(found)
            after = [found[-1][0]]

    def keys(self, size: int, *, share: Share = WHOLE) -> Iterator[list[str]]:
        """Read the keys alone of the rows that have not expired."""
        where, parameters = self._where_share(share)
        after: list[Any] = []
        while True:
            beyond = f" AND {self.key} > %s" if after else ""
            sql = (
                f"SELECT {self.key} FROM {self.table} WHERE {self.expires} > %s{where}{beyond}"
                f" ORDER BY {self.key} LIMIT {size:d}"
            )
            found = self._rows(sql, [self.moment(now()), *parameters, *after])
            if not found:
                return
            yield [key for (key,) in found]
            after = [found[-1][0]]

    def fetch(self, keys: Sequence[str]) -> dict[str, Row]:
        """Read those of ``keys`` that exist and have not expired."""
        if not keys:
            return {}
        condition, parameters = self._where_keys(keys)
        sql = f"SELECT {self._read_columns} FROM {self.table} WHERE {condition} AND {self.expires} > %s"
        return {row.key: row for row in self._loaded(self._rows(sql, [*parameters, self.moment(now())]))}

    def present(self, keys: Sequence[str]) -> set[str]:
        """Return those of ``keys`` that exist and have not expired."""
        if not keys:
            return set()
        condition, parameters = self._where_keys(keys)
        sql = f"SELECT {self.key} FROM {self.table} WHERE {condition} AND {self.expires} > %s"
        return {key for (key,) in self._rows(sql, [*parameters, self.moment(now())])}

    def _loaded(self, found: Sequence[Sequence[Any]]) -> list[Row]:
        to_microseconds = self.microseconds
        if not self.layout.more:
            return [Row(key, value, to_microseconds(expires)) for key, value, expires in found]
        loads = [to_microseconds if column.is_moment else column.load for column in self.layout.more]
        return [
            Row(
                key,
                value,
                to_microseconds(expires),
                tuple(
                    load(cell) if load and cell is not None else cell for load, cell in zip(loads, more, strict=True)
                ),
            )
            for key, value, expires, *more in found
        ]

    def _where_like(self, prefix: str | None) -> tuple[str, list[Any]]:
        if prefix is None:
            return "", []
        pattern = "".join(f"!{sign}" if sign in "!%_" else sign for sign in prefix) + "%"
        return f" AND {self.key} LIKE %s ESCAPE '!'", [pattern]

    def _where_share(self, share: Share) -> tuple[str, list[Any]]:
        """Bound a share by its first characters, in the order of the column's own collation."""
        where, parameters = "", []
        step = len(share.characters()) if not share.is_last else 0
        begin = FIRST_CHARACTERS.index(share.characters()[0])
        if share.index:
            where, parameters = f" AND {self.key} >= %s", [FIRST_CHARACTERS[begin]]
        if step and not share.is_whole:
            where += f" AND {self.key} < %s"
            parameters.append(FIRST_CHARACTERS[begin + step])
        return where, parameters

    def _where_keys(self, keys: Sequence[str]) -> tuple[str, list[Any]]:
        return f"{self.key} IN ({', '.join(['%s'] * len(keys))})", list(keys)

    def _rows(self, sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return list(cursor.fetchall())

    # Writing

    def add(self, rows: Sequence[Row]) -> set[str]:
        """Write the rows whose keys are not there or have expired; return the keys written.

        A deadlock, or a row that somebody else writes at the same moment, has the whole page tried again.
        """
        rows = list({row.key: row for row in rows}.values())
        interrupted = False
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

    def _same(self, rows: Sequence[Row]) -> set[str]:
        there = self.fetch([row.key for row in rows])
        return {row.key for row in rows if row.key in there and there[row.key].value == row.value}

    def _add(self, rows: Sequence[Row]) -> set[str]:
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

    def _insert(self, rows: Sequence[Row]) -> None:
        """Insert rows; a key that is there is an :exc:`IntegrityError`."""
        raise NotImplementedError

    def insert(self, row: Row) -> bool:
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

    def update(self, row: Row, *, more: Collection[str] = ()) -> bool:
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

    def replace(self, pairs: Sequence[tuple[Row, Row]]) -> set[str]:
        """Write each (seen, new) where the row is still as seen; return the keys of those that were."""
        names = [self.value, self.expires, *map(self.connection.ops.quote_name, self._more_names())]
        assignments = ", ".join(f"{name} = %s" for name in names)
        statements = []
        for seen, new in pairs:
            where, parameters = self._where_seen(seen)
            sql = f"UPDATE {self.table} SET {assignments} WHERE {where}"
            statements.append((seen.key, sql, [*self._cells(new)[1:], *parameters]))
        return self._changed(statements)

    def discard(self, rows: Sequence[Row]) -> set[str]:
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

    def _where_seen(self, seen: Row) -> tuple[str, list[Any]]:
        # A column of whole seconds gives another expiry than was written.
        bounds = [self.moment(seen.expires - SECOND), self.moment(seen.expires + SECOND)]
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
            return {key for key, sql, parameters in statements if self._execute(sql, parameters) > 0}

    def _execute(self, sql: str, parameters: Sequence[Any]) -> int:
        with self.connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return int(cursor.rowcount)

    def _cells(self, row: Row) -> list[Any]:
        cells = [row.key, row.value, self.moment(row.expires)]
        for column, cell in zip(self.layout.more, row.more, strict=True):
            if cell is not None and column.is_moment:
                cell = self.moment(cell)
            elif cell is not None and column.dump:
                cell = column.dump(cell)
            cells.append(cell)
        return cells
