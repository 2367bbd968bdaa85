"""Processes that work side by side: each is forked, is given one order after the other, and ends with its parent."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, TypeVar

from django.core.cache import caches
from django.db import connections

from ..console.interrupts import SIGNALS
from ..errors import MigratorError

# What a worker sends of itself; DIED is what the pool says of one that sends no more.
READY, TOLD, DONE, FAILED, GONE, DIED = "ready", "told", "done", "failed", "gone", "died"
STOP_SECONDS = 5.0

Found = TypeVar("Found")
Tell = Callable[[Any], None]
Work = Callable[[Callable[[int], None]], Found]
# Opens what a worker needs, in its own process, and gives what carries out an order.
OpenWorker = Callable[[int, Tell], AbstractContextManager[Callable[[Any], Any]]]

_inherited: list[Any] = []  # the parent's sessions: to finalise one would end it for the parent, too


class CannotWork(MigratorError):
    """This process cannot work, or cannot go on; others may."""


@dataclass(frozen=True)
class Event:
    """What became of a worker: its number, the kind of the news, and what it sent with it."""

    worker: int
    kind: str
    value: Any = None


def can_fork() -> bool:
    """Tell whether processes can be started that know the project's settings already."""
    return sys.platform != "win32" and "fork" in multiprocessing.get_all_start_methods()


class Pool:
    """Workers by number, each with its pipe. Leaving it ends them: those that are busy at once, the others in peace."""

    def __init__(self, open_worker: OpenWorker) -> None:
        self._open_worker = open_worker
        self._context = multiprocessing.get_context("fork")
        self._workers: dict[int, tuple[BaseProcess, Connection]] = {}
        self._opening: set[int] = set()
        self._at_work: set[int] = set()
        # Only this process holds the writing end, so that its death is an end of file to the workers.
        self._life, self._alive = os.pipe()

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in self._at_work | self._opening:
            self._workers[number][0].kill()
        for _, end in self._workers.values():
            end.close()
        for process, _ in self._workers.values():
            process.join(STOP_SECONDS)
            process.kill()
            process.join()
        self._workers.clear()
        os.close(self._alive)
        os.close(self._life)

    @property
    def numbers(self) -> set[int]:
        """The workers that live, as far as is known."""
        return set(self._workers)

    def start(self, number: int) -> None:
        """Fork a worker. It says READY when it has opened what it needs."""
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=self._child, args=(number, ours, theirs), daemon=True)
        # A signal between the fork and the worker's first line would be taken for one to the parent.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            with warnings.catch_warnings():
                # Python fears locks that other threads hold. Ours wait for signals or draw the progress, and a worker
                # does neither.
                warnings.filterwarnings("ignore", ".*multi-threaded, use of fork", DeprecationWarning)
                process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        theirs.close()
        self._workers[number] = process, ours
        self._opening.add(number)

    def give(self, number: int, order: Any) -> None:
        """Hand an order to a worker that has none."""
        self._at_work.add(number)
        with contextlib.suppress(OSError):  # it is dead, which the next events say
            self._workers[number][1].send(order)

    def events(self, timeout: float) -> list[Event]:
        """Wait for news of the workers, at most so many seconds."""
        ends = {end: number for number, (_, end) in self._workers.items()}
        return [self._heard(ends[end], end) for end in wait(list(ends), timeout) if isinstance(end, Connection)]

    def _heard(self, number: int, end: Connection) -> Event:
        try:
            kind, value = end.recv()
        except (EOFError, OSError):
            kind, value = DIED, None
        if kind in (DONE, FAILED, GONE, DIED):
            self._at_work.discard(number)
        if kind in (GONE, DIED) or (kind == FAILED and number in self._opening):
            process, _ = self._workers.pop(number)
            end.close()
            process.join()
        if kind != TOLD:
            self._opening.discard(number)
        return Event(number, kind, value)

    # -- in the worker's process --------------------------------------------------------------------------------

    def _child(self, number: int, ours: Connection, theirs: Connection) -> NoReturn:
        code = 1
        try:
            self._part_from_parent()
            for inherited in [ours, *(end for _, end in self._workers.values())]:
                inherited.close()
            self._serve(number, theirs)
            code = 0
        finally:
            os._exit(code)  # nothing that was inherited is flushed or finalised

    def _part_from_parent(self) -> None:
        for signal_number in SIGNALS:
            signal.signal(signal_number, signal.SIG_IGN)  # the parent decides
        signal.set_wakeup_fd(-1)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        gc.freeze()
        os.close(self._alive)
        threading.Thread(target=_end_with_parent, args=(self._life,), name="parent", daemon=True).start()
        abandon_sessions()

    def _serve(self, number: int, end: Connection) -> None:
        def send(kind: str, value: Any = None) -> None:
            with contextlib.suppress(OSError):  # the parent is gone, and this process will be
                end.send((kind, value))

        try:
            with self._open_worker(number, lambda value: send(TOLD, value)) as carry_out:
                send(READY)
                for order in _orders(end):
                    send(*_answer(carry_out, order))
        except CannotWork as error:
            send(GONE, error)
        except Exception as error:
            send(FAILED, _as_ours(error))


