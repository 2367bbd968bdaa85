"""How far the work is: counters that the work advances, drawn as tqdm bars, as plain lines, or not at all.

A run of several stages has one counter for the whole, with the time left, in addition to that of its current task.
"""

from __future__ import annotations

import datetime as dt
import math
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any, Protocol, TextIO

from tqdm import tqdm

from .overall import Overall
from .safe_text import visible

LINE_EVERY_SECONDS = 30.0
TICK_SECONDS = 1.0
LONGEST_LABEL = 34
DRAWN_EVERY_SECONDS = 0.2
SHOWN_AFTER_SECONDS = 0.5  # of the bar of a task within a run: most tables are small


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


class _Uncounted:
    def advance(self, count: int) -> None:
        return None


class _StagedProgress(Progress):
    """Progress that knows how far the whole run is, and can refresh itself in a thread."""

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


# -- lines ------------------------------------------------------------------------------------------------------------


class LineProgress(_StagedProgress):
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
    return f"run {_percent(overall.fraction)} %{rate}, ETA {_interval(overall.seconds_left)}"


def _unit(count: int, unit: str) -> str:
    """Return a unit, which is a plural, as it is used after a count."""
    return unit.removesuffix("s") if count == 1 else unit


def _percent(fraction: float) -> int:
    return int(100 * fraction)  # 100 only when all is done


def _interval(seconds: float | None) -> str:
    return "?" if seconds is None else tqdm.format_interval(math.ceil(seconds))


# -- bars -------------------------------------------------------------------------------------------------------------


class BarProgress(_StagedProgress):
    """Draw a tqdm bar for the whole run, which stays, and below it one for the current task, which does not.

    A task outside of a run has a bar of its own, which stays.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream)
        self._bar: _Bar | None = None

    def message(self, text: str) -> None:
        tqdm.write(visible(text), file=self._stream)

    @contextmanager
    def run(self, weights: Mapping[str, float]) -> Iterator[None]:
        with super().run(weights), _Bar(total=1.0, file=self._stream, position=0, desc="starting") as self._bar:
            yield
            self._stop_ticker()
            if self._overall is not None:
                self._bar.draw("done", 1.0, f"in {_interval(self._overall.seconds)}", is_due=True)
        self._bar = None

    def tick(self) -> None:
        if self._overall is not None:
            self._draw(self._overall, is_due=False)

    @contextmanager
    def task(self, label: str, total: int | None, *, done: int = 0, unit: str = "rows") -> Iterator[Task]:
        overall = self._overall
        if total == 0 or (overall is not None and (overall.total, overall.unit) == (total, unit)):
            yield _BarTask(self, None, unit)  # the bar of the whole run shows all of it
            return
        with _CountedBar(
            total=total,
            initial=done,
            desc=_shortened(f"  {label}"),
            unit=f" {unit}",
            file=self._stream,
            position=0 if overall is None else 1,
            leave=overall is None,
            delay=0.0 if overall is None else SHOWN_AFTER_SECONDS,
        ) as bar:
            yield _BarTask(self, bar, unit)

    def advance(self, count: int, unit: str) -> None:
        """Count for the whole run."""
        if self._overall is not None:
            self._overall.advance(count, unit)
            self._draw(self._overall, is_due=False)

    def _show_stage(self, overall: Overall) -> None:
        self._draw(overall, is_due=True)

    def _draw(self, overall: Overall, *, is_due: bool) -> None:
        counts = f"{overall.count:,}/{overall.total:,} {overall.unit}, " if overall.total else ""
        rate = "" if overall.rate is None else f"{_rate(overall.rate)}/s, "
        if self._bar is not None:
            text = f"{counts}{rate}ETA {_interval(overall.seconds_left)}"
            self._bar.draw(overall.stage, overall.fraction, text, is_due=is_due)


class _Bar(tqdm):  # type: ignore[type-arg]
    """A bar with a text of ours, and a percentage that is 100 only at the end."""

    def __init__(self, **options: Any) -> None:
        self.text = ""
        # The clock alone decides when the bar is drawn: chunks are few.
        super().__init__(
            bar_format="{desc} {whole:3d}%|{bar}| {text}",
            mininterval=DRAWN_EVERY_SECONDS,
            miniters=0,
            dynamic_ncols=True,
            **options,
        )

    @property
    def format_dict(self) -> MutableMapping[str, Any]:
        values = super().format_dict
        whole = _percent(min(self.n / self.total, 1.0)) if self.total else 0
        return {**values, "whole": whole, "text": self.text}

    def draw(self, label: str, fraction: float, text: str, *, is_due: bool) -> None:
        """Show a state: now if that ``is_due``, and otherwise unless the last one is too fresh."""
        self.text = text
        self.set_description_str(label, refresh=False)
        self.update(fraction - self.n)
        if is_due:
            self.refresh()


class _CountedBar(_Bar):
    """The bar of one task, which says its counts, and unless it is of a run also its rate and the time left."""

    def __init__(self, *, total: int | None, leave: bool, **options: Any) -> None:
        super().__init__(total=total, leave=leave, **options)
        if total is None:
            self.bar_format = "{desc}: {text}"
            self.refresh()

    @property
    def format_dict(self) -> MutableMapping[str, Any]:
        values = super().format_dict
        of_total = "" if self.total is None else f"/{self.total:,}"
        text = f"{self.n:,}{of_total}{self.unit}"
        if self.leave:
            elapsed, moved = values["elapsed"], self.n - self.initial
            rate = moved / elapsed if elapsed else 0.0
            left = None if self.total is None or not rate else max(self.total - self.n, 0) / rate
            text += f", {_rate(rate)}/s, {_interval(elapsed)}<{_interval(left)}"
        return {**values, "text": text}


class _BarTask:
    def __init__(self, progress: BarProgress, bar: _CountedBar | None, unit: str) -> None:
        self._progress, self._bar, self._unit = progress, bar, unit

    def advance(self, count: int) -> None:
        self._progress.advance(count, self._unit)
        if self._bar is not None:
            self._bar.update(count)


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate < 10_000 else f"{rate / 1000:,.0f}k"


def _shortened(label: str) -> str:
    shown = visible(label)
    return shown if len(shown) <= LONGEST_LABEL else f"{shown[: LONGEST_LABEL - 1]}…"


def progress_for(*, verbosity: int, shown: bool = True, stream: TextIO | None = None) -> Progress:
    """Choose how progress is drawn: bars on a terminal, lines elsewhere, nothing at verbosity 0.

    From verbosity 2 on, every step of a task writes a line, such as a chunk.
    """
    stream = stream or sys.stderr
    if verbosity == 0:
        return Progress()
    if verbosity > 1:
        return LineProgress(stream, every=0.0)
    if shown and stream.isatty() and _has_rows(stream):
        return BarProgress(stream)
    return LineProgress(stream)


def _has_rows(stream: TextIO) -> bool:
    """Whether a terminal has a size; tqdm writes empty lines to one without, such as a container's, instead of bars."""
    try:
        return os.get_terminal_size(stream.fileno()).lines > 0
    except (AttributeError, OSError, ValueError):  # an object that only acts as a terminal
        return True
