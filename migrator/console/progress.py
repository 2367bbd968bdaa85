"""How far the work is: counters that the work advances, drawn as tqdm bars, as plain lines, or not at all."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TextIO

from tqdm import tqdm

from .safe_text import visible

LINE_EVERY_SECONDS = 30.0


class Task(Protocol):
    """One counted piece of work, such as a table."""

    def advance(self, count: int) -> None:
        """Add ``count`` to the counter."""


class Progress:
    """Show nothing: the base of the others, and the default for calls from code."""

    def message(self, text: str) -> None:
        """Show one line to the user."""

    @contextmanager
    def task(self, label: str, total: int | None, *, done: int = 0, unit: str = "rows") -> Iterator[Task]:
        """Open a counter of ``total`` units, of which ``done`` are complete already (in a resumed run)."""
        yield _Uncounted()


class _Uncounted:
    def advance(self, count: int) -> None:
        return None


class LineProgress(Progress):
    """Write whole lines, for logs and pipes: one for a finished task, and one every half minute."""

    def __init__(self, stream: TextIO | None = None, *, every: float = LINE_EVERY_SECONDS) -> None:
        self._stream = stream or sys.stderr
        self.every = every

    def message(self, text: str) -> None:
        self._stream.write(f"{visible(text)}\n")
        self._stream.flush()

    @contextmanager
    def task(self, label: str, total: int | None, *, done: int = 0, unit: str = "rows") -> Iterator[Task]:
        counter = _LineTask(self, label, total, done, unit)
        yield counter
        counter.close()


class _LineTask:
    def __init__(self, progress: LineProgress, label: str, total: int | None, done: int, unit: str) -> None:
        self._progress, self._label, self._total, self._unit = progress, label, total, unit
        self._start_count = self._count = done
        self._started = self._shown = time.monotonic()

    def advance(self, count: int) -> None:
        self._count += count
        now = time.monotonic()
        if now - self._shown >= self._progress.every:
            self._shown = now
            self._progress.message(f"  {self._label}: {self._state(now)}{self._remaining(now)}")

    def close(self) -> None:
        self._progress.message(f"  {self._label}: {self._state(time.monotonic())}")

    def _state(self, now: float) -> str:
        of_total = "" if self._total is None else f" of {self._total:,}"
        return f"{self._count:,}{of_total} {self._unit}, {now - self._started:.1f} s"

    def _remaining(self, now: float) -> str:
        moved = self._count - self._start_count
        if self._total is None or not moved:
            return ""
        seconds = (now - self._started) / moved * max(self._total - self._count, 0)
        return f", about {seconds:.0f} s left"


class BarProgress(Progress):
    """Draw a tqdm bar for each task, with rate and time left."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr

    def message(self, text: str) -> None:
        tqdm.write(visible(text), file=self._stream)

    @contextmanager
    def task(self, label: str, total: int | None, *, done: int = 0, unit: str = "rows") -> Iterator[Task]:
        with tqdm(
            total=total,
            initial=done,
            desc=visible(f"  {label}"),
            unit=f" {unit}",
            unit_scale=True,
            smoothing=0.1,
            mininterval=0.2,
            file=self._stream,
            dynamic_ncols=True,
        ) as bar:
            yield _BarTask(bar)


class _BarTask:
    def __init__(self, bar: tqdm[Any]) -> None:
        self._bar = bar

    def advance(self, count: int) -> None:
        self._bar.update(count)


def progress_for(*, verbosity: int, shown: bool = True, stream: TextIO | None = None) -> Progress:
    """Choose how progress is drawn: bars on a terminal, lines elsewhere, nothing at verbosity 0.

    From verbosity 2 on, every step of a task writes a line, such as a chunk.
    """
    stream = stream or sys.stderr
    if verbosity == 0:
        return Progress()
    if verbosity > 1:
        return LineProgress(stream, every=0.0)
    if shown and stream.isatty():
        return BarProgress(stream)
    return LineProgress(stream)
