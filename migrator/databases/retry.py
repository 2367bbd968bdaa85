"""Trying again: the same step, after a lost link, a deadlock or a lock timeout of the destination."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count
from typing import TypeVar

from django.db import Error

from ..errors import MigratorError, Refused
from ..progress import Progress
from .ends import Ends, explained
from .engines.base.engine import Severity
from .journal import Chunk, Journal
from .rejects import Rejects
from .route import ReadFailed, Route, Tally
from .transfer import copy_chunk

LONGEST_PAUSE_SECONDS = 10.0
NAP_SECONDS = 0.2  # between two looks for a signal

Result = TypeVar("Result")


class Retries:
    """How one run meets passing faults: for how long, who is told, and what makes it stop sooner.

    ``check`` raises where a signal asks for the end. ``is_ours`` tells, with the lock back after a lost link, whether
    no other run was here meanwhile.
    """

    def __init__(
        self,
        ends: Ends,
        progress: Progress,
        check: Callable[[], None] = lambda: None,
        is_ours: Callable[[], bool] = lambda: True,
    ) -> None:
        self._ends, self._progress, self._check, self._is_ours = ends, progress, check, is_ours

    def run(self, action: Callable[[], Result]) -> Result:
        """Run an action until it succeeds, fails for good, or has met passing faults for too long.

        Inside a transaction it runs once, for that is tried again as a whole. Raises
        :exc:`~migrator.errors.MigratorError` where the source is lost, whose snapshot cannot come back.
        """
        if self._ends.dest.connection.in_atomic_block:
            return action()
        deadline: float | None = None
        for number in count(1):
            try:
                self._reconnect()
                return action()
            except ReadFailed as error:
                raise self._source_failed(error) from error
            except Error as error:
                if not self._ends.source.is_intact():
                    raise self._source_lost() from error
                if self._ends.dest.severity(error) is not Severity.RETRY:
                    raise
                if deadline is None:
                    deadline = time.monotonic() + self._ends.retry_for
                elif time.monotonic() > deadline:
                    raise self._given_up(error) from error
                reason = self._ends.dest.fault(error, "").message
            self._pause(min(LONGEST_PAUSE_SECONDS, 0.1 * 2**number), reason)
        raise AssertionError("unreachable")

    def _pause(self, seconds: float, reason: str) -> None:
        self._progress.message(f"  {self._ends.dest.alias!r}: {reason}; trying again in {seconds:.1f} s")
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._check()
            time.sleep(min(NAP_SECONDS, left))

    def _source_failed(self, error: ReadFailed) -> MigratorError:
        source = self._ends.source
        fault = source.fault(error.__cause__ or error, "")
        return MigratorError(f"The source {source.alias!r} failed while it was read: {fault.message} [{fault.code}].")

    def _source_lost(self) -> MigratorError:
        return MigratorError(f"The link to the source {self._ends.source.alias!r} is lost, and its snapshot with it.")

    def _given_up(self, error: Error) -> MigratorError:
        dest = self._ends.dest
        text = f"{explained(error, [dest])} It did so for {self._ends.retry_for:g} s (MIGRATOR['RETRY_FOR'])."
        if dest.is_intact() and (blockers := dest.blockers()):
            text += f" Others there that may hold a lock: {'; '.join(blockers)}."
        return MigratorError(text)

    def _reconnect(self) -> None:
        """Make sure that the session is the one that was set up and locked, or set up and lock another."""
        dest = self._ends.dest
        if dest.is_intact():
            return
        dest.connection.close()
        dest.connect()
        dest.open_destination()
        dest.end_lost_session()
        self._lock_again()
        dest.remember_session()
        if not self._is_ours():
            raise Refused(f"While the link to {dest.alias!r} was lost, another run took its place.")

    def _lock_again(self) -> None:
        """Take the lock, which the lost session holds until it has come to its end."""
        dest = self._ends.dest
        deadline = time.monotonic() + self._ends.retry_for
        while not dest.lock():
            holder = dest.lock_holder()  # nobody, where it has just been given back
            if holder not in (None, dest.lost_session) or time.monotonic() > deadline:
                raise Refused(
                    f"While the link to {dest.alias!r} was lost, another run took its place, or the server still holds "
                    "the old session."
                )
            self._check()
            time.sleep(NAP_SECONDS)


def copy_with_retries(route: Route, chunk: Chunk, journal: Journal, rejects: Rejects, retries: Retries) -> Tally:
    """Copy a chunk, again if need be. What the destination has recorded as done is not done twice."""

    def attempt() -> Tally:
        if attempts and journal.is_done(chunk):  # the link was lost after the commit and before its answer
            chunk.refresh_from_db(using=route.dest.alias)
            return Tally(chunk.rows_read, chunk.rows_written, chunk.rows_rejected, chunk.bytes_written)
        attempts.append(1)
        return copy_chunk(route, chunk, journal, rejects)

    attempts: list[int] = []
    tally = retries.run(attempt)
    if not route.dest.connection.in_atomic_block:
        rejects.settle()
    return tally
