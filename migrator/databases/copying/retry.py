"""Retries of a step after a lost connection, a deadlock or a lock timeout of the destination."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import TypeVar

from django.db import Error

from ...console.progress import Progress
from ...errors import MigratorError, Refused
from ..endpoints import Endpoints, lock_holders, to_migrator_error
from ..engines.base.engine import Engine
from ..engines.base.errors import Severity
from ..planning.table_route import ReadFailed

LONGEST_PAUSE_SECONDS = 10.0
CHECK_SECONDS = 0.2  # between two checks for a signal

Result = TypeVar("Result")


def once(action: Callable[[], Result]) -> Callable[[], Result | None]:
    """Return an action for :meth:`Retries.run` that is tried only once: called again, it returns ``None``."""
    attempts = count(1)
    return lambda: action() if next(attempts) == 1 else None


@dataclass(frozen=True)
class Retries:
    """How one run retries after transient errors, which ``progress`` reports.

    ``check`` raises if a signal asks the run to stop. ``is_ours`` is called when the lock is held again after a lost
    connection: whether no other run took over in between.
    """

    endpoints: Endpoints
    progress: Progress
    check: Callable[[], None] = lambda: None
    is_ours: Callable[[], bool] = lambda: True

    def run(self, action: Callable[[], Result], free_source: Callable[[], None] = lambda: None) -> Result:
        """Run an action until it succeeds, fails permanently, or has had transient errors for too long.

        ``free_source`` stops the other thread that uses the source's session, which is checked after an error. Inside
        a transaction the action runs once, because the transaction is retried as a whole. Raises
        :exc:`~migrator.errors.MigratorError` if the connection to the source is lost, and its snapshot with it.
        """
        if self.endpoints.dest.connection.in_atomic_block:
            return action()
        deadline: float | None = None
        for number in count(1):
            try:
                if number > 1 or not self.endpoints.dest.has_session():
                    self.reconnect()
                return action()
            except (ReadFailed, Error) as error:
                free_source()
                is_late = deadline is not None and time.monotonic() > deadline
                reason = self._reason_to_retry(error, is_late=is_late)
                deadline = deadline or time.monotonic() + self.endpoints.retry_for
            self._pause(min(LONGEST_PAUSE_SECONDS, 0.1 * 2**number), reason)
        raise AssertionError("unreachable")

    def _reason_to_retry(self, error: ReadFailed | Error, *, is_late: bool) -> str:
        """Describe a transient error for people; raise any other one, and one that has lasted too long."""
        source, dest = self.endpoints.source, self.endpoints.dest
        if self.endpoints.has_source and not source.is_intact():
            if is_late or not source.rejoin_snapshot():
                raise source.snapshot_lost(self._message_of(source, error)) from error
            source.remember_session()
            return f"{source.alias!r}: the connection was lost, and its snapshot was joined again"
        if isinstance(error, ReadFailed):
            text = f"The source {source.alias!r} failed while it was read: {self._message_of(source, error)}."
            raise MigratorError(text) from error
        if dest.severity(error) is not Severity.RETRY:
            raise error
        if is_late:
            raise self._too_late(error) from error
        return f"{dest.alias!r}: {dest.fault(error, '').message}"

    @staticmethod
    def _message_of(source: Engine, error: ReadFailed | Error) -> str:
        """Return the message of a source that failed, with its code; nothing if it was not the source."""
        if not isinstance(error, ReadFailed):
            return ""
        fault = source.fault(error.__cause__ or error, "")
        return f"{fault.message} [{fault.code}]"

    def _pause(self, seconds: float, reason: str) -> None:
        self.progress.message(f"  {reason}; trying again in {seconds:.1f} s")
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.check()
            time.sleep(min(CHECK_SECONDS, left))

    def _too_late(self, error: Error) -> MigratorError:
        dest = self.endpoints.dest
        retried = f"This was retried for {self.endpoints.retry_for:g} s (MIGRATOR['RETRY_FOR'])."
        return MigratorError(f"{to_migrator_error(error, [dest])} {retried}{lock_holders(dest)}")

    def reconnect(self) -> None:
        """Keep the session if it is the one that was opened and locked, or open and lock another."""
        dest = self.endpoints.dest
        if dest.is_intact():
            return
        dest.connection.close()
        dest.open_destination()
        dest.end_lost_session()
        self._lock_again()
        dest.remember_session()
        if not self.is_ours():
            raise Refused(f"While the connection to {dest.alias!r} was lost, another run took over.")

    def _lock_again(self) -> None:
        """Take the lock, which the lost session holds until the server has ended it."""
        dest = self.endpoints.dest
        deadline = time.monotonic() + self.endpoints.retry_for
        while not dest.lock():
            # It has no holder if it was released just now. A worker's lock is taken by no one else.
            is_taken = dest.worker is None and dest.lock_holder() not in (None, dest.lost_session)
            if is_taken or time.monotonic() > deadline:
                raise Refused(
                    f"While the connection to {dest.alias!r} was lost, another run took over, or the server still "
                    "has the old session."
                )
            self.check()
            time.sleep(CHECK_SECONDS)
