"""Trying again: the same chunk, after a lost link, a deadlock or a lock timeout of the destination."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count
from typing import TypeVar

from django.db import Error

from ..errors import MigratorError, Refused
from ..progress import Progress
from .ends import Ends
from .engines.base.engine import Severity, SnapshotLost
from .journal import Chunk, Journal
from .rejects import Rejects
from .route import ReadFailed, Route, Tally
from .transfer import copy_chunk

RETRY_FOR_SECONDS = 300.0
LOST_SESSION_SECONDS = 5.0  # in which a server notices that the other end of a session is gone
LONGEST_PAUSE_SECONDS = 10.0

Result = TypeVar("Result")


def copy_with_retries(
    route: Route, chunk: Chunk, journal: Journal, rejects: Rejects, ends: Ends, progress: Progress
) -> Tally:
    """Copy a chunk, again if need be. What the destination has recorded as done is not done twice."""

    def attempt() -> Tally:
        if attempts and journal.is_done(chunk):  # the link was lost after the commit and before its answer
            chunk.refresh_from_db(using=route.dest.alias)
            return chunk.tally()
        attempts.append(1)
        return copy_chunk(route, chunk, journal, rejects)

    attempts: list[int] = []
    if route.dest.connection.in_atomic_block:  # a group is tried again as a whole
        return attempt()
    return with_retries(ends, progress, attempt)


def with_retries(ends: Ends, progress: Progress, action: Callable[[], Result]) -> Result:
    """Run an action until it succeeds, fails for good, or five minutes of passing faults are over.

    Raises :exc:`~migrator.errors.MigratorError` where the source is lost, whose snapshot cannot come back.
    """
    deadline = time.monotonic() + RETRY_FOR_SECONDS
    for number in count(1):
        try:
            reconnect(ends)
            return action()
        except (ReadFailed, Error) as error:
            reason = _reason_to_try_again(ends, error, is_late=time.monotonic() > deadline)
            pause = min(LONGEST_PAUSE_SECONDS, 0.1 * 2**number)
            progress.message(f"  {reason}; trying again in {pause:.1f} s")
            time.sleep(pause)
    raise AssertionError("unreachable")


def _reason_to_try_again(ends: Ends, error: ReadFailed | Error, *, is_late: bool) -> str:
    """Name the passing fault; raise what is none, or came too late."""
    source, dest = ends.source, ends.dest
    if not source.is_intact():
        if is_late or not source.rejoin_snapshot():
            raise SnapshotLost(source.alias) from error
        source.remember_session()
        return f"{source.alias!r}: the link was lost, and its snapshot found again"
    if isinstance(error, ReadFailed):
        fault = source.fault(error.__cause__ or error, "")
        raise MigratorError(f"The source {source.alias!r} failed while it was read: {fault.message}.") from error
    if is_late or dest.severity(error) is not Severity.RETRY:
        raise error
    return f"{dest.alias!r}: {dest.fault(error, '').message}"


def reconnect(ends: Ends) -> None:
    """Make sure that the session is the one that was set up and locked, or set up and lock another."""
    if ends.dest.is_intact():
        return
    ends.dest.connection.close()
    ends.dest.open_destination()
    ends.dest.remember_session()
    deadline = time.monotonic() + LOST_SESSION_SECONDS
    while not ends.dest.lock():
        if time.monotonic() < deadline:
            time.sleep(0.05)
            continue
        raise Refused(
            f"While the link to {ends.dest.alias!r} was lost, another run took its place, or the server still holds "
            "the old session."
        )
