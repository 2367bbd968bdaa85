"""MySQL and MariaDB: a strict session, multi-row INSERT, and no warning that is not an error."""

from __future__ import annotations

import contextlib
import datetime
import decimal
import hashlib
import math
import random
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

from django.conf import settings
from django.db import DatabaseError

from ..tables import Column, Kind, StoredColumn, Table
from .base import (
    FIRST_FETCH,
    Convert,
    Counter,
    Endpoint,
    Engine,
    Fault,
    Limit,
    LimitName,
    Row,
    Severity,
    Suspicion,
    TakenOff,
    Target,
    Unstorable,
    Writer,
    cause_of,
    next_fetch,
    prepared,
)
from .conversions import BIGINT, datetime_dumper, duration_limit, integer_limit, microseconds, within

# Everything strict, escapes by backslash, and a key of zero that stays zero.
SQL_MODE = "STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_AUTO_VALUE_ON_ZERO"
STATEMENT_BYTES = 1024 * 1024

BITS: Mapping[str, int] = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}
TEXTS = ("char", "varchar", "tinytext", "text", "mediumtext", "longtext")
BLOBS = ("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob")

STORES: Mapping[Kind, tuple[str, ...]] = {
    Kind.INTEGER: tuple(BITS),
    Kind.BOOLEAN: ("tinyint",),
    Kind.FLOAT: ("double",),
    Kind.DECIMAL: ("decimal",),
    Kind.TEXT: TEXTS,
    Kind.JSON: ("json", "longtext"),
    Kind.BINARY: BLOBS,
    Kind.DATE: ("date",),
    Kind.TIME: ("time",),
    Kind.DATETIME: ("datetime", "timestamp"),
    Kind.DURATION: ("bigint",),
    Kind.UUID: ("char", "uuid"),
    Kind.ADDRESS: ("char", "varchar"),
}

COLUMNS_SQL = """
SELECT column_name, data_type, column_type, is_nullable, column_default, extra, character_maximum_length,
       character_octet_length, numeric_precision, numeric_scale, datetime_precision, collation_name,
       character_set_name, generation_expression
FROM information_schema.columns
WHERE table_schema = DATABASE() AND table_name = %s
ORDER BY ordinal_position
"""

RETRIED = (1040, 1053, 1205, 1213, 1927, 2002, 2003, 2006, 2013, 2055)
DATA = (
    1048, 1062, 1169, 1216, 1264, 1265, 1292, 1364, 1366, 1367, 1406, 1411, 1416, 1451, 1452, 1525, 1557, 1586,
    1690, 3140, 3141, 3156, 3819, 4025, 4078,
)  # fmt: skip
NAMED_COLUMN = re.compile(r"column ['`](?:[^'`]*`\.`)*([^'`]+)['`]", re.IGNORECASE)
NAMED_KEY = re.compile(r"for key '(?:[^']*\.)?([^'.]+)'")
NAMED_CHECK = re.compile(r"CONSTRAINT `(?:[^`]*\.)?([^`.]+)` failed")
SHOWN_VALUE = re.compile(r"(entry|value:?) '.*?'(?= for)", re.DOTALL)

TABLE_LINE = re.compile(r"^\s+(?P<rest>(?:(?P<index>KEY)|CONSTRAINT) `(?P<name>(?:[^`]|``)+)` (?P<what>.*?)),?$")


