"""Worker processes: each is forked, is given one task after another, and ends with its parent."""

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
from enum import StrEnum
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, TypeVar

from django.core.cache import caches
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from ..console.interrupts import SIGNALS
from ..errors import MigratorError

STOP_SECONDS = 5.0

Result = TypeVar("Result")
Report = Callable[[Any], None]
Work = Callable[[Callable[[int], None]], Result]
# Opens what a worker needs, in its own process; the context is the function that carries out a task.
OpenWorker = Callable[[int, Report], AbstractContextManager[Callable[[Any], Any]]]

_inherited: list[Any] = []  # the parent's sessions: finalising one here would end it for the parent, too


class WorkerEvent(StrEnum):
    """What happened to a worker. It sends these itself, except DIED."""

    READY = "ready"  # it has opened what it needs
    MESSAGE = "message"
    DONE = "done"  # a task, with its result
    FAILED = "failed"  # a task, or the start of the worker, with the error
    GONE = "gone"  # it cannot continue, and says why
    DIED = "died"  # it ended without saying so
    # Of workers on other hosts: a task came to nothing, and anyone may carry it out; READY follows when they can have
    # another. The value is whether it was lost with a worker that had begun it.
    LOST = "lost"


class CannotWork(MigratorError):
    """This process cannot work, or cannot continue; others may."""


@dataclass(frozen=True)
class Event:
    """An event of one worker, by its number, and the value that it sent with it."""

    worker: int
    kind: WorkerEvent
    value: Any = None


def can_fork() -> bool:
    """Whether this system can fork, so that a process has the project's settings and connections from its start."""
    return sys.platform != "win32" and "fork" in multiprocessing.get_all_start_methods()


class Pool:
    """Workers by number, each with its pipe. Leaving the context kills those that are busy, and lets the others end."""

    def __init__(self, open_worker: OpenWorker) -> None:
        self._open_worker = open_worker
        self._context = multiprocessing.get_context("fork")
        self._workers: dict[int, tuple[BaseProcess, Connection]] = {}
        self._opening: set[int] = set()
        self._busy: set[int] = set()
        # Only this process has the write end open: when it dies, the workers read an end of file.
        self._life, self._alive = os.pipe()

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in self._busy | self._opening:
            self._workers[number][0].kill()
        for _, pipe in self._workers.values():
            pipe.close()
        for process, _ in self._workers.values():
            process.join(STOP_SECONDS)
            process.kill()
            process.join()
        self._workers.clear()
        os.close(self._alive)
        os.close(self._life)

    @property
    def numbers(self) -> set[int]:
        """The numbers of the workers that are alive, as far as is known."""
        return set(self._workers)

    def start(self, number: int) -> None:
        """Fork a worker, which sends READY when it has opened what it needs. Raises :exc:`OSError` if it cannot."""
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=self._child, args=(number, ours, theirs), daemon=True)
        # A signal between the fork and the worker's first line would run the parent's handler there.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            with warnings.catch_warnings():
                # Python warns of locks that other threads hold. The parent's threads wait for signals or draw the
                # progress, and a worker does neither.
                warnings.filterwarnings("ignore", ".*multi-threaded, use of fork", DeprecationWarning)
                process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        theirs.close()
        self._workers[number] = process, ours
        self._opening.add(number)

    def assign(self, number: int, task: Any) -> None:
        """Send a task to an idle worker."""
        self._busy.add(number)
        with contextlib.suppress(OSError):  # it is dead, which its next event says
            self._workers[number][1].send(task)

    def events(self, timeout: float) -> list[Event]:
        """Wait for events of the workers, at most so many seconds."""
        pipes = {pipe: number for number, (_, pipe) in self._workers.items()}
        return [self._receive(pipes[pipe], pipe) for pipe in wait(list(pipes), timeout) if isinstance(pipe, Connection)]

    def _receive(self, number: int, pipe: Connection) -> Event:
        try:
            kind, value = pipe.recv()
        except (EOFError, OSError):
            kind, value = WorkerEvent.DIED, None
        if kind in (WorkerEvent.DONE, WorkerEvent.FAILED, WorkerEvent.GONE, WorkerEvent.DIED):
            self._busy.discard(number)
        has_ended = kind in (WorkerEvent.GONE, WorkerEvent.DIED)
        if has_ended or (kind is WorkerEvent.FAILED and number in self._opening):
            process, _ = self._workers.pop(number)
            pipe.close()
            process.join()
        if kind is not WorkerEvent.MESSAGE:
            self._opening.discard(number)
        return Event(number, kind, value)

    # -- in the worker's process --------------------------------------------------------------------------------

    def _child(self, number: int, ours: Connection, theirs: Connection) -> NoReturn:
        code = 1
        try:
            self._separate_from_parent()
            for inherited in [ours, *(pipe for _, pipe in self._workers.values())]:
                inherited.close()
            self._serve(number, theirs)
            code = 0
        finally:
            os._exit(code)  # nothing that was inherited is flushed or finalised

    def _separate_from_parent(self) -> None:
        for signal_number in SIGNALS:
            signal.signal(signal_number, signal.SIG_IGN)  # the parent decides
        signal.set_wakeup_fd(-1)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        gc.freeze()
        os.close(self._alive)
        threading.Thread(target=_end_with_parent, args=(self._life,), name="parent", daemon=True).start()
        abandon_sessions()

    def _serve(self, number: int, pipe: Connection) -> None:
        def send(kind: WorkerEvent, value: Any = None) -> None:
            with contextlib.suppress(OSError):  # the parent has ended, and this process will
                pipe.send((kind, value))

        try:
            with self._open_worker(number, lambda value: send(WorkerEvent.MESSAGE, value)) as carry_out:
                send(WorkerEvent.READY)
                for task in _tasks(pipe):
                    send(*_outcome(carry_out, task))
        except CannotWork as error:
            send(WorkerEvent.GONE, error)
        except Exception as error:
            send(WorkerEvent.FAILED, _as_migrator_error(error))


