"""SQLite: checksums of rows, with functions of ours where SQL has none."""

from __future__ import annotations

import decimal
import struct
from collections.abc import Sequence
from typing import Any

from django.conf import settings

from ...tables import Column, Kind, StoredColumn
from ..base.digests import LONGEST_TEXT, Checksum, Digests, local_times_agree, numbers_of, sha256
from .values import CLASSES, DIGITS

ROUNDED = decimal.Context(prec=DIGITS)


class SQLiteDigests(Digests):
    """Checksums by Python's SHA-256; a value of a class that its column should not hold gets a text of its own."""

    def prepare(self) -> None:
        own = self.connection.connection
        own.create_function("migrator_float", 1, _float, deterministic=True)
        own.create_function("migrator_decimal", 2, _decimal, deterministic=True)
        own.create_function("migrator_digest", 1, _digest, deterministic=True)
        own.create_aggregate("migrator_checksum", 1, _Sum)

    def plain_text(self, column: Column, stored: StoredColumn) -> str | None:
        text = self._plain(column, self.quote(column.name))
        return None if text is None else self._if_of_its_class(column, text)

    def _plain(self, column: Column, name: str) -> str | None:
        match column.kind:
            case Kind.INTEGER | Kind.BOOLEAN | Kind.DURATION:
                return f"CAST({name} AS TEXT)"
            case Kind.FLOAT:
                return f"migrator_float({name})"
            case Kind.DECIMAL:
                return f"migrator_decimal({name}, {getattr(column.field, 'decimal_places', 0)})"
            case Kind.UUID:
                return f"lower(replace({name}, '-', ''))"
            case Kind.DATE | Kind.ADDRESS:
                return name
            case Kind.TIME:
                return _to_microseconds(name, len("00:00:00.000000"))
            case Kind.DATETIME if local_times_agree(self.connection, uses_time_zones=settings.USE_TZ):
                return _to_microseconds(name, len("0001-01-01 00:00:00.000000"))
        return None

    def any_text(self, column: Column, stored: StoredColumn) -> str | None:
        name = self.quote(column.name)
        if column.kind is Kind.BINARY:
            return self._if_of_its_class(column, f"lower(hex({name}))")
        return self._if_of_its_class(column, name) if column.kind is Kind.TEXT else None

    def raw_text(self, column: Column, stored: StoredColumn) -> str | None:
        name = self.quote(column.name)
        as_stored = f"WHEN 'blob' THEN hex({name}) WHEN 'real' THEN migrator_float({name}) ELSE {name}"
        return f"typeof({name}) || CASE typeof({name}) WHEN 'null' THEN NULL {as_stored} END"

    def _if_of_its_class(self, column: Column, text: str) -> str:
        name = self.quote(column.name)
        is_right = f"WHEN typeof({name}) IN ({CLASSES[column.kind]}) THEN {text}"
        return f"CASE WHEN {name} IS NULL THEN NULL {is_right} ELSE '?' || quote({name}) END"

    def framed(self, text: str) -> str:
        length = f"length(CAST({text} AS BLOB))"
        short, long = f"{length} || ':' || {text}", f"'#' || {self.digest(text)}"
        return f"CASE WHEN {length} > {LONGEST_TEXT} THEN {long} ELSE {short} END"

    def joined(self, texts: Sequence[str]) -> str:
        return " || ".join(f"({text})" for text in texts)

    def digest(self, text: str) -> str:
        return f"migrator_digest(CAST({text} AS BLOB))"

    def checksum(self, text: str, table: str, where: str, params: Sequence[object]) -> Checksum:
        sql = f"SELECT migrator_checksum(CAST({text} AS BLOB)) FROM {self.quote(table)}{where}"
        sums = self.fetch_value(sql, params)  # NULL where there is no row
        return Checksum(*map(int, sums.split())) if sums else Checksum(0, 0, 0)


class _Sum:
    def __init__(self) -> None:
        self._rows = self._first = self._second = self._undigested = 0

    def step(self, text: bytes | None) -> None:
        self._rows += 1
        if text is None:
            self._undigested += 1
            return
        first, second = numbers_of(sha256(text))
        self._first += first
        self._second += second

    def finalize(self) -> str:
        return f"{self._rows} {self._first} {self._second} {self._undigested}"


def _digest(text: bytes | None) -> str | None:
    return None if text is None else sha256(text).hex()


def _float(value: Any) -> str | None:
    return struct.pack(">d", value).hex() if isinstance(value, float | int) else None


def _decimal(value: Any, places: int) -> str | None:
    if not isinstance(value, float | int):
        return None
    exact = ROUNDED.create_decimal_from_float(value)
    return "0" if not exact else f"{exact.normalize(decimal.Context(prec=decimal.MAX_PREC)):f}"


def _to_microseconds(name: str, length: int) -> str:
    """Give a fraction of a second all its digits: without any it is stored when all are zero."""
    filled = f"substr({name} || CASE WHEN instr({name}, '.') THEN '' ELSE '.' END || '000000', 1, {length})"
    return f"CASE WHEN length({name}) > {length} THEN {name} ELSE {filled} END"
