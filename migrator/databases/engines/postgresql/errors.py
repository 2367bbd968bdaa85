"""PostgreSQL: what its errors mean."""

from __future__ import annotations

import contextlib
import re
from typing import Any

from django.db import DatabaseError

from ..base.errors import Errors, Fault, Severity
from ..base.session import cause_of
from .error_redaction import without_values
from .visible_tables import PostgreSQLVisibility

# SQLSTATE codes (PostgreSQL manual, appendix A): serialization_failure, deadlock_detected, lock_not_available,
# admin_shutdown, crash_shutdown, cannot_connect_now, too_many_connections.
RETRIED = ("40001", "40P01", "55P03", "57P01", "57P02", "57P03", "53300")
CONNECTION_EXCEPTION = "08"
# Data exceptions and integrity constraint violations.
DATA_CLASSES = ("22", "23")
# program_limit_exceeded: a value is too long for an index. invalid_foreign_key: rows prevent the key that a foreign key
# needs.
DATA = ("54000", "42830")
FOREIGN_KEY_VIOLATION = "23503"
# Errors in the middle of a statement over many rows: of functions (classes P0, 21, 2F, 38, 39), damaged pages (XX), a
# canceled statement, an unreadable page (io_error).
CLASSES_ABOUT_ROWS = ("P0", "21", "2F", "38", "39", "XX")
ABOUT_ROWS = ("57014", "58030")
COPY_COLUMN = re.compile(r"^COPY .*, line \d+, column (.*?)(?::|$)", re.MULTILINE)
DRIVER_REJECTED = "the driver rejected the value"
KEY_COLUMNS = re.compile(r"Key \((.*?)\)=")


class PostgreSQLErrors(Errors):
    """The errors of both drivers."""

    def severity(self, error: BaseException) -> Severity:
        code = sqlstate(error)
        if code is None:
            driver: Any = self.connection.Database  # type: ignore[attr-defined]
            is_connection_error = isinstance(cause_of(error), driver.OperationalError | driver.InterfaceError)
            return Severity.RETRY if is_connection_error else Severity.DATA
        if code.startswith(CONNECTION_EXCEPTION) or code in RETRIED:
            return Severity.RETRY
        return Severity.DATA if code[:2] in DATA_CLASSES or code in DATA else Severity.FATAL

    def is_about_rows(self, error: BaseException) -> bool:
        code = sqlstate(error) or ""
        return super().is_about_rows(error) or code.startswith(CLASSES_ABOUT_ROWS) or code in ABOUT_ROWS

    def is_missing_parent(self, error: BaseException) -> bool:
        return sqlstate(error) == FOREIGN_KEY_VIOLATION

    def fault(self, error: BaseException, table: str) -> Fault:
        diagnostics = getattr(cause_of(error), "diag", None)
        if diagnostics is None or diagnostics.message_primary is None:
            is_connection_error = self.severity(error) is Severity.RETRY
            return Fault(
                type(error).__name__,
                "the server did not answer" if is_connection_error else "the driver rejected the value",
            )
        detail = diagnostics.message_detail or ""
        message = without_values(diagnostics.message_primary, sqlstate(error) or "")
        if "row-level security policy" in message:
            message += "; connect as a superuser, as a role with BYPASSRLS, or as the owner if policies are not forced"
        if trigger := self._event_trigger_in(diagnostics.context or ""):
            message += (
                f" (raised by event trigger {trigger}; ALTER EVENT TRIGGER {trigger} DISABLE lets the run continue)"
            )
        if message.startswith("could not create unique index") and (found := KEY_COLUMNS.search(detail)):
            message = f"rows there have the same {found[1]}: {message}"
        column = diagnostics.column_name
        if column is None and (found := COPY_COLUMN.search(diagnostics.context or "")):
            column = found[1]
        if column is None and diagnostics.constraint_name:
            column = self._columns_of_constraint(table, diagnostics.constraint_name)
        if column is None and (found := KEY_COLUMNS.search(detail)):
            column = found[1].strip('"')
        return Fault(str(sqlstate(error)), message, column, diagnostics.constraint_name)

    def _event_trigger_in(self, context: str) -> str | None:
        with contextlib.suppress(DatabaseError):  # no query runs in a failed transaction
            return PostgreSQLVisibility(self.connection).event_trigger_in(context)
        return None

    def _columns_of_constraint(self, table: str, constraint: str) -> str | None:
        with contextlib.suppress(DatabaseError):
            rows = self.fetch_all(
                "SELECT a.attname FROM pg_constraint c JOIN pg_attribute a ON a.attrelid = c.conrelid "
                "AND a.attnum = ANY(c.conkey) WHERE c.conrelid = to_regclass(%s) AND c.conname = %s ORDER BY a.attnum",
                (self.identifier(table), constraint),
            )
            return ", ".join(row[0] for row in rows) or None
        return None


def sqlstate(error: BaseException) -> str | None:
    """Return the SQLSTATE of an error; ``None`` if the server did not send it."""
    cause = cause_of(error)
    return getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