def _tasks(pipe: Connection) -> Iterator[Any]:
    with contextlib.suppress(EOFError, OSError):  # there are no more, or the parent has ended
        while True:
            yield pipe.recv()


def _outcome(carry_out: Callable[[Any], Any], task: Any) -> tuple[WorkerEvent, Any]:
    try:
        return WorkerEvent.DONE, carry_out(task)
    except CannotWork:
        raise
    except Exception as error:
        return WorkerEvent.FAILED, _as_migrator_error(error)


def _as_migrator_error(error: Exception) -> MigratorError:
    if isinstance(error, MigratorError):
        return error
    return MigratorError(f"A process failed: {type(error).__name__} at {_line_of(error)}.")


def _line_of(error: Exception) -> str:
    """Return the file and line that raised an error; its text may contain values."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(last.filename).name}:{last.lineno}"


def _end_with_parent(life: int) -> None:
    os.read(life, 1)  # returns at the end of file
    os._exit(1)


def abandon_sessions() -> None:
    """Drop the parent's database sessions in a forked process, without sending anything to their servers."""
    for wrapper in connections.all(initialized_only=True):
        _inherited.append(wrapper.connection)
        wrapper.connection = None
        leave_pool(wrapper)  # its threads are the parent's, and so are its sessions


def leave_pool(wrapper: BaseDatabaseWrapper) -> None:
    """Have a connection open sessions of its own from now on, and not take them from a pool of its process."""
    options = dict(wrapper.settings_dict.get("OPTIONS") or {})
    if options.pop("pool", None):
        wrapper.settings_dict = {**wrapper.settings_dict, "OPTIONS": options}


# -- one piece of work for each -----------------------------------------------------------------------------------


def run_side_by_side(
    work: Sequence[Work[Result]], tick: Callable[[int], None], check: Callable[[], None]
) -> list[Result]:
    """Run each piece of work in a process of its own; return their results.

    ``tick`` is called with the counts that they report, and ``check`` now and then. Raises what a process raised, and
    :exc:`MigratorError` if one was killed.
    """

    @contextlib.contextmanager
    def open_worker(number: int, report: Report) -> Iterator[Callable[[Any], Result]]:
        try:
            yield lambda task: work[number](report)
        finally:
            _close_connections()

    _close_connections()
    with Pool(open_worker) as pool:
        for number in range(len(work)):
            pool.start(number)
            pool.assign(number, "all of it")
        return _collect(pool, len(work), tick, check)


def _collect(pool: Pool, expected: int, tick: Callable[[int], None], check: Callable[[], None]) -> list[Any]:
    results: list[Any] = []
    while len(results) < expected:
        for event in pool.events(0.5):
            match event.kind:
                case WorkerEvent.MESSAGE:
                    tick(event.value)
                case WorkerEvent.DONE:
                    results.append(event.value)
                case WorkerEvent.DIED:
                    raise MigratorError(
                        "A copying process was killed. What was copied stays; run the same command again."
                    )
                case WorkerEvent.FAILED | WorkerEvent.GONE:
                    raise event.value
        check()
    return results


def _close_connections() -> None:
    connections.close_all()
    for cache in caches.all(initialized_only=True):
        cache.close()
