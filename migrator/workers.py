"""Several processes that copy side by side, each its share of the keys."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from django.core.cache import caches
from django.db import connections

from .errors import MigratorError
from .outages import words_of

Found = TypeVar("Found")
Work = Callable[[Callable[[int], None]], Found]


def can_fork() -> bool:
    """Tell whether processes can be started that know the project's settings already."""
    return sys.platform != "win32" and "fork" in multiprocessing.get_all_start_methods()


def run_side_by_side(
    work: Sequence[Work[Found]], tick: Callable[[int], None], check: Callable[[], None]
) -> list[Found]:
    """Run each piece of work in a process of its own; return what they found.

    Raises what a process raised, and :exc:`MigratorError` where one was killed.
    """
    _close_connections()
    context = multiprocessing.get_context("fork")
    processes, ends = [], []
    for piece in work:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_child, args=(piece, theirs), daemon=True)
        process.start()
        theirs.close()
        processes.append(process)
        ends.append(ours)
    try:
        return _collect(ends, tick, check)
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _collect(ends: Sequence[Connection], tick: Callable[[int], None], check: Callable[[], None]) -> list[Any]:
    open_ends = list(ends)
    found: list[Any] = []
    while open_ends:
        for end in wait(open_ends, timeout=0.5):
            assert isinstance(end, Connection)  # noqa: S101  (what wait was given)
            try:
                kind, value = end.recv()
            except EOFError:
                raise MigratorError(
                    "A copying process was killed. What was copied stays; run the same command again."
                ) from None
            if kind == "tick":
                tick(value)
                continue
            open_ends.remove(end)
            if kind == "error":
                raise value
            found.append(value)
        check()
    return found


def _child(work: Work[Any], end: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        end.send(("done", work(lambda count: end.send(("tick", count)))))
    except MigratorError as error:
        end.send(("error", error))
    except Exception as error:
        end.send(("error", MigratorError(f"A copying process failed: {words_of(error)}")))
    finally:
        _close_connections()
        end.close()


def _close_connections() -> None:
    connections.close_all()
    for cache in _open_caches():
        cache.close()


def _open_caches() -> list[Any]:
    return list(caches.all(initialized_only=True))
