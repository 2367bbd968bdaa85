"""The errors that users see, each with the exit code of the command that it ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

# Not an error: a dry run of an update found rows that the update would write.
WORK_TO_DO = 5

# The meaning of each exit code, for the documentation; code marked as in Markdown.
EXIT_CODES: Mapping[int, str] = {
    0: "Success.",
    1: "The command failed or was refused, or you answered no. The message says why, and whether anything was written.",
    2: "The command line was wrong: an unknown alias, label or option, options that exclude each other, or a file that "
    "cannot be used. Nothing was written.",
    3: "The command finished and found differences: row counts, values, sequences, foreign keys, keys or sessions. Or "
    "the source of a copy of sessions or keys is empty. Or it checked whether a step is safe, and it is not. "
    "Or `migrator_status` found a run that was interrupted, or has finished with differences.",
    4: "The command finished, but rows were rejected, and are in the reject file; or rows, sessions or keys could not "
    "be moved, compared or deleted, and are listed or counted; or `--cleanup` could not recreate everything, and "
    "listed the rest.",
    WORK_TO_DO: "`--update --dry-run` found rows that an update would write. Nothing was written.",
    129: "SIGHUP stopped it: the terminal was closed.",
    130: "SIGINT stopped it: Ctrl-C.",
    143: "SIGTERM stopped it.",
}


# The schema of the document in place of a result.
ERROR_SCHEMA = "migrator/error@1"


class Reason(NamedTuple):
    """One of the reasons that an error lists, with lines about it."""

    sentence: str
    details: tuple[str, ...] = ()


class MigratorError(Exception):
    """Something stopped the command; the message says what was found, why it stops, and what to do next.

    ``reasons`` are listed below the message, which ends with a colon then, and ``steps`` below these: lines that say
    what to do next.
    """

    exit_code = 1

    def __init__(self, message: str = "", *, reasons: Iterable[Reason] = (), steps: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.message, self.reasons, self.steps = message, tuple(reasons), tuple(steps)

    def __str__(self) -> str:
        reasons = ("\n".join([f"  - {one.sentence}", *(f"    {line}" for line in one.details)]) for one in self.reasons)
        return "\n".join([self.message, *reasons, *self.steps])


class UsageError(MigratorError):
    """The command was called with invalid arguments: an unknown alias or label, or an invalid combination."""

    exit_code = 2


class Refused(MigratorError):
    """A check before the first write found a reason not to start.

    ``findings``: what it found, as records for documents, if they are of a plan.
    """

    def __init__(self, message: str, *, findings: Sequence[Mapping[str, Any]] = (), **parts: Any) -> None:
        super().__init__(message, **parts)
        self.findings = tuple(findings)


class Declined(MigratorError):
    """The operator answered no, or could not be asked."""


class DataRejected(MigratorError):
    """The destination cannot store a row unchanged."""


class Interrupted(MigratorError):
    """A signal stopped the command between two chunks; what was committed stays."""

    def __init__(self, message: str, signal_number: int, *, steps: Iterable[str] = ()) -> None:
        super().__init__(message, steps=steps)
        self.exit_code = 128 + signal_number
