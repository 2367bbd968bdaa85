"""Progress as tqdm bars, for terminals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any, TextIO

from tqdm import tqdm

from .overall import Overall
from .progress import StagedProgress, Task, interval_text, percent_of
from .safe_text import visible

LONGEST_LABEL = 34
DRAWN_EVERY_SECONDS = 0.2
SHOWN_AFTER_SECONDS = 0.5  # of the bar of a task within a run: most tables are small


class BarProgress(StagedProgress):
    """Draw a tqdm bar for the whole run, which stays, and below it one for the current task, which does not.

    A task outside of a run has a bar of its own, which stays.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream)
        self._bar: _Bar | None = None
        self._status: tqdm[Any] | None = None

    def message(self, text: str) -> None:
        if self._status is not None:
            self._status.close()
            self._status = None
        tqdm.write(visible(text), file=self._stream)

    def status(self, text: str) -> None:
        if self._status is None:
            self._status = tqdm(bar_format="{desc}", file=self._stream, leave=False, dynamic_ncols=True)
        self._status.set_description_str(visible(text))

    @contextmanager
    def run(self, weights: Mapping[str, float]) -> Iterator[None]:
        with super().run(weights), _Bar(total=1.0, file=self._stream, position=0, desc="starting") as self._bar:
            yield
            self._stop_ticker()
            if self._overall is not None:
                self._bar.draw("done", 1.0, f"in {interval_text(self._overall.seconds)}", is_due=True)
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
            text = f"{counts}{rate}ETA {interval_text(overall.seconds_left)}"
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
        whole = percent_of(min(self.n / self.total, 1.0)) if self.total else 0
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
            text += f", {_rate(rate)}/s, {interval_text(elapsed)}<{interval_text(left)}"
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
