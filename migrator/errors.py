"""The errors that users see, each with the exit code of the command that it ends."""

from __future__ import annotations

# Not an error: a dry run of an update found rows that the update would write.
WORK_TO_DO = 5


class MigratorError(Exception):
    """Something stopped the command; the message says what was found, why it stops, and what to do next."""

    exit_code = 1


class UsageError(MigratorError):
    """The command was called with invalid arguments: an unknown alias or label, or an invalid combination."""

    exit_code = 2


class Refused(MigratorError):
    """A check before the first write found a reason not to start."""


class Declined(MigratorError):
    """The operator answered no, or could not be asked."""


class DataRejected(MigratorError):
    """The destination cannot store a row unchanged."""


class Interrupted(MigratorError):
    """A signal stopped the command between two chunks; what was committed stays."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number
