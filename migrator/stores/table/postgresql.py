"""Keyed tables of PostgreSQL: COPY where no key is there, else one insert that tells which keys it wrote."""

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

# No text that PostgreSQL holds has a control character by habit, and where one has it, arrays are used.
_SEPARATOR = "\x1f"
_ROWS_PER_INSERT = 1000
_FIRST_DAY = dt.date(1970, 1, 1).toordinal()
_TEMPORARY = "migrator_keyed_rows"
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
# What COPY reads as Python spells it; of anything else the driver knows how.
_PLAIN = frozenset(
    {str, int, float, bool, Decimal, UUID, dt.datetime, dt.date, dt.time, IPv4Address, IPv6Address, type(None)}
)


class PostgreSQLTable(KeyedTable):
    """Batches are of one transaction each, so that a pooler in transaction mode may sit between."""

    clock_sql = "SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint"

    def takes_address(self, text: str) -> bool:
        try:
            address = ip_address(text)
        except ValueError:
            return False
        return getattr(address, "scope_id", None) is None

    def identity(self) -> str:
        # All hold for any user, through any address and through a pooler; aliases may look in different schemas.
        sql = (
            "SELECT pg_postmaster_start_time(), (SELECT oid FROM pg_database WHERE datname = current_database()),"
            " to_regclass(%s)::oid"
        )
        started, database, table = self._rows(sql, [self.table])[0]
        return f"{self.connection.vendor}:{started}:{database}:{table or self.layout.table}"

    def _is_there(self) -> bool:
        # The name may have a schema before it, and that need not be in the search path.
        return self._rows("SELECT to_regclass(%s)", [self.table])[0][0] is not None

    def blind_spot(self, table: str | None = None) -> str | None:
        # Asked before anything is read, for all of it; what comes up later, _demand_all() finds.
        name = self.table if table is None else self.connection.ops.quote_name(table)
        sql = "SELECT current_user FROM to_regclass(%s) AS found WHERE row_security_active(found)"
        if not (found := self._rows(sql, [name])):
            return None
        return (
            f"row-level security may hide rows of its table {name} from user {found[0][0]!r}; connect as a superuser, "
            "as a role with BYPASSRLS, or, where policies are not forced, as the owner of the table"
        )

    def _demand_all(self) -> None:
        # For this transaction alone: behind a pooler, others would get the session with it. One that somebody else
        # began would keep it to its end.
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
                raise Refused(f"Not all rows can be seen any more: {reason}. What was written stays.") from error
            raise

    def _expiry_read(self) -> str:
        # A moment takes the driver longer to make than all else in the row.
        return f"(EXTRACT(EPOCH FROM {self.expires}) * 1000000)::bigint"

    def _where_keys(self, keys: Sequence[str]) -> tuple[str, list[Any]]:
        joined = _SEPARATOR.join(keys)
        if joined.count(_SEPARATOR) != len(keys) - 1:
            return f"{self.key} = ANY(%s)", [list(keys)]
        # One text is spelled and read faster than an array of texts.
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
        """Give statements that insert some rows each, with their parameters."""
        line = f"({', '.join(['%s'] * len(self.layout.names()))})"
        for start in range(0, len(rows), _ROWS_PER_INSERT):
            group = rows[start : start + _ROWS_PER_INSERT]
            sql = f"INSERT INTO {self.table} AS kept ({self.columns}) VALUES {', '.join([line] * len(group))}{and_then}"
            yield sql, [*chain.from_iterable(map(self._cells, group))]

    def _add(self, rows: Sequence[KeyedRow]) -> set[str]:
        names = [self.value, self.expires, *map(self.connection.ops.quote_name, self._more_names())]
        taken = ", ".join(f"{name} = EXCLUDED.{name}" for name in names)
        over_expired = f" ON CONFLICT ({self.key}) DO UPDATE SET {taken} WHERE kept.{self.expires} <= %s"
        written: set[str] = set()
        for sql, cells in self._inserts(rows, f"{over_expired} RETURNING {self.key}"):
            written.update(key for (key,) in self._rows(sql, [*cells, self.moment(now())]))
        return written

    @cached_property
    def _can_make_temporary_tables(self) -> bool:
        return bool(self._rows("SELECT has_database_privilege(current_database(), 'TEMPORARY')", [])[0][0])

    def replace(self, pairs: Sequence[tuple[KeyedRow, KeyedRow]]) -> set[str]:
        # One statement is less than a table for it.
        if len(pairs) == 1 or not self._can_make_temporary_tables:
            return super().replace(pairs)
        names = [self.value, self.expires, *map(self.connection.ops.quote_name, self._more_names())]
        taken = ", ".join(f"{name} = wanted.{name}" for name in names)
        lines = [[*self._cells(new), seen.value, self.moment(seen.expires)] for seen, new in pairs]
        if not _are_plain(lines):
            return super().replace(pairs)
        return self._compared(f"UPDATE {self.table} AS kept SET {taken} FROM", lines)

    def discard(self, rows: Sequence[KeyedRow]) -> set[str]:
        if len(rows) == 1 or not self._can_make_temporary_tables:
            return super().discard(rows)
        # Of what is deleted no column beside is looked at.
        beside = [None] * len(self.layout.more)
        lines = [
            [seen.key, seen.value, self.moment(seen.expires), *beside, seen.value, self.moment(seen.expires)]
            for seen in rows
        ]
        return self._compared(f"DELETE FROM {self.table} AS kept USING", lines)

    def _compared(self, action: str, lines: Sequence[Sequence[Any]]) -> set[str]:
        """Act in one statement on the rows that are still as seen; return their keys."""
        if not lines:
            return set()
        temporary = self.connection.ops.quote_name(_TEMPORARY)
        with transaction.atomic(using=self.alias), self.connection.cursor() as cursor:
            self._demand_all()
            cursor.execute(
                f"CREATE TEMPORARY TABLE {temporary} ON COMMIT DROP AS SELECT {self.columns}, "
                f"{self.value} AS seen_value, {self.expires} AS seen_expires FROM {self.table} WITH NO DATA"
            )
            text = "".join(["\t".join(map(_spelled, line)) + "\n" for line in lines])
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
        """Spell rows for COPY; None where only the driver can."""
        cells_of = self._cells
        if self.layout.more or not settings.USE_TZ:
            lines = [cells_of(row) for row in rows]
            return "".join(["\t".join(map(_spelled, line)) + "\n" for line in lines]) if _are_plain(lines) else None
        day_of = _Days().text
        text = "".join([f"{key}\t{value}\t{day_of(expires)}\n" for key, value, expires, _ in rows])
        # Signed text and keys hold nothing to escape, and to look once is many times as fast.
        if "\\" in text or "\r" in text or text.count("\t") != 2 * len(rows) or text.count("\n") != len(rows):
            return "".join(["\t".join(map(_spelled, cells_of(row))) + "\n" for row in rows])
        return text

    def _copy(self, cursor: Any, sql: str, text: str) -> None:
        with self.connection.wrap_database_errors:
            if hasattr(cursor, "copy_expert"):  # psycopg2
                cursor.copy_expert(sql, io.StringIO(text))
                return
            with cursor.copy(sql) as copy:
                copy.write(text)


class _Days(dict[int, str]):
    """Days since 1970 as text: expiries fall on few days, and days take longest to spell."""

    def __missing__(self, day: int) -> str:
        text = self[day] = str(dt.date.fromordinal(_FIRST_DAY + day))
        return text

    def text(self, moment: int) -> str:
        """Spell microseconds of Unix time."""
        seconds, part = divmod(moment, MICROSECONDS_PER_SECOND)
        day, second = divmod(seconds, 86_400)
        return f"{self[day]} {second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}.{part:06}+00"


def _are_plain(lines: Sequence[Sequence[Any]]) -> bool:
    return all(_PLAIN.issuperset(map(type, line)) for line in lines)


def _spelled(cell: Any) -> str:
    if cell is None:
        return "\\N"
    text = str(cell)
    # Most texts need it not, and to look is twenty times as fast.
    if "\\" in text or "\t" in text or "\n" in text or "\r" in text:
        return text.translate(_ESCAPES)
    return text
