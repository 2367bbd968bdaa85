"""Trying again: the same step, after a lost link, a deadlock or a lock timeout of the destination."""

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
from ..planning.route import ReadFailed

LONGEST_PAUSE_SECONDS = 10.0
NAP_SECONDS = 0.2  # between two looks for a signal

Result = TypeVar("Result")


@dataclass(frozen=True)
class Retries:
    """How one run meets passing faults: who is told, and what makes it stop sooner.

    ``check`` raises where a signal asks for the end. ``is_ours`` tells, with the lock back after a lost link, whether
    no other run was here meanwhile.
    """

    endpoints: Endpoints
    progress: Progress
    check: Callable[[], None] = lambda: None
    is_ours: Callable[[], bool] = lambda: True

    def run(self, action: Callable[[], Result], free_source: Callable[[], None] = lambda: None) -> Result:
        """Run an action until it succeeds, fails for good, or has met passing faults for too long.

        ``free_source`` ends what another thread does in the source's session, which is looked at after a fault. Inside
        a transaction the action runs once, for that is tried again as a whole. Raises
        :exc:`~migrator.errors.MigratorError` where the source is lost, and its snapshot with it.
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
                reason = self._reason_to_try_again(error, is_late=is_late)
                deadline = deadline or time.monotonic() + self.endpoints.retry_for
            self._pause(min(LONGEST_PAUSE_SECONDS, 0.1 * 2**number), reason)
        raise AssertionError("unreachable")

    def _reason_to_try_again(self, error: ReadFailed | Error, *, is_late: bool) -> str:
        """Name the passing fault; raise what is none, or has lasted too long."""
        source, dest = self.endpoints.source, self.endpoints.dest
        if self.endpoints.has_source and not source.is_intact():
            if is_late or not source.rejoin_snapshot():
                raise source.snapshot_lost(self._said(source, error)) from error
            source.remember_session()
            return f"{source.alias!r}: the link was lost, and its snapshot found again"
        if isinstance(error, ReadFailed):
            text = f"The source {source.alias!r} failed while it was read: {self._said(source, error)}."
            raise MigratorError(text) from error
        if dest.severity(error) is not Severity.RETRY:
            raise error
        if is_late:
            raise self._given_up(error) from error
        return f"{dest.alias!r}: {dest.fault(error, '').message}"

    @staticmethod
    def _said(source: Engine, error: ReadFailed | Error) -> str:
        """Tell what a source said when it failed; nothing where it was not the source."""
        if not isinstance(error, ReadFailed):
            return ""
        fault = source.fault(error.__cause__ or error, "")
        return f"{fault.message} [{fault.code}]"

    def _pause(self, seconds: float, reason: str) -> None:
        self.progress.message(f"  {reason}; trying again in {seconds:.1f} s")
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.check()
            time.sleep(min(NAP_SECONDS, left))

    def _given_up(self, error: Error) -> MigratorError:
        dest = self.endpoints.dest
        text = (
            f"{to_migrator_error(error, [dest])} It did so for {self.endpoints.retry_for:g} s (MIGRATOR['RETRY_FOR'])."
        )
        return MigratorError(text + lock_holders(dest))

    def reconnect(self) -> None:
        """Make sure that the session is the one that was set up and locked, or set up and lock another."""
        dest = self.endpoints.dest
        if dest.is_intact():
            return
        dest.connection.close()
        dest.open_destination()
        dest.end_lost_session()
        self._lock_again()
        dest.remember_session()
        if not self.is_ours():
            raise Refused(f"While the link to {dest.alias!r} was lost, another run took its place.")

    def _lock_again(self) -> None:
        """Take the lock, which the lost session holds until it has come to its end."""
        dest = self.endpoints.dest
        deadline = time.monotonic() + self.endpoints.retry_for
        while not dest.lock():
            # Nobody has it where it has just been given back, and a worker's own lock is that worker's alone.
            is_taken = dest.worker is None and dest.lock_holder() not in (None, dest.lost_session)
            if is_taken or time.monotonic() > deadline:
                raise Refused(
                    f"While the link to {dest.alias!r} was lost, another run took its place, or the server still holds "
                    "the old session."
                )
            self.check()
            time.sleep(NAP_SECONDS)
