"""Keyed tables of PostgreSQL: COPY if no key exists, otherwise one INSERT that returns the keys written."""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Iterator, Sequence
from decimal import Decimal
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import chain
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import ProgrammingError, transaction

from ...clock import MICROSECONDS_PER_SECOND, now
from ...errors import Refused
from .base import KeyedTable
from .layout import KeyedRow

# Keys do not usually have this control character; if one has it, arrays are used.
_SEPARATOR = "\x1f"
_ROWS_PER_INSERT = 1000
_FIRST_DAY = dt.date(1970, 1, 1).toordinal()
_TEMPORARY = "migrator_keyed_rows"
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
# The types whose str() COPY reads; other values are left to the driver.
_PLAIN = frozenset(
    {str, int, float, bool, Decimal, UUID, dt.datetime, dt.date, dt.time, IPv4Address, IPv6Address, type(None)}
)


class PostgreSQLTable(KeyedTable):
    """Each batch is one transaction, so that it works through a pooler in transaction mode."""

    clock_sql = "SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint"

    def takes_address(self, text: str) -> bool:
        try:
            address = ip_address(text)
        except ValueError:
            return False
        return getattr(address, "scope_id", None) is None

    def identity(self) -> str:
        # These are the same for every user, every address and through a pooler; aliases may use different schemas.
        sql = (
            "SELECT pg_postmaster_start_time(), (SELECT oid FROM pg_database WHERE datname = current_database()),"
            " to_regclass(%s)::oid"
        )
        started, database, table = self._rows(sql, [self.table])[0]
        return f"{self.connection.vendor}:{started}:{database}:{table or self.layout.table}"

    def _is_there(self) -> bool:
        # The name can include a schema that is not in the search path.
        return self._rows("SELECT to_regclass(%s)", [self.table])[0][0] is not None

    def blind_spot(self, table: str | None = None) -> str | None:
        # Asked once, before anything is read; _demand_all() finds what arises later.
        name = self.table if table is None else self.connection.ops.quote_name(table)
        sql = "SELECT current_user FROM to_regclass(%s) AS found WHERE row_security_active(found)"
        if not (found := self._rows(sql, [name])):
            return None
        return (
            f"row-level security may hide rows of its table {name} from user {found[0][0]!r}; connect as a superuser, "
            "as a role with BYPASSRLS, or, if policies are not forced, as the owner of the table"
        )

    def _demand_all(self) -> None:
        # Only for this transaction: behind a pooler, others would get the session with this setting. A transaction that
        # someone else began would keep it until its end.
        if self.demands_all and not self.connection.savepoint_ids:
            self._execute("SET LOCAL row_security = off", [])

    def _rows(self, sql: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
        if not self.demands_all or self.connection.in_atomic_block:
            return super()._rows(sql, parameters)
        try:
            with transaction.atomic(using=self.alias):
                self._demand_all()
                return super()._rows(sql, parameters)
        except ProgrammingError as error:
            if reason := self.blind_spot():
                raise Refused(f"Some rows can no longer be seen: {reason}. What was written stays.") from error
            raise

    def _expiry_read(self) -> str:
        # The driver takes longer to build a datetime than everything else in the row.
        return f"(EXTRACT(EPOCH FROM {self.expires}) * 1000000)::bigint"

    def _where_keys(self, keys: Sequence[str]) -> tuple[str, list[Any]]:
        joined = _SEPARATOR.join(keys)
        if joined.count(_SEPARATOR) != len(keys) - 1:
            return f"{self.key} = ANY(%s)", [list(keys)]
        # One text is written and read faster than an array of texts.
        return f"{self.key} = ANY(string_to_array(%s, '{_SEPARATOR}'))", [joined]

    def _insert(self, rows: Sequence[KeyedRow]) -> None:
        text = self._text(rows) if len(rows) > 1 else None
        if text is None:
            for sql, cells in self._inserts(rows):
                self._execute(sql, cells)
            return
        with self.connection.cursor() as cursor:
            self._copy(cursor, f"COPY {self.table} ({self.columns}) FROM STDIN", text)

    def _inserts(self, rows: Sequence[KeyedRow], and_then: str = "") -> Iterator[tuple[str, list[Any]]]:
        """Yield statements that insert some of the rows each, with their parameters."""
        line = f"({', '.join(['%s'] * len(self.layout.names()))})"
        for start in range(0, len(rows), _ROWS_PER_INSERT):
            group = rows[start : start + _ROWS_PER_INSERT]
            sql = f"INSERT INTO {self.table} AS kept ({self.columns}) VALUES {', '.join([line] * len(group))}{and_then}"
            yield sql, [*chain.from_iterable(map(self._cells, group))]

    def _add(self, rows: Sequence[KeyedRow]) -> set[str]:
        names = [self.value, self.expires, *map(self.connection.ops.quote_name, self._more_names())]
        assignments = ", ".join(f"{name} = EXCLUDED.{name}" for name in names)
        over_expired = f" ON CONFLICT ({self.key}) DO UPDATE SET {assignments} WHERE kept.{self.expires} <= %s"
        written: set[str] = set()
        for sql, cells in self._inserts(rows, f"{over_expired} RETURNING {self.key}"):
            written.update(key for (key,) in self._rows(sql, [*cells, self.moment(now())]))
        return written

    @cached_property
    def _can_make_temporary_tables(self) -> bool:
        return bool(self._rows("SELECT has_database_privilege(current_database(), 'TEMPORARY')", [])[0][0])

    def replace(self, pairs: Sequence[tuple[KeyedRow, KeyedRow]]) -> set[str]:
        # For one row a temporary table is slower.
        if len(pairs) == 1 or not self._can_make_temporary_tables:
            return super().replace(pairs)
        names = [self.value, self.expires, *map(self.connection.ops.quote_name, self._more_names())]
        assignments = ", ".join(f"{name} = wanted.{name}" for name in names)
        lines = [[*self._cells(new), seen.value, self.moment(seen.expires)] for seen, new in pairs]
        if not _are_plain(lines):
            return super().replace(pairs)
        return self._compared(f"UPDATE {self.table} AS kept SET {assignments} FROM", lines)

    def discard(self, rows: Sequence[KeyedRow]) -> set[str]:
        if len(rows) == 1 or not self._can_make_temporary_tables:
            return super().discard(rows)
        # For a deletion the additional columns are not compared.
        more = [None] * len(self.layout.more)
        lines = [
            [seen.key, seen.value, self.moment(seen.expires), *more, seen.value, self.moment(seen.expires)]
            for seen in rows
        ]
        return self._compared(f"DELETE FROM {self.table} AS kept USING", lines)

    def _compared(self, action: str, lines: Sequence[Sequence[Any]]) -> set[str]:
        """Update or delete the rows that are still as seen in one statement; return their keys."""
        if not lines:
            return set()
        temporary = self.connection.ops.quote_name(_TEMPORARY)
        with transaction.atomic(using=self.alias), self.connection.cursor() as cursor:
            self._demand_all()
            cursor.execute(
                f"CREATE TEMPORARY TABLE {temporary} ON COMMIT DROP AS SELECT {self.columns}, "
                f"{self.value} AS seen_value, {self.expires} AS seen_expires FROM {self.table} WITH NO DATA"
            )
            text = "".join(["\t".join(map(_copy_text, line)) + "\n" for line in lines])
            self._copy(cursor, f"COPY {temporary} ({self.columns}, seen_value, seen_expires) FROM STDIN", text)
            cursor.execute(
                f"{action} {temporary} AS wanted WHERE kept.{self.key} = wanted.{self.key}"
                f" AND kept.{self.value} = wanted.seen_value AND kept.{self.expires} BETWEEN"
                " wanted.seen_expires - interval '1 second' AND wanted.seen_expires + interval '1 second'"
                f" RETURNING kept.{self.key}"
            )
            changed = {key for (key,) in cursor.fetchall()}
            cursor.execute(f"DROP TABLE {temporary}")
        return changed

    def _text(self, rows: Sequence[KeyedRow]) -> str | None:
        """Return rows in the text format of COPY, None if only the driver can write them."""
        cells_of = self._cells
        if self.layout.more or not settings.USE_TZ:
            lines = [cells_of(row) for row in rows]
            return "".join(["\t".join(map(_copy_text, line)) + "\n" for line in lines]) if _are_plain(lines) else None
        day_of = _Days().text
        text = "".join([f"{key}\t{value}\t{day_of(expires)}\n" for key, value, expires, _ in rows])
        # Signed text and keys need no escaping, and one check of the whole text is many times as fast.
        if "\\" in text or "\r" in text or text.count("\t") != 2 * len(rows) or text.count("\n") != len(rows):
            return "".join(["\t".join(map(_copy_text, cells_of(row))) + "\n" for row in rows])
        return text

    def _copy(self, cursor: Any, sql: str, text: str) -> None:
        with self.connection.wrap_database_errors:
            if hasattr(cursor, "copy_expert"):  # psycopg2
                cursor.copy_expert(sql, io.StringIO(text))
                return
            with cursor.copy(sql) as copy:
                copy.write(text)


class _Days(dict[int, str]):
    """Days since 1970 as text, cached: expiries fall on few days, and formatting a day takes longest."""

    def __missing__(self, day: int) -> str:
        text = self[day] = str(dt.date.fromordinal(_FIRST_DAY + day))
        return text

    def text(self, moment: int) -> str:
        """Return microseconds of Unix time as the text of a timestamp."""
        seconds, part = divmod(moment, MICROSECONDS_PER_SECOND)
        day, second = divmod(seconds, 86_400)
        return f"{self[day]} {second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}.{part:06}+00"


def _are_plain(lines: Sequence[Sequence[Any]]) -> bool:
    return all(_PLAIN.issuperset(map(type, line)) for line in lines)


def _copy_text(cell: Any) -> str:
    if cell is None:
        return "\\N"
    text = str(cell)
    # Most texts need no escaping, and this check is twenty times as fast.
    if "\\" in text or "\t" in text or "\n" in text or "\r" in text:
        return text.translate(_ESCAPES)
    return text