class MySQL(Engine):
    """MySQL 8.0.11 and MariaDB 10.5 and newer, through mysqlclient. Needs rights on its own database only."""

    vendor = "mysql"
    can_switch_off_foreign_keys = True

    @property
    def display_name(self) -> str:  # type: ignore[override]
        return "MariaDB" if self.connection.mysql_is_mariadb else "MySQL"  # type: ignore[attr-defined]

    # -- the connection -------------------------------------------------------------------------------------

    def describe(self) -> Endpoint:
        version = ".".join(map(str, self.connection.mysql_version))  # type: ignore[attr-defined]
        given = self.connection.settings_dict
        host = given["HOST"] or "the local socket"
        if given["PORT"] and not str(host).startswith("/"):
            host = f"{host}:{given['PORT']}"
        database = str(self.fetch_value("SELECT DATABASE()"))
        return Endpoint(self.alias, f"{self.display_name} {version}", database, host)

    def _open(self) -> None:
        self.connection.ensure_connection()
        # The server ends a session that waits for its client this long; a run may well have to.
        for name, seconds in (("wait_timeout", 28_800), ("net_write_timeout", 3_600), ("net_read_timeout", 3_600)):
            self.execute(f"SET SESSION {name} = {seconds}")

    def open_source(self) -> None:
        self._open()
        self.execute("SET SESSION TRANSACTION READ ONLY")
        self.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        self.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
        others = self.fetch_all(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() "
            "AND table_type = 'BASE TABLE' AND engine <> 'InnoDB' ORDER BY table_name"
        )
        if others:
            names = ", ".join(row[0] for row in others)
            self.snapshot_note = f"Tables without transactions are not part of the snapshot: {names}."

    def open_destination(self) -> None:
        self._open()
        self.execute(f"SET SESSION sql_mode = '{SQL_MODE}'")
        self.execute("SET SESSION foreign_key_checks = 0")
        mode = str(self.fetch_value("SELECT @@SESSION.sql_mode"))
        if "STRICT_ALL_TABLES" not in mode:
            raise DatabaseError(f"the session's sql_mode could not be made strict; it is {mode!r}")
        self.connection.__dict__.pop("sql_mode", None)  # Django's cached property

    def close(self) -> None:
        super().close()
        self.connection.__dict__.pop("sql_mode", None)

    def is_same_database(self, other: Engine) -> bool:
        if self.fetch_value("SELECT DATABASE()") != other.fetch_value("SELECT DATABASE()"):
            return False
        name = f"migrator-probe-{random.SystemRandom().getrandbits(64):x}"
        self.fetch_value("SELECT GET_LOCK(%s, 0)", (name,))
        try:
            return not other.fetch_value("SELECT IS_FREE_LOCK(%s)", (name,))
        finally:
            self.fetch_value("SELECT RELEASE_LOCK(%s)", (name,))

    def _lock_name(self) -> str:
        # Such locks are the whole server's, and their names hold 64 characters.
        database = str(self.fetch_value("SELECT DATABASE()"))
        return f"migrator-{hashlib.sha256(database.encode()).hexdigest()[:48]}"

    def lock(self) -> bool:
        return bool(self.fetch_value("SELECT GET_LOCK(%s, 0)", (self._lock_name(),)) == 1)

    def unlock(self) -> None:
        self.fetch_value("SELECT RELEASE_LOCK(%s)", (self._lock_name(),))

    # -- the schema -----------------------------------------------------------------------------------------

    def stored_columns(self, table: str) -> dict[str, StoredColumn]:
        return {row[0]: _stored_column(row) for row in self.fetch_all(COLUMNS_SQL, (table,))}

    def triggers(self, tables: Sequence[str]) -> list[str]:
        rows = self.fetch_all(
            "SELECT event_object_table, trigger_name FROM information_schema.triggers "
            "WHERE trigger_schema = DATABASE() AND event_manipulation = 'INSERT' ORDER BY 1, 2"
        )
        return [f"{table}.{name}" for table, name in rows if table in set(tables)]

    # -- values ---------------------------------------------------------------------------------------------

    def stores(self, kind: Kind, stored: StoredColumn) -> bool:
        return stored.type in STORES.get(kind, ())

    def storage(self, stored: StoredColumn) -> str:
        for family, types in (("text", TEXTS), ("binary", BLOBS), ("integer", tuple(BITS))):
            if stored.type in types:
                return family
        return stored.declared

    def read_expression(self, column: Column, stored: StoredColumn) -> str:
        if column.kind in (Kind.DATE, Kind.DATETIME, Kind.TIME):
            # The driver gives None for a zero date, as it does for NULL.
            return f"CAST({self.quote(column.name)} AS CHAR)"
        return self.quote(column.name)

    def as_text(self, name: str) -> str:
        return f"CAST({self.quote(name)} AS CHAR)"

    def loader(self, column: Column, stored: StoredColumn) -> Convert | None:
        match column.kind:
            case Kind.BOOLEAN:
                return _boolean
            case Kind.DATE:
                return _parsed(datetime.date.fromisoformat, "date")
            case Kind.TIME:
                return _parsed(datetime.time.fromisoformat, "time of day")
            case Kind.DATETIME:
                return _parsed(self._datetime_loader(), "date and time")
            case Kind.DURATION:
                return _duration
            case Kind.UUID:
                return _parsed(uuid.UUID, "UUID")
        return None

    def _datetime_loader(self) -> Callable[[str], datetime.datetime]:
        zone = self.connection.timezone if settings.USE_TZ else None
        return lambda text: datetime.datetime.fromisoformat(text).replace(tzinfo=zone)

    def dumper(self, column: Column, stored: StoredColumn) -> Convert | None:
        match column.kind:
            case Kind.DATETIME:
                return datetime_dumper(self.connection.timezone)
            case Kind.DURATION:
                return microseconds
            case Kind.UUID:
                return str if stored.type == "uuid" else attrgetter("hex")
        return None

    def limits(self, column: Column, stored: StoredColumn) -> list[Limit]:
        limits = []
        kind = column.kind
        if kind is Kind.INTEGER:
            limits.append(integer_limit(self.connection, column, _range(stored), stored.declared))
        elif kind is Kind.DURATION:
            limits.append(duration_limit())
        elif kind in (Kind.TEXT, Kind.BINARY, Kind.JSON):
            if stored.max_length is not None:
                reason = f"longer than the {stored.max_length} characters of {stored.declared}"
                limits.append(_limit(LimitName.LONGER_THAN, reason, stored.max_length))
            elif stored.max_bytes is not None:
                reason = f"larger than the {stored.max_bytes} bytes of {stored.declared}"
                limits.append(_limit(LimitName.LARGER_THAN, reason, stored.max_bytes))
            if stored.is_three_byte_utf8:
                reason = "a character of four bytes, and the column's character set has three"
                limits.append(
                    Limit(LimitName.FOUR_BYTE_CHARACTER, (), reason, "Convert the table to utf8mb4 in the destination.")
                )
        elif kind is Kind.FLOAT:
            limits.append(_limit(LimitName.NOT_A_NUMBER, f"{self.display_name} has no NaN"))
            limits.append(_limit(LimitName.INFINITE, f"{self.display_name} has no infinity"))
        elif kind is Kind.DECIMAL:
            precision, scale = stored.precision or 10, stored.scale or 0
            limits.append(_limit(LimitName.NOT_A_NUMBER, f"{self.display_name} has no NaN"))
            limits.append(
                _limit(LimitName.MORE_WHOLE_DIGITS_THAN, f"too large for {stored.declared}", precision - scale)
            )
            limits.append(_limit(LimitName.MORE_DECIMALS_THAN, f"would be rounded by {stored.declared}", scale))
        elif kind in (Kind.DATETIME, Kind.TIME) and stored.precision is not None and stored.precision < 6:
            reason = f"has a finer fraction of a second than {stored.declared} keeps"
            limits.append(_limit(LimitName.FRACTIONAL_SECONDS, reason, stored.precision))
        return limits

    def violation(self, limit: Limit, column: str, stored: StoredColumn) -> str | None:
        arguments = limit.arguments
        match limit.name:
            case LimitName.LONGER_THAN:
                if stored.max_length is not None and stored.max_length <= arguments[0]:
                    return None
                return f"CHAR_LENGTH({column}) > {arguments[0]}"
            case LimitName.LARGER_THAN:
                return f"LENGTH({column}) > {arguments[0]}"
            case LimitName.OUTSIDE:
                if within(limit, *_range(stored)):
                    return None
                return f"{column} NOT BETWEEN {arguments[0]} AND {arguments[1]}"
            case LimitName.NUL_CHARACTER:
                return f"LOCATE(x'00', {column}) > 0"
            case LimitName.NUL_ESCAPE:
                return rf"LOCATE('\\u0000', REPLACE({column}, '\\\\', '')) > 0"
            case LimitName.FOUR_BYTE_CHARACTER:
                if stored.is_three_byte_utf8:
                    return None
                return f"CONVERT(CONVERT({column} USING utf8mb3) USING utf8mb4) <> {column}"
            case LimitName.MORE_DIGITS_THAN:
                if stored.precision is not None and stored.precision <= arguments[0]:
                    return None
                return f"LENGTH(TRIM(BOTH '0' FROM REPLACE(ABS({column}), '.', ''))) > {arguments[0]}"
            case LimitName.MORE_WHOLE_DIGITS_THAN:
                if (stored.precision or 0) - (stored.scale or 0) <= arguments[0]:
                    return None
                return f"ABS({column}) >= POW(10, {arguments[0]})"
            case LimitName.MORE_DECIMALS_THAN:
                if (stored.scale or 0) <= arguments[0]:
                    return None
                return f"{column} <> ROUND({column}, {arguments[0]})"
            case LimitName.FRACTIONAL_SECONDS:
                if stored.precision is not None and stored.precision <= arguments[0]:
                    return None
                return f"MICROSECOND({column}) %% {10 ** (6 - arguments[0])} <> 0"
        return None  # neither NaN nor infinity exists here

    def suspicions(self, column: Column, stored: StoredColumn) -> list[Suspicion]:
        name = self.quote(column.name)
        if column.kind in (Kind.DATE, Kind.DATETIME):
            return [
                Suspicion(
                    f"YEAR({name}) = 0 OR MONTH({name}) = 0 OR DAYOFMONTH({name}) = 0",
                    "a zero date, which Django reads as NULL",
                    "Set these values to NULL or to a real date in the source.",
                )
            ]
        if column.kind is Kind.BOOLEAN:
            return [
                Suspicion(f"{name} NOT IN (0, 1)", "neither 0 nor 1 in a boolean column", "Set these values to 0 or 1.")
            ]
        if column.kind is Kind.TIME:
            return [
                Suspicion(
                    f"{name} NOT BETWEEN '00:00:00' AND '23:59:59.999999'",
                    "no time of day: MySQL's TIME also holds spans",
                    "Set these values to a time from 00:00 to 23:59:59.999999.",
                )
            ]
        return []

    # -- rows -----------------------------------------------------------------------------------------------

    def stream(self, sql: str, params: Sequence[Any]) -> Iterator[list[Row]]:
        from MySQLdb.cursors import SSCursor

        self.connection.ensure_connection()
        size = FIRST_FETCH
        with (
            self.connection.wrap_database_errors,
            contextlib.closing(self.connection.connection.cursor(SSCursor)) as cursor,
        ):
            cursor.execute(*prepared(sql, params))
            while rows := cursor.fetchmany(size):
                size = next_fetch(rows, size)
                yield rows

    def writer(self, table: str, targets: Sequence[Target]) -> Writer:
        return InsertWriter(self, table, targets)

    def empty(self, tables: Sequence[str]) -> None:
        for table in tables:
            self.execute(f"TRUNCATE TABLE {self.quote(table)}")

    # -- what is taken off while rows are loaded ----------------------------------------------------------------

    def removable(self, table: Table, *, indexes: bool) -> list[TakenOff]:
        if not indexes:
            return []
        quote = self.connection.ops.quote_name
        owner = quote(table.name)
        definition = self.fetch_all(f"SHOW CREATE TABLE {self.quote(table.name)}")[0][1]
        found = [match for line in definition.split("\n") if (match := TABLE_LINE.match(line))]
        keys = [match for match in found if match["index"]]
        foreign = [match for match in found if match["what"].startswith("FOREIGN KEY")]
        # Put back in this order: a foreign key needs its index, and with checks off it is not looked at again.
        return [
            TakenOff(
                table.name,
                "foreign key",
                match["name"].replace("``", "`"),
                f"ALTER TABLE {owner} DROP FOREIGN KEY `{match['name']}`",
                f"ADD {match['rest']}",
            )
            for match in foreign
        ] + [
            TakenOff(
                table.name,
                "index",
                match["name"].replace("``", "`"),
                f"ALTER TABLE {owner} DROP INDEX `{match['name']}`",
                f"ADD {match['rest']}",
            )
            for match in keys
        ]

    def put_back(self, items: Sequence[TakenOff]) -> None:
        # One ALTER a table: each of its own would read the whole table once more. Indexes first.
        missing = [item for item in items if not self.exists(item)]
        for kind in ("index", "foreign key"):
            of_kind = sorted((item for item in missing if item.kind == kind), key=attrgetter("table"))
            for table, group in groupby(of_kind, key=attrgetter("table")):
                changes = ", ".join(item.put_back.replace("%", "%%") for item in group)
                self.execute(f"ALTER TABLE {self.quote(table)} {changes}")

    def exists(self, item: TakenOff) -> bool:
        if item.kind == "index":
            sql = (
                "SELECT 1 FROM information_schema.statistics WHERE table_schema = DATABASE() "
                "AND table_name = %s AND index_name = %s LIMIT 1"
            )
        else:
            sql = (
                "SELECT 1 FROM information_schema.table_constraints WHERE table_schema = DATABASE() "
                "AND table_name = %s AND constraint_name = %s AND constraint_type = 'FOREIGN KEY'"
            )
        return bool(self.fetch_all(sql, (item.table, item.name)))

    def counters(self, table: Table) -> list[Counter]:
        if not self.connection.mysql_is_mariadb:  # type: ignore[attr-defined]
            self.execute("SET SESSION information_schema_stats_expiry = 0")
        value = self.fetch_value(
            "SELECT auto_increment FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = %s",
            (table.name,),
        )
        return [] if value is None or len(table.key) != 1 else [Counter(table.name, table.key[0], int(value))]

    # -- errors -----------------------------------------------------------------------------------------------

    def severity(self, error: BaseException) -> Severity:
        code = _code(error)
        if code in RETRIED:
            return Severity.RETRY
        if code is None or code in DATA or isinstance(error, _Warned):
            return Severity.DATA
        return Severity.FATAL

    def fault(self, error: BaseException, table: str) -> Fault:
        code = _code(error)
        if code is None:
            return Fault(type(error).__name__, "the driver refused the value")
        message = SHOWN_VALUE.sub(r"\1 (value)", str(cause_of(error).args[1]))
        found = NAMED_COLUMN.search(message) or NAMED_CHECK.search(message)
        column = found[1] if found else self._column_of_key(message, table)
        return Fault(str(code), message, column)

    def _column_of_key(self, message: str, table: str) -> str | None:
        found = NAMED_KEY.search(message)
        if not found:
            return None
        with contextlib.suppress(DatabaseError):
            rows = self.fetch_all(
                "SELECT column_name FROM information_schema.statistics "
                "WHERE table_schema = DATABASE() AND table_name = %s AND index_name = %s ORDER BY seq_in_index",
                (table, found[1]),
            )
            return ", ".join(row[0] for row in rows) or None
        return None


