"""Reads of databases and caches for several who ask at the same time, none of whom has to wait for the answer.

Each read is made in a thread of its own, with connections of its own: it neither shares a transaction with its callers
nor closes their connections. Callers that ask for the same while it is under way share it, so a server that does not
answer occupies one thread of a process.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from django.core.cache import caches
from django.db import connections

T = TypeVar("T")


class SharedRead(Generic[T]):
    """A read that is under way, or has ended."""

    def __init__(self) -> None:
        self._future: Future[T] = Future()
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long ago it began."""
        return time.monotonic() - self._started

    def result(self, seconds: float) -> T:
        """Return what was read, and raise what that raised; :exc:`TimeoutError` if it takes longer than ``seconds``."""
        return self._future.result(max(seconds, 0))

    def make(self, key: tuple[str, str], read: Callable[[], T]) -> None:
        """Read, and give the result to those who wait; ``key`` says what is read."""
        try:
            found = read()
        except BaseException as error:
            _ended(key)
            self._future.set_exception(error)
        else:
            _ended(key)
            self._future.set_result(found)

    def fail(self, error: Exception) -> None:
        """Give an error to those who wait."""
        self._future.set_exception(error)


_under_way: dict[tuple[str, str], SharedRead[Any]] = {}
_starting = threading.Lock()


def begin_read(kind: str, name: str, read: Callable[[], T]) -> SharedRead[T]:
    """Begin to read, unless that is under way; ``kind`` and ``name`` say what is read."""
    key = (kind, name)
    with _starting:
        under_way: SharedRead[T] | None = _under_way.get(key)
        if under_way is not None:
            return under_way
        begun = SharedRead[T]()
        thread = threading.Thread(target=begun.make, args=(key, read), name=f"read {kind} of {name}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # no more threads, or the process is about to exit
            begun.fail(error)
        else:
            _under_way[key] = begun
    return begun


def _ended(key: tuple[str, str]) -> None:
    connections.close_all()
    caches.close_all()
    with _starting:
        _under_way.pop(key, None)


def _reset_after_fork() -> None:
    """Forget the parent's reads: their threads are not in the child."""
    global _starting
    _under_way.clear()
    _starting = threading.Lock()


os.register_at_fork(after_in_child=_reset_after_fork)
