"""Keyed tables of PostgreSQL: COPY into a temporary table, then one insert that tells which keys it wrote."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from django.db import transaction

from ..stores.base import now
from .base import KeyedTable, Row

_TEMPORARY = "migrator_keyed_rows"
_ESCAPES = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


class PostgreSQLTable(KeyedTable):
    """Batches are of one transaction each, so that a pooler in transaction mode may sit between."""

    def identity(self) -> str:
        # Both hold for any user, through any address and through a pooler.
        sql = "SELECT pg_postmaster_start_time(), (SELECT oid FROM pg_database WHERE datname = current_database())"
        started, database = self._rows(sql, [])[0]
        return f"{self.connection.vendor}:{started}:{database}:{self.layout.table}"

    def _expiry_read(self) -> str:
        # A moment takes the driver longer to make than all else in the row.
        return f"(EXTRACT(EPOCH FROM {self.expires}) * 1000000)::bigint"

    def _where_keys(self, keys: Sequence[str]) -> tuple[str, list[Any]]:
        return f"{self.key} = ANY(%s)", [list(keys)]

    def _add(self, rows: Sequence[Row]) -> set[str]:
        temporary = self.connection.ops.quote_name(_TEMPORARY)
        names = [self.value, self.expires, *map(self.connection.ops.quote_name, self._more_names())]
        taken = ", ".join(f"{name} = EXCLUDED.{name}" for name in names)
        with self.connection.cursor() as cursor:
            cursor.execute(
                f"CREATE TEMPORARY TABLE {temporary} ON COMMIT DROP AS "
                f"SELECT {self.columns} FROM {self.table} WITH NO DATA"
            )
            self._copy(cursor, f"COPY {temporary} ({self.columns}) FROM STDIN", self._text(rows))
            cursor.execute(
                f"INSERT INTO {self.table} AS kept ({self.columns}) SELECT {self.columns} FROM {temporary} "
                f"ON CONFLICT ({self.key}) DO UPDATE SET {taken} WHERE kept.{self.expires} <= %s RETURNING {self.key}",
                [self.moment(now())],
            )
            written = {key for (key,) in cursor.fetchall()}
            # Two pages may share a transaction, such as a test's.
            cursor.execute(f"DROP TABLE {temporary}")
        return written

    def _insert(self, rows: Sequence[Row]) -> None:
        values = ", ".join(["%s"] * len(self.layout.names()))
        for row in rows:
            self._execute(f"INSERT INTO {self.table} ({self.columns}) VALUES ({values})", self._cells(row))

    def replace(self, pairs: Sequence[tuple[Row, Row]]) -> set[str]:
        if len(pairs) == 1:  # one statement is less than a table for it
            return super().replace(pairs)
        names = [self.value, self.expires, *map(self.connection.ops.quote_name, self._more_names())]
        taken = ", ".join(f"{name} = wanted.{name}" for name in names)
        lines = [[*self._cells(new), seen.value, self.moment(seen.expires)] for seen, new in pairs]
        return self._compared(f"UPDATE {self.table} AS kept SET {taken} FROM", lines)

    def discard(self, rows: Sequence[Row]) -> set[str]:
        if len(rows) == 1:
            return super().discard(rows)
        lines = [[*self._cells(seen), seen.value, self.moment(seen.expires)] for seen in rows]
        return self._compared(f"DELETE FROM {self.table} AS kept USING", lines)

    def _compared(self, action: str, lines: Sequence[Sequence[Any]]) -> set[str]:
        """Act in one statement on the rows that are still as seen; return their keys."""
        if not lines:
            return set()
        temporary = self.connection.ops.quote_name(_TEMPORARY)
        with transaction.atomic(using=self.alias), self.connection.cursor() as cursor:
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

    def _text(self, rows: Sequence[Row]) -> str:
        return "".join(["\t".join(map(_spelled, self._cells(row))) + "\n" for row in rows])

    def _copy(self, cursor: Any, sql: str, text: str) -> None:
        if hasattr(cursor, "copy_expert"):  # psycopg2
            cursor.copy_expert(sql, io.StringIO(text))
            return
        with cursor.copy(sql) as copy:
            copy.write(text)


def _spelled(cell: Any) -> str:
    if cell is None:
        return "\\N"
    text = str(cell)
    # Signed text and keys never need it, and to look is twenty times as fast.
    if "\\" in text or "\t" in text or "\n" in text or "\r" in text:
        return text.translate(_ESCAPES)
    return text
