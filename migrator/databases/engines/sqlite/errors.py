"""SQLite: what its errors mean."""

from __future__ import annotations

import re

from ..base.errors import Errors, Fault, Severity
from ..base.session import cause_of
from .attach import RECOVERY, is_damage

# The names of result codes begin so (sqlite.org/rescode.html); Python has them since 3.11 (sqlite3, sqlite_errorname).
RETRIED = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL")
DATA = ("SQLITE_CONSTRAINT", "SQLITE_MISMATCH", "SQLITE_TOOBIG", "SQLITE_RANGE")
ABOUT_ROWS = ("SQLITE_ERROR", "SQLITE_CORRUPT")
NO_UTF_8 = "the text is not valid UTF-8"
FAILED = re.compile(r"^(?P<what>[A-Z ]+) constraint failed: (?:index '(?P<index>.*)'|(?P<rest>.*))$", re.DOTALL)


class SQLiteErrors(Errors):
    """The errors of Python's ``sqlite3``."""

    def severity(self, error: BaseException) -> Severity:
        code = getattr(cause_of(error), "sqlite_errorname", None)
        if code is None:
            return Severity.DATA  # raised by Python's module: a value that cannot be bound or decoded
        if code.startswith(RETRIED):
            return Severity.RETRY
        return Severity.DATA if code.startswith(DATA) else Severity.FATAL

    def is_about_rows(self, error: BaseException) -> bool:
        # An error that a function raises for its arguments has the same code as a mistake in a statement.
        code = getattr(cause_of(error), "sqlite_errorname", None) or ""
        return super().is_about_rows(error) or code.startswith(ABOUT_ROWS)

    def fault(self, error: BaseException, table: str) -> Fault:
        cause = cause_of(error)
        message = str(cause)
        if message.startswith("Could not decode"):
            message = NO_UTF_8
        code = getattr(cause, "sqlite_errorname", type(cause).__name__)
        if is_damage(error):
            message += f"; {RECOVERY}"
        found = FAILED.search(message)
        if found is None:
            return Fault(code, message)
        if found["index"]:
            return Fault(code, message, constraint=found["index"].replace("''", "'"))
        if found["what"] == "CHECK":  # its name, or its expression without a name
            return Fault(code, message, constraint=found["rest"])
        return Fault(code, message, ", ".join(name.rpartition(".")[2] for name in found["rest"].split(", ")))