class InsertWriter(Writer):
    """Loads rows by INSERT statements of many rows, each as large as the server takes without effort."""

    def __init__(self, engine: MySQL, table: str, targets: Sequence[Target]) -> None:
        self._engine = engine
        names = ", ".join(engine.connection.ops.quote_name(target.name) for target in targets)
        self._head = f"INSERT INTO {engine.connection.ops.quote_name(table)} ({names}) VALUES\n".encode()
        self._placeholders = [target.placeholder for target in targets]
        self._packet = int(engine.fetch_value("SELECT @@max_allowed_packet"))
        self._most = min(STATEMENT_BYTES, self._packet // 2)

    def write(self, rows: Sequence[Row]) -> int:
        literal = self._engine.connection.connection.string_literal
        columns = [
            [render(value, literal) for value in column]
            if placeholder is None
            else [_wrapped(placeholder, render(value, literal)) for value in column]
            for placeholder, column in zip(self._placeholders, zip(*rows, strict=True), strict=True)
        ]
        sent = 0
        part: list[bytes] = []
        size = 0
        for values in map(b",".join, zip(*columns, strict=True)):
            if part and size + len(values) > self._most:
                sent += self._send(part)
                part, size = [], 0
            part.append(values)
            size += len(values) + 4
        return sent + self._send(part)

    def _send(self, part: list[bytes]) -> int:
        statement = self._head + b"(" + b"),\n(".join(part) + b")"
        if len(statement) >= self._packet:
            raise Unstorable(
                "row",
                f"its {len(statement):,} bytes are more than the server's max_allowed_packet of {self._packet:,}",
                "Raise max_allowed_packet on the server.",
            )
        connection = self._engine.connection
        with connection.wrap_database_errors, contextlib.closing(connection.connection.cursor()) as cursor:
            cursor.execute(statement)
            if connection.connection.warning_count():
                cursor.execute("SHOW WARNINGS")
                level, code, message = cursor.fetchone()
                raise _Warned(code, f"{level}: {message}")
        return len(statement)


class _Warned(DatabaseError):
    """A warning of the server, which changed a value: as good as an error here."""


def render(value: Any, literal: Callable[[bytes], bytes]) -> bytes:
    """Render a value as an SQL literal, by its class."""
    cls = type(value)
    if value is None:
        return b"NULL"
    if cls is str:
        return literal(value.encode())
    if cls is int:
        return b"%d" % value
    if cls is bool:
        return b"1" if value else b"0"
    if cls is float:
        if not math.isfinite(value):
            raise Unstorable("float", "neither NaN nor infinity can be stored", "Correct the value.")
        # With an exponent it is a floating-point literal; without one a decimal, in which -0.0 loses its sign.
        text = repr(value)
        return (text if "e" in text else text + "e0").encode()
    if cls is decimal.Decimal:
        return f"{value:f}".encode()
    if isinstance(value, bytes | bytearray | memoryview):
        return b"_binary" + literal(bytes(value))
    if isinstance(value, uuid.UUID | datetime.date | datetime.time | datetime.datetime):
        return literal(str(value).encode())
    if isinstance(value, datetime.timedelta):
        return b"%d" % microseconds(value)
    raise Unstorable(cls.__name__, "the field gives a value that has no SQL literal", "Leave the field out.")


def _wrapped(placeholder: str, rendered: bytes) -> bytes:
    return placeholder.encode().replace(b"%s", rendered).replace(b"%%", b"%")


def _stored_column(row: Row) -> StoredColumn:
    (name, data_type, declared, nullable, default, extra, length, octets, precision, scale, fraction, collation,
     charset, expression) = row  # fmt: skip
    data_type = data_type.lower()
    is_text = data_type in ("char", "varchar")
    is_sized = data_type in (*TEXTS, *BLOBS) and octets is not None and octets < 2**32 - 1
    return StoredColumn(
        name,
        data_type,
        declared,
        nullable == "YES",
        has_default=default is not None or "auto_increment" in extra.lower(),
        is_generated=bool(expression),
        max_length=int(length) if is_text and length is not None else None,
        max_bytes=int(octets) if is_sized else None,
        precision=int(precision) if precision is not None else None if fraction is None else int(fraction),
        scale=int(scale) if scale is not None else None,
        is_unsigned="unsigned" in declared.lower(),
        ignores_case=bool(collation) and collation.endswith("_ci"),
        is_three_byte_utf8=charset in ("utf8", "utf8mb3"),
    )


def _range(stored: StoredColumn) -> tuple[int, int]:
    bits = BITS.get(stored.type)
    if bits is None:
        return BIGINT
    return (0, 2**bits - 1) if stored.is_unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _limit(name: LimitName, reason: str, *arguments: int) -> Limit:
    return Limit(name, arguments, reason, "Correct these values in the source, or change the field.")


def _code(error: BaseException) -> int | None:
    cause = cause_of(error)
    code = cause.args[0] if len(cause.args) > 1 else None
    return code if isinstance(code, int) else None


def _boolean(value: Any) -> bool:
    if value not in (0, 1):
        raise Unstorable("integer", "neither 0 nor 1 in a boolean column", "Set it to 0 or 1.")
    return bool(value)


def _duration(value: int) -> datetime.timedelta:
    return datetime.timedelta(microseconds=value)


def _parsed(parse: Callable[[str], Any], name: str) -> Convert:
    def load(value: Any) -> Any:
        try:
            return parse(value)
        except (ValueError, TypeError):
            raise Unstorable("text", f"no {name}", "Correct the value.") from None

    return load
