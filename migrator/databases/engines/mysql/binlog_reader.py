"""MySQL and MariaDB: a binary log read through the library ``mysql-replication``, from one position to its end.

Each call reads with connections of its own, in the mode in which the server ends them at the end of its log. So nothing
is left there when this process ends, and no dump waits.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

from pymysql import MySQLError
from pymysqlreplication import BinLogStreamReader
from pymysqlreplication.bitmap import BitGet
from pymysqlreplication.constants import BINLOG, FIELD_TYPE
from pymysqlreplication.event import (
    BeginLoadQueryEvent,
    ExecuteLoadQueryEvent,
    FormatDescriptionEvent,
    GtidEvent,
    MariadbGtidEvent,
    NotImplementedEvent,
    QueryEvent,
    RotateEvent,
    XAPrepareEvent,
    XidEvent,
)
from pymysqlreplication.row_event import (
    DeleteRowsEvent,
    PartialUpdateRowsEvent,
    TableMapEvent,
    UpdateRowsEvent,
    WriteRowsEvent,
)

from ..base.change_feed import FeedLost
from .binlog_events import LoggedRows, LoggedStatement, Position, Row
from .binlog_keys import ABSENT

# It warns on each connection of settings that this module does without.
logging.getLogger("pymysqlreplication").setLevel(logging.CRITICAL)


def _skip_variables(event: Any, key: int) -> None:
    event.packet.advance(event.status_vars_length - 1)


# Newer servers add variables to statements, which the library refuses; none is needed here.
QueryEvent._read_status_vars_value_for_key = _skip_variables

EVENTS = (
    BeginLoadQueryEvent, DeleteRowsEvent, ExecuteLoadQueryEvent, FormatDescriptionEvent, GtidEvent, MariadbGtidEvent,
    NotImplementedEvent, PartialUpdateRowsEvent, QueryEvent, RotateEvent, TableMapEvent, UpdateRowsEvent,
    WriteRowsEvent, XAPrepareEvent, XidEvent,
)  # fmt: skip
# Of events that the library does not know: those that change no rows, and the others with a reason (MySQL source,
# mysql/binlog/event/binlog_event.h; MariaDB source, sql/log_event.h).
STOP, IGNORABLE, TRANSACTION_CONTEXT, VIEW_CHANGE, HEARTBEAT = 3, 28, 36, 37, 41
HARMLESS = frozenset((STOP, IGNORABLE, TRANSACTION_CONTEXT, VIEW_CHANGE, HEARTBEAT, BINLOG.ANONYMOUS_GTID_LOG_EVENT))
# A whole compressed transaction; one whose GTID has a tag; and a note that the server could not write to its log.
PAYLOAD, TAGGED_GTID, INCIDENT = 40, 42, 26
# The types of columns whose values it can step over; MariaDB's JSON is a text.
KNOWN_TYPES = frozenset(
    getattr(FIELD_TYPE, name)
    for name in (
        "TINY", "SHORT", "LONG", "INT24", "LONGLONG", "FLOAT", "DOUBLE", "NEWDECIMAL", "VARCHAR", "STRING", "BLOB",
        "DATE", "TIME", "DATETIME", "TIMESTAMP", "TIME2", "DATETIME2", "TIMESTAMP2", "YEAR", "ENUM", "SET", "BIT",
        "GEOMETRY", "JSON",
    )
)  # fmt: skip
# Python knows no such encoding, so the library returns the bytes.
NO_ENCODING = "binary"
# The flag of a transaction of MariaDB that is prepared; MySQL logs the statement that begins it.
PREPARED_XA = 64
FATAL_READING_LOG = 1236  # ER_MASTER_FATAL_ERROR_READING_BINLOG (MySQL Server Error Message Reference)
WITHIN = re.compile(r"\s*(BEGIN|SAVEPOINT|ROLLBACK\s+TO|RELEASE|XA\s+(START|BEGIN|END|PREPARE))\b", re.IGNORECASE)
END = re.compile(r"\s*(COMMIT|ROLLBACK|XA\s+ROLLBACK)\b", re.IGNORECASE)


class BinlogReader:
    """Reads a log from where it has come to. ``connect`` makes a connection, given the class of its cursors."""

    def __init__(self, connect: Callable[[Any], Any], server_id: int, schemas: Sequence[str], at: Position) -> None:
        self._connect, self._server_id, self._schemas = connect, server_id, list(schemas)
        self.position = at
        # Of the file at that position: when it was created.
        self._created: tuple[str, int] | None = None
        self._transaction = at.number
        self._gtid: str | None = None
        self._is_prepared = False

    def read(self) -> Iterator[LoggedRows | LoggedStatement]:
        """Yield what the log has up to its present end.

        Raises :exc:`FeedLost`.
        """
        with closing(self._stream()) as stream:
            while True:
                try:
                    event = stream.fetchone()
                except MySQLError as error:
                    raise FeedLost(_reason(error, self.position)) from error
                except FeedLost:
                    raise
                except Exception as error:  # of the library, for what it does not understand
                    raise FeedLost(f"the binary log could not be read ({type(error).__name__})") from error
                if event is None:
                    return
                here = Position.of(str(stream.log_file), int(stream.log_pos))
                yield from self._read(event, here)

    def _stream(self) -> Any:
        links: list[Any] = []

        def connect(**settings: Any) -> Any:
            # The library would silently connect again, perhaps to a server that has replaced this one.
            kind = settings.get("cursorclass")
            if kind in links:
                raise FeedLost("the connection that reads changes was lost")
            links.append(kind)
            return self._connect(kind)

        return BinLogStreamReader(
            {},
            self._server_id,
            log_file=self.position.file,
            log_pos=self.position.offset,
            resume_stream=True,
            blocking=False,
            only_events=EVENTS,
            filter_non_implemented_events=False,
            only_schemas=self._schemas,
            enable_logging=False,
            pymysql_wrapper=connect,
        )

    def _read(self, event: Any, here: Position) -> Iterator[LoggedRows | LoggedStatement]:
        if isinstance(event, RotateEvent):
            self.position = max(self.position, here)
            return
        if isinstance(event, FormatDescriptionEvent):
            self._refuse_another_file(here.file, event.timestamp)
            return
        if here < self.position:
            raise FeedLost(f"{here.file} has positions beyond 4 GiB, which cannot be distinguished")
        is_anonymous = event.event_type == BINLOG.ANONYMOUS_GTID_LOG_EVENT
        if is_anonymous or isinstance(event, GtidEvent | MariadbGtidEvent):
            # The beginning of a transaction. Its end is not known yet, but a snapshot has both or none.
            self._transaction, self._gtid = here.number, getattr(event, "gtid", None)
            self._is_prepared = isinstance(event, MariadbGtidEvent) and bool(event.flags & PREPARED_XA)
        elif isinstance(event, NotImplementedEvent):
            yield from self._unknown(event.event_type, here)
        elif isinstance(event, TableMapEvent):
            _prepare_columns(event.columns)
        elif isinstance(event, WriteRowsEvent | UpdateRowsEvent | DeleteRowsEvent | PartialUpdateRowsEvent):
            yield self._rows(event)
        elif isinstance(event, XidEvent | XAPrepareEvent):
            self.position = here
        elif isinstance(event, QueryEvent):
            if WITHIN.match(event.query):
                self._is_prepared |= event.query.lstrip()[:2].upper() == "XA"
                return
            if not END.match(event.query):
                schema = event.schema.decode(errors="replace")
                yield LoggedStatement(self._transaction, self._gtid, schema, event.query)
            self.position = here
        else:
            yield LoggedStatement(self._transaction, self._gtid, "", "LOAD DATA")

    def _refuse_another_file(self, file: str, created: int) -> None:
        """Raise :exc:`FeedLost` if a file is another one than before, though it has the same name."""
        if self._created is not None and self._created[0] == file and self._created[1] != created:
            raise FeedLost(f"the server began another binary log ({file} is another file)")
        self._created = file, created

    def _unknown(self, kind: int, here: Position) -> Iterator[LoggedStatement]:
        """Report an event that cannot be read, such as compressed rows, as a statement that may change any row."""
        if kind in HARMLESS:
            return
        if kind == TAGGED_GTID:
            raise FeedLost("the binary log has transactions with tags in their GTIDs")
        if kind == INCIDENT:
            raise FeedLost("the server could not write all transactions to its binary log")
        yield LoggedStatement(self._transaction, self._gtid, "", f"an event of type {kind}")
        if kind == PAYLOAD:
            self.position = here

    def _rows(self, event: Any) -> LoggedRows:
        rows = None
        if not isinstance(event, PartialUpdateRowsEvent) and all(c.type in KNOWN_TYPES for c in event.columns):
            try:
                rows = [_before_and_after(event, row) for row in event.rows]
            except Exception:  # of the library, for a value that it does not understand
                rows = None
        return LoggedRows(self._transaction, self._gtid, event.schema, event.table, rows, self._is_prepared)


def _prepare_columns(columns: Sequence[Any]) -> None:
    """Have the library return bytes for texts, and not parse documents."""
    for column in columns:
        column.character_set_name = NO_ENCODING
        if column.type == FIELD_TYPE.JSON:
            column.type = FIELD_TYPE.BLOB


def _before_and_after(event: Any, row: dict[str, Any]) -> tuple[Row | None, Row | None]:
    present = event.columns_present_bitmap
    if isinstance(event, UpdateRowsEvent):
        after = _values(row["after_values"], event.columns_present_bitmap2)
        return _values(row["before_values"], present), after
    values = _values(row["values"], present)
    return (values, None) if isinstance(event, DeleteRowsEvent) else (None, values)


def _values(values: dict[str, Any], present: bytes) -> Row:
    # Of no bytes, decoding makes a text in any encoding.
    return [
        (b"" if value == "" else value) if BitGet(present, number) else ABSENT
        for number, value in enumerate(values.values())
    ]


def _reason(error: MySQLError, position: Position) -> str:
    code = error.args[0] if error.args else None
    if code == FATAL_READING_LOG:
        return f"the server no longer has its binary log from {position.file}, position {position.offset}, on"
    return f"the connection that reads changes failed (error {code})"
