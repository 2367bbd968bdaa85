"""Reads for the pages, which wait for a database or a cache only for a moment.

Each read is made in a thread of its own, with connections of its own: it neither shares a transaction with the request
nor closes the request's connections. Visitors at the same time share one read, so that a server which does not answer
occupies one thread of a process, and no visitor waits longer than :data:`WAIT_SECONDS`.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from ..console.wording import duration_text
from ..errors import Refused, UsageError

WAIT_SECONDS = 3.0
T = TypeVar("T")


@dataclass(frozen=True)
class _Reading:
    """A read that is under way."""

    future: Future[Any] = field(default_factory=Future)
    started: float = field(default_factory=time.monotonic)


_under_way: dict[tuple[str, str], _Reading] = {}
_starting = threading.Lock()


def read_briefly(kind: str, name: str, read: Callable[[], T]) -> T:
    """Return what ``read`` returns; raise what it raises, and :exc:`Refused` if it takes too long.

    ``kind`` and ``name`` say what is read: a second read of the same waits for the first one's result.
    """
    with _starting:
        reading = _under_way.get((kind, name))
        if reading is None:
            reading = _Reading()
            arguments = ((kind, name), reading, read)
            threading.Thread(target=_read, args=arguments, name=f"read {kind}", daemon=True).start()
            _under_way[kind, name] = reading
    try:
        found: T = reading.future.result(max(reading.started + WAIT_SECONDS - time.monotonic(), 0))
    except TimeoutError:
        waited = duration_text(time.monotonic() - reading.started)
        raise Refused(f"{name!r} does not answer: nothing was received for {waited}.") from None
    except ImproperlyConfigured as error:
        raise UsageError(str(error)) from None
    return found


def _read(key: tuple[str, str], reading: _Reading, read: Callable[[], Any]) -> None:
    try:
        found = read()
    except BaseException as error:
        _ended(key)
        reading.future.set_exception(error)
    else:
        _ended(key)
        reading.future.set_result(found)


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
