"""MySQL and MariaDB: what their errors mean."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping

from django.db import DatabaseError

from ..base.errors import Errors, Fault, Severity
from ..base.session import cause_of
from .error_redaction import without_values

# Error numbers and their names: https://dev.mysql.com/doc/mysql-errors/8.0/en/server-error-reference.html and, for the
# client's (CR_...), client-error-reference.html; MariaDB's own: https://mariadb.com/kb/en/mariadb-error-code-reference/
RETRIED: Mapping[int, str] = {
    1020: "ER_CHECKREAD", 1040: "ER_CON_COUNT_ERROR", 1053: "ER_SERVER_SHUTDOWN", 1158: "ER_NET_READ_ERROR",
    1159: "ER_NET_READ_INTERRUPTED", 1160: "ER_NET_ERROR_ON_WRITE", 1161: "ER_NET_WRITE_INTERRUPTED",
    1203: "ER_TOO_MANY_USER_CONNECTIONS", 1205: "ER_LOCK_WAIT_TIMEOUT", 1213: "ER_LOCK_DEADLOCK",
    1927: "ER_CONNECTION_KILLED", 2002: "CR_CONNECTION_ERROR", 2003: "CR_CONN_HOST_ERROR",
    2006: "CR_SERVER_GONE_ERROR", 2013: "CR_SERVER_LOST", 2055: "CR_SERVER_LOST_EXTENDED",
    4031: "ER_CLIENT_INTERACTION_TIMEOUT",
}  # fmt: skip
DATA: Mapping[int, str] = {
    1048: "ER_BAD_NULL_ERROR", 1062: "ER_DUP_ENTRY", 1169: "ER_DUP_UNIQUE", 1216: "ER_NO_REFERENCED_ROW",
    1235: "ER_NOT_SUPPORTED_YET", 1264: "ER_WARN_DATA_OUT_OF_RANGE", 1265: "WARN_DATA_TRUNCATED",
    1292: "ER_TRUNCATED_WRONG_VALUE", 1364: "ER_NO_DEFAULT_FOR_FIELD", 1365: "ER_DIVISION_BY_ZERO",
    1366: "ER_TRUNCATED_WRONG_VALUE_FOR_FIELD", 1367: "ER_ILLEGAL_VALUE_FOR_TYPE", 1406: "ER_DATA_TOO_LONG",
    1411: "ER_WRONG_VALUE_FOR_TYPE", 1416: "ER_CANT_CREATE_GEOMETRY_OBJECT", 1441: "ER_DATETIME_FUNCTION_OVERFLOW",
    1451: "ER_ROW_IS_REFERENCED_2", 1452: "ER_NO_REFERENCED_ROW_2", 1525: "ER_WRONG_VALUE",
    1526: "ER_NO_PARTITION_FOR_GIVEN_VALUE", 1557: "ER_FOREIGN_DUPLICATE_KEY", 1586: "ER_DUP_ENTRY_WITH_KEY_NAME",
    1644: "ER_SIGNAL_EXCEPTION", 1690: "ER_DATA_OUT_OF_RANGE", 3140: "ER_INVALID_JSON_TEXT",
    3141: "ER_INVALID_JSON_TEXT_IN_PARAM", 3143: "ER_INVALID_JSON_PATH", 3146: "ER_INVALID_TYPE_FOR_JSON",
    3156: "ER_INVALID_JSON_VALUE_FOR_CAST", 3157: "ER_JSON_DOCUMENT_TOO_DEEP", 3643: "ER_WRONG_SRID_FOR_COLUMN",
    3731: "ER_GEOMETRY_PARAM_LONGITUDE_OUT_OF_RANGE", 3732: "ER_GEOMETRY_PARAM_LATITUDE_OUT_OF_RANGE",
    3751: "ER_WARN_DATA_TRUNCATED_FUNCTIONAL_INDEX", 3752: "ER_WARN_DATA_OUT_OF_RANGE_FUNCTIONAL_INDEX",
    3819: "ER_CHECK_CONSTRAINT_VIOLATED", 3903: "ER_INVALID_JSON_VALUE_FOR_FUNC_INDEX",
    3904: "ER_JSON_VALUE_OUT_OF_RANGE_FOR_FUNC_INDEX", 3905: "ER_EXCEEDED_MV_KEYS_NUM",
    3906: "ER_EXCEEDED_MV_KEYS_SPACE", 3907: "ER_FUNCTIONAL_INDEX_DATA_IS_TOO_LONG", 4025: "ER_CONSTRAINT_FAILED",
    4078: "ER_ILLEGAL_PARAMETER_DATA_TYPES2_FOR_OPERATION", 6136: "ER_DATA_INCOMPATIBLE_WITH_VECTOR",
}  # fmt: skip
TABLE_CHANGED = 1412  # ER_TABLE_DEF_CHANGED
NAMED_COLUMN = re.compile(r"column ['`](?:[^'`]*`\.`)*([^'`]+)['`]", re.IGNORECASE)
NAMED_KEY = re.compile(r"for key '(?:[^']*\.)?([^'.]+)'")
NAMED_CHECK = re.compile(r"CONSTRAINT `(?:[^`]*\.)?([^`.]+)` failed|Check constraint '([^']+)' is violated")


class Warned(DatabaseError):
    """A warning of the server, which changed a value: the same as an error here."""


class MySQLErrors(Errors):
    """The errors of mysqlclient."""

    def severity(self, error: BaseException) -> Severity:
        code = _code(error)
        if code in RETRIED:
            return Severity.RETRY
        if code is None or code in DATA or isinstance(error, Warned):
            return Severity.DATA
        return Severity.FATAL

    def needs_new_snapshot(self, error: BaseException) -> bool:
        return _code(error) == TABLE_CHANGED

    def fault(self, error: BaseException, table: str) -> Fault:
        code = _code(error)
        if code is None:
            return Fault(type(error).__name__, "the driver rejected the value")
        message = without_values(str(cause_of(error).args[1]))
        if found := NAMED_COLUMN.search(message):
            return Fault(str(code), message, found[1])
        if found := NAMED_CHECK.search(message):
            return Fault(str(code), message, constraint=found[1] or found[2])
        if found := NAMED_KEY.search(message):
            return Fault(str(code), message, self._columns_of_key(found[1], table), found[1])
        return Fault(str(code), message)

    def _columns_of_key(self, key: str, table: str) -> str | None:
        with contextlib.suppress(DatabaseError):
            rows = self.fetch_all(
                "SELECT column_name FROM information_schema.statistics "
                "WHERE table_schema = DATABASE() AND table_name = %s AND index_name = %s ORDER BY seq_in_index",
                (table, key),
            )
            return ", ".join(row[0] for row in rows if row[0] is not None) or None  # which an expression is
        return None


def _code(error: BaseException) -> int | None:
    cause = cause_of(error)
    code = cause.args[0] if len(cause.args) > 1 else None
    return code if isinstance(code, int) else None
