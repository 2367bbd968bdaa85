"""Rows of a keyed table read in pages, by key, or counted, in SQL that all engines understand."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from typing import Any

from django.conf import settings
from django.db import Error
from django.utils import timezone

from ...clock import MICROSECOND, from_datetime, now, to_datetime
from ...console.passwords import without_passwords
from ...console.safe_text import visible
from ...errors import Refused
from ..base import FIRST_CHARACTERS, WHOLE, Share
from .layout import KeyedRow, Layout

NAIVE_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001  (as drivers return times in UTC)
# The last day that Python and all engines can hold in any time zone. Redis takes later ones.
LATEST = from_datetime(dt.datetime(9999, 12, 30, tzinfo=dt.UTC))
# The last possible second, which stands for never.
NEVER = from_datetime(dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC))


class ReadTable:
    """Reading of one table of one database."""

    def __init__(self, alias: str, connection: Any, layout: Layout) -> None:
        self.alias = alias
        self.connection = connection
        # Whether a statement has to fail if it would see only some of the rows.
        self.demands_all = False
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
        """Return the SQL that reads the expiry: the column, or an expression for microseconds of Unix time."""
        return str(self.expires)

    @property
    def can_open_again(self) -> bool:
        """Whether another connection sees the same table."""
        return not self.connection.in_atomic_block

    # What it is

    def check_exists(self) -> None:
        """Raise :exc:`Refused` if the table does not exist, or the database does not answer."""
        try:
            present = self._is_there()
        except (Error, TypeError, ValueError) as error:  # or the driver rejects the settings
            message = without_passwords(str(error).split("\n", 1)[0])
            raise Refused(f"The database {self.alias!r} does not answer: {visible(message)}") from error
        if not present:
            raise Refused(
                f"The database {self.alias!r} has no table {self.layout.table!r}. {self.layout.missing_hint}."
            )

    def _is_there(self) -> bool:
        with self.connection.cursor() as cursor:
            return self.layout.table in self.connection.introspection.table_names(cursor, include_views=True)

    def blind_spot(self, table: str | None = None) -> str | None:
        """Return why some rows of the table, or of another one in the database, cannot be seen; ``None`` if all can."""
        return None

    def address(self) -> str:
        """Return the address of the table and its database for people, without a password."""
        known = self.connection.settings_dict
        server = f"{known['HOST']}:{known['PORT']}/".lstrip(":/") if known.get("HOST") else ""
        return f"{server}{known['NAME']}, table {self.layout.table}"

    def identity(self) -> str:
        """Return a name of the physical table, which is the same for all aliases of its database."""
        raise NotImplementedError

    def count(self, *, like: str | None = None, with_expired: bool = False) -> int:
        """Count the rows that have not expired, or all."""
        if with_expired:
            return int(self._rows(f"SELECT COUNT(*) FROM {self.table}", [])[0][0])
        where, parameters = self._where_like(like)
        sql = f"SELECT COUNT(*) FROM {self.table} WHERE {self.expires} > %s{where}"
        return int(self._rows(sql, [self.moment(now()), *parameters])[0][0])

    # Moments

    def moment(self, microseconds: int) -> Any:
        """Return microseconds of Unix time as a value that the column takes."""
        value = to_datetime(min(microseconds, NEVER))
        try:
            local = value if settings.USE_TZ else timezone.make_naive(value, self._zone)
            return self.connection.ops.adapt_datetimefield_value(local)
        except OverflowError:  # east of Greenwich this is already in the year 10000
            return self.moment(LATEST)

    def microseconds(self, moment: Any) -> int:
        """Return a value of the column in microseconds of Unix time."""
        if type(moment) is int:
            return moment
        if isinstance(moment, str):
            moment = dt.datetime.fromisoformat(moment)
        if moment.tzinfo is None:
            if self._zone is dt.UTC:
                return int((moment - NAIVE_EPOCH) // MICROSECOND)
            moment = timezone.make_aware(moment, self._zone)
        return from_datetime(moment)

    # Reading

    def pages(self, size: int, *, like: str | None = None, share: Share = WHOLE) -> Iterator[list[KeyedRow]]:
        """Yield the rows that have not expired in the order of their keys, ``size`` at a time."""
        where, parameters = self._where_like(like)
        bounds, more = self._where_share(share)
        return map(self._loaded, self._paged(self._read_columns, where + bounds, parameters + more, size))

    def keys(self, size: int, *, share: Share = WHOLE) -> Iterator[list[str]]:
        """Yield the keys of the rows that have not expired, ``size`` at a time."""
        for page in self._paged(self.key, *self._where_share(share), size):
            yield [key for (key,) in page]

    def _paged(self, columns: str, where: str, parameters: list[Any], size: int) -> Iterator[list[tuple[Any, ...]]]:
        """Yield these columns, of which the key is the first, of the rows that have not expired."""
        after: list[Any] = []
        while True:
            beyond = f" AND {self.key} > %s" if after else ""
            sql = (
                f"SELECT {columns} FROM {self.table} WHERE {self.expires} > %s{where}{beyond}"
                f" ORDER BY {self.key} LIMIT {size:d}"
            )
            found = self._rows(sql, [self.moment(now()), *parameters, *after])
            if not found:
                return
            yield found
            after = [found[-1][0]]

    def fetch(self, keys: Sequence[str]) -> dict[str, KeyedRow]:
        """Return the rows of those ``keys`` that exist and have not expired."""
        if not keys:
            return {}
        condition, parameters = self._where_keys(keys)
        sql = f"SELECT {self._read_columns} FROM {self.table} WHERE {condition} AND {self.expires} > %s"
        return {row.key: row for row in self._loaded(self._rows(sql, [*parameters, self.moment(now())]))}

    def are_as_seen(self, rows: Sequence[KeyedRow]) -> bool:
        """Whether all rows still have the value and the expiry that were read."""
        condition, parameters = self._where_keys([row.key for row in rows])
        sql = f"SELECT {self.key}, {self.value}, {self._expiry_read()} FROM {self.table} WHERE {condition}"
        there = {key: (value, expires) for key, value, expires in self._rows(sql, parameters)}
        load = self.microseconds
        for row in rows:
            value, expires = there.get(row.key, (None, 0))
            if value != row.value or load(expires) != row.expires:
                return False
        return True

    def present(self, keys: Sequence[str]) -> set[str]:
        """Return those of ``keys`` that exist and have not expired."""
        if not keys:
            return set()
        condition, parameters = self._where_keys(keys)
        sql = f"SELECT {self.key} FROM {self.table} WHERE {condition} AND {self.expires} > %s"
        return {key for (key,) in self._rows(sql, [*parameters, self.moment(now())])}

    def _loaded(self, found: Sequence[Sequence[Any]]) -> list[KeyedRow]:
        to_microseconds = self.microseconds
        if not self.layout.more:
            return [KeyedRow(key, value, to_microseconds(expires)) for key, value, expires in found]
        loads = [to_microseconds if column.is_moment else column.load for column in self.layout.more]
        return [
            KeyedRow(
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
        """Return the condition for a share's first characters, in the order of the column's collation."""
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