def _orders(end: Connection) -> Iterator[Any]:
    with contextlib.suppress(EOFError, OSError):  # there are no more, or the parent is gone
        while True:
            yield end.recv()


def _answer(carry_out: Callable[[Any], Any], order: Any) -> tuple[str, Any]:
    try:
        return DONE, carry_out(order)
    except CannotWork:
        raise
    except Exception as error:
        return FAILED, _as_ours(error)


def _as_ours(error: Exception) -> MigratorError:
    if isinstance(error, MigratorError):
        return error
    return MigratorError(f"A process failed: {type(error).__name__} at {_place(error)}.")


def _place(error: Exception) -> str:
    """Say where an error came from; its text may hold values."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(last.filename).name}:{last.lineno}"


def _end_with_parent(life: int) -> None:
    os.read(life, 1)
    os._exit(1)


def abandon_sessions() -> None:
    """Let go of the parent's database sessions, in a forked process, without a word to their servers."""
    for wrapper in connections.all(initialized_only=True):
        _inherited.append(wrapper.connection)
        wrapper.connection = None
        options = dict(wrapper.settings_dict.get("OPTIONS") or {})
        if options.pop("pool", None):  # its threads are not here, and its sessions are the parent's
            wrapper.settings_dict = {**wrapper.settings_dict, "OPTIONS": options}


# -- a fixed piece of work for each -----------------------------------------------------------------------------------


def run_side_by_side(
    work: Sequence[Work[Found]], tick: Callable[[int], None], check: Callable[[], None]
) -> list[Found]:
    """Run each piece of work in a process of its own; return what they found.

    Raises what a process raised, and :exc:`MigratorError` where one was killed.
    """

    @contextlib.contextmanager
    def open_worker(number: int, tell: Tell) -> Iterator[Callable[[Any], Found]]:
        try:
            yield lambda order: work[number](tell)
        finally:
            _close_connections()

    _close_connections()
    with Pool(open_worker) as pool:
        for number in range(len(work)):
            pool.start(number)
            pool.give(number, "the whole")
        return _collect(pool, len(work), tick, check)


def _collect(pool: Pool, expected: int, tick: Callable[[int], None], check: Callable[[], None]) -> list[Any]:
    found: list[Any] = []
    while len(found) < expected:
        for event in pool.events(0.5):
            if event.kind == TOLD:
                tick(event.value)
            elif event.kind == DONE:
                found.append(event.value)
            elif event.kind == DIED:
                raise MigratorError("A copying process was killed. What was copied stays; run the same command again.")
            elif event.kind in (FAILED, GONE):
                raise event.value
        check()
    return found


def _close_connections() -> None:
    connections.close_all()
    for cache in caches.all(initialized_only=True):
        cache.close()
