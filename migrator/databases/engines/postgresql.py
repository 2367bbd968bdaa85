"""PostgreSQL: one snapshot, COPY both ways, foreign keys and indexes taken off and put back exactly."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import random
import re
import zoneinfo
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.conf import settings
from django.db import DatabaseError, NotSupportedError, transaction
from django.db.models import AutoField

from ..tables import Column, Kind, StoredColumn, Table
from . import postgresql_copy as copying
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
from .conversions import BIGINT, integer_limit, within

RUN_LOCK = 0x6D69_6772_6174_6F72  # "migrator" in ASCII; advisory locks are kept per database

INTEGERS: Mapping[str, tuple[int, int]] = {
    "int2": (-(2**15), 2**15 - 1),
    "int4": (-(2**31), 2**31 - 1),
    "int8": BIGINT,
}

STORES: Mapping[Kind, tuple[str, ...]] = {
    Kind.INTEGER: tuple(INTEGERS),
    Kind.BOOLEAN: ("bool",),
    Kind.FLOAT: ("float8", "float4"),
    Kind.DECIMAL: ("numeric",),
    Kind.TEXT: ("varchar", "text"),
    Kind.JSON: ("jsonb",),
    Kind.BINARY: ("bytea",),
    Kind.DATE: ("date",),
    Kind.TIME: ("time",),
    Kind.DATETIME: ("timestamptz", "timestamp"),
    Kind.DURATION: ("interval",),
    Kind.UUID: ("uuid",),
    Kind.ADDRESS: ("inet",),
}

STORAGE: Mapping[str, str] = {
    "varchar": "text",
    "text": "text",
    "bytea": "binary",
    **dict.fromkeys(INTEGERS, "integer"),
}

COLUMNS_SQL = """
SELECT a.attname, t.typname, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull,
       a.atthasdef OR a.attidentity <> '', a.attgenerated <> '', a.atttypmod,
       t.typname = 'citext' OR COALESCE(NOT c.collisdeterministic, false)
FROM pg_attribute a
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_collation c ON c.oid = a.attcollation
WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""

# Left on: whatever the catalogue's own definition would not bring back whole (a comment, a tablespace, …).
FOREIGN_KEYS_SQL = """
SELECT conrelid::regclass::text, quote_ident(conname), pg_get_constraintdef(c.oid), conname
FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid
WHERE c.conrelid = to_regclass(%s) AND c.contype = 'f' AND c.conparentid = 0
  AND pg_has_role(t.relowner, 'USAGE') AND obj_description(c.oid, 'pg_constraint') IS NULL
ORDER BY conname
"""

INDEXES_SQL = """
SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid), x.relname
FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
WHERE i.indrelid = to_regclass(%s) AND t.relkind = 'r' AND i.indisvalid
  AND NOT i.indisunique AND NOT i.indisprimary AND NOT i.indisexclusion AND NOT i.indisclustered
  AND NOT i.indisreplident AND x.reltablespace = 0 AND pg_has_role(t.relowner, 'USAGE')
  AND obj_description(x.oid, 'pg_class') IS NULL
  AND NOT EXISTS (SELECT 1 FROM pg_constraint c WHERE c.conindid = i.indexrelid AND c.conrelid = i.indrelid)
  AND NOT EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = x.oid AND a.attstattarget > 0)
  AND NOT EXISTS (SELECT 1 FROM pg_inherits h WHERE h.inhrelid = x.oid)
ORDER BY x.relname
"""

SEQUENCE_SQL = """
SELECT COALESCE(
    pg_get_serial_sequence(%s, %s),
    (SELECT substring(pg_get_expr(d.adbin, d.adrelid) FROM 'nextval\\(''(.*)''::regclass\\)')
     FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
     WHERE a.attrelid = to_regclass(%s) AND a.attname = %s)
)
"""

RETRIED = ("40001", "40P01", "55P03", "57P01", "57P02", "57P03", "53300")
COPY_COLUMN = re.compile(r"^COPY .*, line \d+, column (.*?)(?::|$)", re.MULTILINE)
KEY_COLUMNS = re.compile(r"Key \((.*?)\)=")


