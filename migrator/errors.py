"""The errors users meet, each with the exit code of the command that ends with it."""

from __future__ import annotations

# No error: a dry run of an update found rows that the update would write.
WORK_TO_DO = 5


class MigratorError(Exception):
    """Something stopped the work; the message says what was found, why it stops and what to do next."""

    exit_code = 1


class UsageError(MigratorError):
    """The command was called with words that cannot be right: an unknown alias, label or combination."""

    exit_code = 2


class Refused(MigratorError):
    """A check made before the first write found a reason not to begin."""


class Declined(MigratorError):
    """The person at the terminal said no, or there was nobody to ask."""


class DataRejected(MigratorError):
    """The destination cannot hold a row as it is."""


class Interrupted(MigratorError):
    """A signal ended the work between two chunks; what was committed stays."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number
