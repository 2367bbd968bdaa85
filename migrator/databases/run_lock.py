"""The lock that keeps two runs from writing to the same destination at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import Refused
from .engines.base.engine import Engine
from .journal.journal import Journal


@contextmanager
def locked(dest: Engine, journal: Journal) -> Iterator[None]:
    """Hold the lock of a destination. Raises :exc:`Refused`, which names the holder, if another run has it."""
    if not _acquire(dest):
        raise Refused(f"Another run is writing to {dest.alias!r}{_holder(dest, journal)}. Wait for it, or stop it.")
    try:
        yield
    finally:
        if dest.connection.connection is not None and dest.connection.is_usable():
            dest.unlock()


def _acquire(dest: Engine) -> bool:
    if not dest.lock():
        return False
    if not dest.workers():  # workers that a killed run left behind may still commit
        return True
    dest.unlock()
    return False


def _holder(dest: Engine, journal: Journal) -> str:
    run = journal.current()
    session = dest.lock_holder()
    known = [run.holder()] if run else []
    known += [f"session {session} of the server"] if session else []
    return f" ({', '.join(known)})" if known else ""