class PostgreSQL(Engine):
    """PostgreSQL 14 and newer, through psycopg2 or psycopg 3. Needs no superuser."""

    vendor = "postgresql"
    display_name = "PostgreSQL"
    is_raw_exact = True
    raw_kind = Kind.TEXT  # every type has a text form that its own input reads back unchanged

    # -- the connection -------------------------------------------------------------------------------------

    def describe(self) -> Endpoint:
        version = str(self.fetch_value("SELECT current_setting('server_version')")).split()[0]
        database = str(self.fetch_value("SELECT current_database()"))
        given = self.connection.settings_dict
        host = given["HOST"] or "the local socket"
        return Endpoint(
            self.alias, f"{self.display_name} {version}", database, f"{host}:{given['PORT']}" if given["PORT"] else host
        )

    def _open(self) -> None:
        self.connection.ensure_connection()
        for name, value in (
            ("statement_timeout", "0"),
            ("idle_in_transaction_session_timeout", "0"),
            ("extra_float_digits", "1"),
            ("bytea_output", "hex"),
            ("DateStyle", "ISO, YMD"),
            ("IntervalStyle", "postgres"),
            ("cursor_tuple_fraction", "1"),
        ):
            self.execute("SELECT set_config(%s, %s, false)", (name, value))

    def open_source(self) -> None:
        self._open()
        self.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
        self.connection.set_autocommit(False)
        self.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        self.execute("SELECT 1")  # the first query is what takes the snapshot

    def open_destination(self) -> None:
        self._open()

    def is_same_database(self, other: Engine) -> bool:
        number = random.SystemRandom().getrandbits(62)
        self.fetch_value("SELECT pg_advisory_lock(%s)", (number,))
        try:
            if other.fetch_value("SELECT pg_try_advisory_lock(%s)", (number,)):
                other.fetch_value("SELECT pg_advisory_unlock(%s)", (number,))
                return False
            return True
        finally:
            self.fetch_value("SELECT pg_advisory_unlock(%s)", (number,))

    def lock(self) -> bool:
        return bool(self.fetch_value("SELECT pg_try_advisory_lock(%s)", (RUN_LOCK,)))

    def unlock(self) -> None:
        self.fetch_value("SELECT pg_advisory_unlock(%s)", (RUN_LOCK,))

    # -- the schema -----------------------------------------------------------------------------------------

    def stored_columns(self, table: str) -> dict[str, StoredColumn]:
        rows = self.fetch_all(COLUMNS_SQL, (self.connection.ops.quote_name(table),))
        return {row[0]: _stored_column(row) for row in rows}

    def triggers(self, tables: Sequence[str]) -> list[str]:
        rows = self.fetch_all(
            "SELECT t.tgrelid::regclass::text || '.' || t.tgname FROM pg_trigger t "
            "WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgrelid = ANY(SELECT to_regclass(n) "
            "FROM unnest(%s::text[]) n) ORDER BY 1",
            ([self.connection.ops.quote_name(table) for table in tables],),
        )
        return [str(row[0]) for row in rows]

    # -- values ---------------------------------------------------------------------------------------------

    def stores(self, kind: Kind, stored: StoredColumn) -> bool:
        return stored.type in STORES.get(kind, ())

    def storage(self, stored: StoredColumn) -> str:
        return STORAGE.get(stored.type, stored.declared)

    def raw_expression(self, column: Column) -> str:
        return f"{self.quote(column.name)}::text"

    def loader(self, column: Column, stored: StoredColumn) -> Convert | None:
        if column.kind is Kind.ADDRESS:
            return column.field.get_prep_value  # inet has notations of its own; this gives Django's
        return bytes if column.kind is Kind.BINARY else None

    def dumper(self, column: Column, stored: StoredColumn) -> Convert | None:
        if column.kind is Kind.ADDRESS:
            return _address
        if column.kind is Kind.DATETIME and not settings.USE_TZ and self.connection.timezone_name != "UTC":
            return _existing_local_time(zoneinfo.ZoneInfo(self.connection.timezone_name))
        return None

    def limits(self, column: Column, stored: StoredColumn) -> list[Limit]:
        limits = []
        kind = column.kind
        if kind is Kind.TEXT:
            limits.append(_limit(LimitName.NUL_CHARACTER, "PostgreSQL's text cannot hold the NUL character"))
            if stored.max_length is not None:
                reason = f"longer than the {stored.max_length} characters of {stored.declared}"
                limits.append(_limit(LimitName.LONGER_THAN, reason, stored.max_length))
        elif kind is Kind.JSON:
            limits.append(_limit(LimitName.NUL_ESCAPE, "PostgreSQL's jsonb cannot hold the NUL character"))
        elif kind is Kind.INTEGER and stored.type in INTEGERS:
            limits.append(integer_limit(self.connection, column, INTEGERS[stored.type], stored.declared))
        elif kind is Kind.DECIMAL and stored.precision is not None:
            scale = stored.scale or 0
            limits.append(
                _limit(LimitName.MORE_WHOLE_DIGITS_THAN, f"too large for {stored.declared}", stored.precision - scale)
            )
            limits.append(_limit(LimitName.MORE_DECIMALS_THAN, f"would be rounded by {stored.declared}", scale))
        elif kind in (Kind.DATETIME, Kind.TIME) and stored.precision is not None:
            reason = f"has a finer fraction of a second than {stored.declared} keeps"
            limits.append(_limit(LimitName.FRACTIONAL_SECONDS, reason, stored.precision))
        return limits

    def violation(self, limit: Limit, column: str, stored: StoredColumn) -> str | None:
        arguments = limit.arguments
        match limit.name:
            case LimitName.LONGER_THAN:
                if stored.max_length is not None and stored.max_length <= arguments[0]:
                    return None
                return f"char_length({column}) > {arguments[0]}"
            case LimitName.LARGER_THAN:
                return f"octet_length({column}) > {arguments[0]}"
            case LimitName.OUTSIDE if stored.type == "interval":
                return f"extract(epoch from {column}) * 1000000 NOT BETWEEN {arguments[0]} AND {arguments[1]}"
            case LimitName.OUTSIDE:
                if stored.type in INTEGERS and within(limit, *INTEGERS[stored.type]):
                    return None
                return f"{column} NOT BETWEEN {arguments[0]} AND {arguments[1]}"
            case LimitName.FOUR_BYTE_CHARACTER:
                return f"{column} ~ '[\\U00010000-\\U0010FFFF]'"
            case LimitName.NOT_A_NUMBER:
                return f"{column} = 'NaN'"
            case LimitName.INFINITE:
                return f"{column} IN ('Infinity', '-Infinity')"
            case LimitName.MORE_DIGITS_THAN:
                if stored.precision is not None and stored.precision <= arguments[0]:
                    return None
                return f"length(trim(both '0' from translate({column}::text, '-.', ''))) > {arguments[0]}"
            case LimitName.MORE_WHOLE_DIGITS_THAN:
                if stored.precision is not None and stored.precision - (stored.scale or 0) <= arguments[0]:
                    return None
                return f"abs({column}) >= 1e{arguments[0]}::numeric"
            case LimitName.MORE_DECIMALS_THAN:
                if stored.scale is not None and stored.scale <= arguments[0]:
                    return None
                return f"{column} <> 'NaN' AND {column} <> round({column}, {arguments[0]})"
            case LimitName.FRACTIONAL_SECONDS:
                return f"{column} <> {column}::{stored.type}({arguments[0]})"
        return None  # text in PostgreSQL never holds the NUL character

    def suspicions(self, column: Column, stored: StoredColumn) -> list[Suspicion]:
        name = self.quote(column.name)
        if column.kind in (Kind.DATE, Kind.DATETIME):
            return [
                Suspicion(
                    f"NOT ({name} >= '0001-01-01' AND {name} < '9999-12-31'::date + 1)",
                    "a date that Python cannot hold: infinite, or outside of the years 1 to 9999",
                    "Set these values to a date that the application can read, or to NULL.",
                )
            ]
        if column.kind is Kind.DURATION:
            return [
                Suspicion(
                    f"extract(year from {name}) <> 0 OR extract(month from {name}) <> 0",
                    "an interval with months, whose length in days is not fixed",
                    "Rewrite these values in days and seconds.",
                )
            ]
        if column.kind is Kind.TIME:
            return [
                Suspicion(
                    f"{name} = '24:00:00'", "the time 24:00, which Python cannot hold", "Set these values to 00:00."
                )
            ]
        if column.kind is Kind.ADDRESS:
            return [
                Suspicion(
                    f"masklen({name}) <> CASE family({name}) WHEN 4 THEN 32 ELSE 128 END",
                    "a network in place of a single address",
                    "Remove the network mask, or keep the column in PostgreSQL.",
                )
            ]
        return []

    # -- rows -----------------------------------------------------------------------------------------------

    def stream(self, sql: str, params: Sequence[Any]) -> Iterator[list[Row]]:
        size = FIRST_FETCH
        with contextlib.closing(self.connection.chunked_cursor()) as cursor:
            cursor.execute(*prepared(sql, params))
            while rows := cursor.fetchmany(size):
                size = next_fetch(rows, size)
                yield rows

    def writer(self, table: str, targets: Sequence[Target]) -> Writer:
        return CopyWriter(self, table, targets)

    def can_pipe_to(self, other: Engine) -> bool:
        return isinstance(other, PostgreSQL)

    def pipe(
        self, select: str, params: Sequence[Any], dest: Engine, table: str, targets: Sequence[Target]
    ) -> tuple[int, int]:
        statement = copy_statement(dest, table, targets)
        return copying.pipe(self.connection, *prepared(select, params), dest.connection, statement)

    def empty(self, tables: Sequence[str]) -> None:
        names = ", ".join(self.quote(table) for table in tables)
        try:
            with transaction.atomic(using=self.alias):
                self.execute(f"TRUNCATE {names}")
        except NotSupportedError:  # a table outside of the selection refers to one of these
            super().empty(tables)

    def bind_now(self) -> None:
        self.execute("SET CONSTRAINTS ALL IMMEDIATE")
        self.execute("SET CONSTRAINTS ALL DEFERRED")

    # -- what is taken off while rows are loaded ----------------------------------------------------------------

    def removable(self, table: Table, *, indexes: bool) -> list[TakenOff]:
        quoted = self.connection.ops.quote_name(table.name)
        items = [
            TakenOff(
                table.name,
                "foreign key",
                plain,
                f"ALTER TABLE {owner} DROP CONSTRAINT {name}",
                f"ALTER TABLE {owner} ADD CONSTRAINT {name} {definition}",
            )
            for owner, name, definition, plain in self.fetch_all(FOREIGN_KEYS_SQL, (quoted,))
        ]
        if indexes:
            items += [
                TakenOff(table.name, "index", plain, f"DROP INDEX {name}", definition)
                for name, definition, plain in self.fetch_all(INDEXES_SQL, (quoted,))
            ]
        return items

    def exists(self, item: TakenOff) -> bool:
        table = self.connection.ops.quote_name(item.table)
        if item.kind == "index":
            sql = (
                "SELECT EXISTS (SELECT 1 FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid "
                "WHERE i.indrelid = to_regclass(%s) AND x.relname = %s)"
            )
        else:
            sql = "SELECT EXISTS (SELECT 1 FROM pg_constraint WHERE conrelid = to_regclass(%s) AND conname = %s)"
        return bool(self.fetch_value(sql, (table, item.name)))

    def counters(self, table: Table) -> list[Counter]:
        return [
            self._counter(table, column)
            for column in table.columns
            if isinstance(column.field, AutoField)
            and column.name in table.key
            and not any(ref.column == column.name for ref in table.references)
        ]

    def _sequence(self, table: str, column: str) -> str | None:
        quoted = self.connection.ops.quote_name(table)
        name = self.fetch_value(SEQUENCE_SQL, (quoted, column, quoted, column))
        return None if name is None else str(name)

    def _counter(self, table: Table, column: Column) -> Counter:
        sequence = self._sequence(table.name, column.name)
        if sequence is None:
            return Counter(table.name, column.name, None, "no sequence belongs to the column")
        value, called, step = self.fetch_all(
            f"SELECT s.last_value, s.is_called, p.seqincrement FROM {sequence.replace('%', '%%')} s, pg_sequence p "
            "WHERE p.seqrelid = %s::regclass",
            (sequence,),
        )[0]
        return Counter(table.name, column.name, value + step if called else value)

    def reset_counter(self, counter: Counter) -> None:
        if counter.problem:
            return
        sequence = self._sequence(counter.table, counter.column)
        largest = f"(SELECT max({self.quote(counter.column)}) FROM {self.quote(counter.table)})"
        # A sequence starts at 1: keys of zero and below never come from it.
        self.fetch_value(
            f"SELECT setval(%s, GREATEST(COALESCE({largest}, 1), 1), COALESCE({largest}, 0) >= 1)", (sequence,)
        )

    # -- errors -----------------------------------------------------------------------------------------------

    def severity(self, error: BaseException) -> Severity:
        code = _sqlstate(error)
        if code is None:
            is_link = isinstance(error, DatabaseError | OSError) and not self.connection.is_usable()
            return Severity.RETRY if is_link else Severity.DATA
        if code.startswith("08") or code in RETRIED:
            return Severity.RETRY
        return Severity.DATA if code[:2] in ("22", "23") else Severity.FATAL

    def fault(self, error: BaseException, table: str) -> Fault:
        diagnostics = getattr(cause_of(error), "diag", None)
        if diagnostics is None or diagnostics.message_primary is None:
            return Fault(type(error).__name__, "the driver refused the value")
        message = diagnostics.message_primary
        if (_sqlstate(error) or "").startswith("22"):
            message = re.sub(r'"[^"]*"', "(value)", message)
        column = diagnostics.column_name
        if column is None and (found := COPY_COLUMN.search(diagnostics.context or "")):
            column = found[1]
        if column is None and diagnostics.constraint_name:
            column = self._columns_of_constraint(table, diagnostics.constraint_name)
        if column is None and (found := KEY_COLUMNS.search(diagnostics.message_detail or "")):
            column = found[1].strip('"')
        return Fault(str(_sqlstate(error)), message, column)

    def _columns_of_constraint(self, table: str, constraint: str) -> str | None:
        with contextlib.suppress(DatabaseError):
            rows = self.fetch_all(
                "SELECT a.attname FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid "
                "AND a.attnum = ANY(c.conkey) WHERE c.conrelid = to_regclass(%s) AND c.conname = %s ORDER BY a.attnum",
                (self.connection.ops.quote_name(table), constraint),
            )
            return ", ".join(row[0] for row in rows) or None
        return None


