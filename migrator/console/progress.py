"""How far the work is: counters that the work advances. How they are drawn is chosen elsewhere; here, not at all.

A run of several stages has one counter for the whole, with the time left, in addition to that of its current task.
"""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol, TextIO

from tqdm import tqdm

from .overall import Overall

TICK_SECONDS = 1.0


class Task(Protocol):
    """One counted piece of work, such as a table."""

    def advance(self, count: int) -> None:
        """Add ``count`` to the counter."""


class Progress:
    """Show nothing: the base of the others, and the default for calls from code."""

    def message(self, text: str) -> None:
        """Show one line to the user."""

    @contextmanager
    def run(self, weights: Mapping[str, float]) -> Iterator[None]:
        """Count several stages as one; ``weights`` says how much work each of them is, in their order."""
        yield

    def stage(self, name: str, total: int = 0, *, done: int = 0, unit: str = "rows", ticks: bool = False) -> None:
        """Begin the next stage of the run, which its tasks count in ``unit``.

        ``ticks``: it may count nothing for a long time, so a thread refreshes what is shown. The process must not fork
        before the next stage.
        """

    def tick(self) -> None:
        """Refresh what is shown, if that is due."""

    @contextmanager
    def task(self, label: str, total: int | None, *, done: int = 0, unit: str = "rows") -> Iterator[Task]:
        """Open a counter of ``total`` units, of which ``done`` are complete already (in a resumed run)."""
        yield _Uncounted()

    def finished(self, label: str, total: int, unit: str = "rows") -> None:
        """Record that a piece of work is complete which had no task of its own."""

    def status(self, text: str) -> None:
        """Show the state of work that goes on until someone ends it, in place of the state before."""


class CheckedProgress(Progress):
    """Pass everything on to another progress, and call ``check`` whenever a task advances."""

    def __init__(self, progress: Progress, check: Callable[[], None]) -> None:
        self._progress, self._check = progress, check

    def message(self, text: str) -> None:
        self._progress.message(text)

    @contextmanager
    def task(self, label: str, total: int | None, *, done: int = 0, unit: str = "rows") -> Iterator[Task]:
        with self._progress.task(label, total, done=done, unit=unit) as task:
            yield _CheckedTask(task, self._check)

    def finished(self, label: str, total: int, unit: str = "rows") -> None:
        self._progress.finished(label, total, unit)


class _CheckedTask:
    def __init__(self, task: Task, check: Callable[[], None]) -> None:
        self._task, self._check = task, check

    def advance(self, count: int) -> None:
        self._check()
        self._task.advance(count)


class MessagesOnly(Progress):
    """Pass on what another progress is to say, and count nothing."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def message(self, text: str) -> None:
        self._progress.message(text)


class _Uncounted:
    def advance(self, count: int) -> None:
        return None


class StagedProgress(Progress):
    """Progress that knows how far the whole run is, and can refresh itself in a thread: the base of what is drawn."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        self._overall: Overall | None = None
        self._ticker: threading.Thread | None = None
        self._is_over = threading.Event()

    @contextmanager
    def run(self, weights: Mapping[str, float]) -> Iterator[None]:
        self._overall = Overall(weights)
        try:
            yield
        finally:
            self._stop_ticker()
            self._overall = None

    def stage(self, name: str, total: int = 0, *, done: int = 0, unit: str = "rows", ticks: bool = False) -> None:
        self._stop_ticker()
        if self._overall is None:
            return
        self._overall.begin(name, total, done, unit)
        self._show_stage(self._overall)
        if ticks:
            self._is_over = threading.Event()
            self._ticker = threading.Thread(target=self._keep_ticking, name="progress", daemon=True)
            self._ticker.start()

    def _show_stage(self, overall: Overall) -> None:
        raise NotImplementedError

    def _keep_ticking(self) -> None:
        while not self._is_over.wait(TICK_SECONDS):
            self.tick()

    def _stop_ticker(self) -> None:
        if self._ticker is not None:
            self._is_over.set()
            self._ticker.join()
            self._ticker = None


def percent_of(fraction: float) -> int:
    """Return a part of the whole in percent: 100 only when all is done."""
    return int(100 * fraction)


def interval_text(seconds: float | None) -> str:
    """Format how long something takes as a clock shows it, ``?`` for ``None``."""
    return "?" if seconds is None else tqdm.format_interval(math.ceil(seconds))
