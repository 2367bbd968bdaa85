"""What an engine's errors mean: try again, look for the row, or stop."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from ....console.safe_text import visible
from ....errors import MigratorError
from .session import DatabaseSession, cause_of


class SnapshotLost(MigratorError):
    """The snapshot of the source that a run reads is gone."""

    @classmethod
    def of(cls, alias: str, said: str = "", *, role: str = "source") -> SnapshotLost:
        """Build the error for a database that is read in one snapshot, with the server's message."""
        reason = f": {said}" if said else ""
        return cls(f"The connection to the {role} {alias!r} is lost, and its snapshot with it{reason}.")


class Severity(enum.Enum):
    """What an error of the database requires."""

    RETRY = "retry"  # the same chunk may succeed: a lost connection, a deadlock, a lock timeout
    DATA = "data"  # one row is the cause: look for it
    FATAL = "fatal"  # it needs a person: a full disk, missing rights, a changed schema


@dataclass(frozen=True)
class Fault:
    """What a database reported about a row: the error's code, its message without values, and what it named.

    ``column`` is one column, or several separated by commas; ``constraint`` is a constraint or a unique index.
    """

    code: str
    message: str
    column: str | None = None
    constraint: str | None = None

    def __post_init__(self) -> None:
        # Triggers can raise any message, also one of several lines.
        object.__setattr__(self, "message", visible(self.message))


class Errors(DatabaseSession, ABC):
    """How one engine's errors are read."""

    def owns(self, error: BaseException) -> bool:
        """Whether an error came from this engine's driver."""
        database: Any = self.connection.Database  # type: ignore[attr-defined]
        return isinstance(cause_of(error), database.Error)

    @abstractmethod
    def severity(self, error: BaseException) -> Severity:
        """Return whether to try again, to look for the row, or to stop."""

    def needs_new_snapshot(self, error: BaseException) -> bool:
        """Whether a query failed because a table was altered or emptied after the session's snapshot had begun."""
        return False

    def is_about_rows(self, error: BaseException) -> bool:
        """Whether a statement over many rows failed because of the values in some of them."""
        return self.severity(error) is Severity.DATA

    def is_missing_parent(self, error: BaseException) -> bool:
        """Whether a foreign key refused a row that was written, for an engine that enforces these during the load."""
        return False

    @abstractmethod
    def fault(self, error: BaseException, table: str) -> Fault:
        """Read the code, the message without values and the column of an error."""