class CopyWriter(Writer):
    """Loads rows by COPY; by INSERT where a field wraps its parameter in SQL or the driver must adapt a value."""

    def __init__(self, engine: PostgreSQL, table: str, targets: Sequence[Target]) -> None:
        self._engine = engine
        self._copy = copy_statement(engine, table, targets)
        self._renderers = [copying.RENDERERS.get(target.kind, copying.render_any) for target in targets]
        names = ", ".join(engine.quote(target.name) for target in targets)
        self._insert = f"INSERT INTO {engine.quote(table)} ({names}) OVERRIDING SYSTEM VALUE VALUES "
        self._values = f"({', '.join(target.placeholder or '%s' for target in targets)})"
        self._must_insert = any(target.placeholder for target in targets)

    def write(self, rows: Sequence[Row]) -> int:
        if not self._must_insert:
            try:
                data = copying.render_rows(rows, self._renderers)
            except copying.Unrenderable:
                return self._write_by_insert(rows)
            copying.copy_in(self._engine.connection, self._copy, data)
            return len(data)
        return self._write_by_insert(rows)

    def _write_by_insert(self, rows: Sequence[Row]) -> int:
        page = max(1, min(500, 60_000 // len(rows[0])))
        for start in range(0, len(rows), page):
            part = rows[start : start + page]
            values = ", ".join([self._values] * len(part))
            self._engine.execute(self._insert + values, [value for row in part for value in row])
        return sum(len(str(value)) for row in rows for value in row)


def copy_statement(engine: Engine, table: str, targets: Sequence[Target]) -> str:
    """Build the COPY that loads a table; it takes no parameters, so ``%`` stands for itself."""
    quote = engine.connection.ops.quote_name
    names = ", ".join(quote(target.name) for target in targets)
    return f"COPY {quote(table)} ({names}) FROM STDIN"


def _stored_column(row: Row) -> StoredColumn:
    name, type_name, declared, nullable, has_default, is_generated, modifier, ignores_case = row
    length = precision = scale = None
    if type_name in ("varchar", "bpchar") and modifier > 4:
        length = modifier - 4
    elif type_name == "numeric" and modifier > 4:
        precision, scale = ((modifier - 4) >> 16) & 0xFFFF, (((modifier - 4) & 0x7FF) ^ 0x400) - 0x400
    elif type_name in ("timestamptz", "timestamp", "time") and 0 <= modifier < 6:
        precision = modifier
    return StoredColumn(
        name,
        type_name,
        declared,
        nullable,
        has_default,
        is_generated,
        length,
        None,
        precision,
        scale,
        ignores_case=ignores_case,
    )


def _limit(name: LimitName, reason: str, *arguments: int) -> Limit:
    return Limit(name, arguments, reason, "Correct these values in the source, or change the field.")


def _sqlstate(error: BaseException) -> str | None:
    cause = cause_of(error)
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)


def _address(value: str) -> str:
    """Refuse a text that the database would read as another address, or not at all."""
    try:
        parsed = ipaddress.ip_address(value)
    except ValueError:
        raise Unstorable("text", "no IP address", "Correct the value.") from None
    if str(parsed) != value and "." not in value:
        raise Unstorable("IP address", f"it would be stored as {parsed}", "Store that form in the source.")
    return value


def _existing_local_time(zone: datetime.tzinfo) -> Convert:
    def check(value: datetime.datetime) -> datetime.datetime:
        try:
            there_and_back = value.replace(tzinfo=zone).astimezone(datetime.UTC).astimezone(zone)
        except OverflowError:  # at the ends of the calendar, where no clock is put forward
            return value
        if there_and_back.replace(tzinfo=None) != value:
            raise Unstorable(
                "date and time",
                f"the local time does not exist in {zone}: the clocks were put forward",
                "Correct the value, or set TIME_ZONE = 'UTC'.",
            )
        return value

    return check
