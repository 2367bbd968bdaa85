"""Progress as plain lines with their time, for logs and pipes."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

from .overall import Overall
from .progress import StagedProgress, Task, interval_text, percent_of
from .safe_text import visible

LINE_EVERY_SECONDS = 30.0


class LineProgress(StagedProgress):
    """Write whole lines with their time, for logs and pipes: one for a finished task, and one every half minute."""

    def __init__(self, stream: TextIO | None = None, *, every: float = LINE_EVERY_SECONDS) -> None:
        super().__init__(stream)
        self.every = every
        self.shown = 0.0

    def message(self, text: str) -> None:
        moment = dt.datetime.now().astimezone().isoformat(timespec="seconds")
        self._stream.write(f"{moment} {visible(text)}\n")
        self._stream.flush()

    @contextmanager
    def run(self, weights: Mapping[str, float]) -> Iterator[None]:
        self.shown = time.monotonic()
        with super().run(weights):
            yield

    def status(self, text: str) -> None:
        now = time.monotonic()
        if now - self.shown >= max(self.every, LINE_EVERY_SECONDS):
            self.shown = now
            self.message(f"  {text}")

    def tick(self) -> None:
        now = time.monotonic()
        if self._overall is not None and now - self.shown >= max(self.every, LINE_EVERY_SECONDS):
            self.shown = now
            self.message(f"  {self._overall.stage}: {overall_text(self._overall)}")

    @contextmanager
    def task(self, label: str, total: int | None, *, done: int = 0, unit: str = "rows") -> Iterator[Task]:
        counter = _LineTask(self, label, total, done, unit)
        yield counter
        counter.close()

    def finished(self, label: str, total: int, unit: str = "rows") -> None:
        if total:
            self.message(f"  {label}: {total:,} {_unit(total, unit)}")

    def advance(self, count: int, unit: str) -> Overall | None:
        """Count for the whole run, and return it; ``None`` if there is none."""
        if self._overall is not None:
            self._overall.advance(count, unit)
        return self._overall

    def _show_stage(self, overall: Overall) -> None:
        counted = f": {overall.total:,} {_unit(overall.total, overall.unit)}" if overall.total else ""
        self.message(f"{overall.stage}{counted}")


class _LineTask:
    def __init__(self, progress: LineProgress, label: str, total: int | None, done: int, unit: str) -> None:
        self._progress, self._label, self._total, self._unit = progress, label, total, unit
        self._start_count = self._count = done
        self._started = self._shown = time.monotonic()

    def advance(self, count: int) -> None:
        self._count += count
        now, whole = time.monotonic(), self._progress.advance(count, self._unit)
        last = self._shown if whole is None else self._progress.shown
        if now - last >= self._progress.every and (count or self._progress.every):
            self._shown = self._progress.shown = now
            rest = self._remaining(now) if whole is None else f"; {overall_text(whole)}"
            self._progress.message(f"  {self._label}: {self._state(now)}{rest}")

    def close(self) -> None:
        if self._total != 0:
            self._progress.message(f"  {self._label}: {self._state(time.monotonic())}")

    def _state(self, now: float) -> str:
        of_total = "" if self._total is None else f" of {self._total:,}"
        unit = _unit(self._count if self._total is None else self._total, self._unit)
        return f"{self._count:,}{of_total} {unit}, {now - self._started:.1f} s"

    def _remaining(self, now: float) -> str:
        moved = self._count - self._start_count
        if self._total is None or not moved:
            return ""
        seconds = (now - self._started) / moved * max(self._total - self._count, 0)
        return f", about {seconds:.0f} s left"


def overall_text(overall: Overall) -> str:
    """Describe in a line how far a run is as a whole."""
    rate = "" if overall.rate is None else f", {overall.rate:,.0f} {overall.unit}/s"
    return f"run {percent_of(overall.fraction)} %{rate}, ETA {interval_text(overall.seconds_left)}"


def _unit(count: int, unit: str) -> str:
    """Return a unit, which is a plural, as it is used after a count."""
    return unit.removesuffix("s") if count == 1 else unit
