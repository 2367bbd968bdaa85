"""The counts of transitions for Prometheus, read when it scrapes them; needs ``prometheus_client``."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, cast

from django.core.cache import caches
from django.db import connections

from . import conf
from .caches.transition.cache import TransitionCache
from .caches.transition.status import transitions
from .clock import MICROSECONDS_PER_SECOND
from .sessions.transition.session_metrics import session_metrics
from .transitions.metrics import Metrics

if TYPE_CHECKING:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

__all__ = ["TransitionCollector"]

logger = logging.getLogger("migrator.prometheus")

LABELS = ("transition", "phase", "event")


class _Sample(NamedTuple):
    """One count, and when it last grew, in seconds of Unix time; ``last`` is None if it never did."""

    labels: tuple[str, str, str]
    number: float
    last: float | None


class TransitionCollector:
    """What all workers have counted in the transitions of sessions and caches, for a registry of ``prometheus_client``.

    A scrape reads each transition's counts once, and waits ``timeout`` seconds at most for all of them together. It
    writes nothing. If a store does not answer, that is logged as a warning, and its transition has no samples.
    """

    def __init__(self, *, timeout: float = 5.0) -> None:
        self._timeout = timeout
        self._readings: dict[str, _Reading] = {}
        self._failing: set[str] = set()

    def describe(self) -> tuple[CounterMetricFamily, GaugeMetricFamily]:
        """Return the metrics without samples: to be registered takes no store."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        return (
            CounterMetricFamily(
                "migrator_transition_events", "Events that all workers have counted in a transition.", labels=LABELS
            ),
            GaugeMetricFamily(
                "migrator_transition_last_event_timestamp_seconds",
                "When an event was last counted in a transition.",
                labels=LABELS,
            ),
        )

    def collect(self) -> tuple[CounterMetricFamily, GaugeMetricFamily]:
        """Return the metrics of this moment. Never raises."""
        events, last = families = self.describe()
        for sample in self._samples():
            events.add_metric(sample.labels, sample.number)
            if sample.last is not None:
                last.add_metric(sample.labels, sample.last)
        return families

    def _samples(self) -> Iterator[_Sample]:
        deadline = time.monotonic() + self._timeout
        # All are read at the same time.
        for name, reading in [(name, self._begun(name, metrics)) for name, metrics in self._transitions()]:
            reading.wait(deadline - time.monotonic())
            self._log(name, reading.problem)
            if reading.problem is None:
                yield from reading.samples

    def _transitions(self) -> Iterator[tuple[str, Callable[[], Metrics | None]]]:
        """Yield the name of each transition, and how to open its metrics."""
        yield "sessions", _metrics_of_sessions
        try:
            aliases = list(transitions())
        except Exception as error:  # whatever a cache's constructor raises
            self._log("caches", _named(error))
            return
        yield from ((f"cache:{alias}", partial(_metrics_of_cache, alias)) for alias in aliases)

    def _begun(self, name: str, metrics: Callable[[], Metrics | None]) -> _Reading:
        """Return a reading that has begun: that of an earlier scrape if its store has still not answered."""
        reading = self._readings.get(name)
        if reading is None or reading.is_over:
            reading = self._readings[name] = _Reading(name, metrics)
        return reading

    def _log(self, name: str, problem: str | None) -> None:
        """Log a problem once, until the counts can be read again."""
        if problem is None:
            self._failing.discard(name)
        elif name not in self._failing:
            self._failing.add(name)
            logger.warning("Prometheus gets no counts of %s: they could not be read (%s).", name, problem)


class _Reading:
    """Counts that are being read in a separate thread, so that a store that hangs does not delay the scrape."""

    def __init__(self, name: str, metrics: Callable[[], Metrics | None]) -> None:
        self._name, self._metrics = name, metrics
        self.samples: list[_Sample] = []
        self.problem: str | None = "no answer yet"
        self._thread = threading.Thread(target=self._run, name=f"metrics of {name}, to be scraped", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:  # no more threads, or the process is about to exit
            self.problem = _named(error)

    @property
    def is_over(self) -> bool:
        return not self._thread.is_alive()

    def wait(self, seconds: float) -> None:
        """Wait until the counts are there, and not longer."""
        if self._thread.is_alive():
            self._thread.join(max(seconds, 0.0))

    def _run(self) -> None:
        try:
            metrics = self._metrics()
            if metrics is not None:
                self.samples = list(_samples(self._name, metrics))
            self.problem = None
        except Exception as error:
            self.problem = _named(error)
        finally:
            connections.close_all()


def _samples(name: str, metrics: Metrics) -> Iterator[_Sample]:
    for (phase, event), count in metrics.read().counts.items():
        last = None if count.last is None else count.last / MICROSECONDS_PER_SECOND
        yield _Sample((name, phase.value, event), float(count.number), last)


def _metrics_of_sessions() -> Metrics | None:
    return session_metrics() if conf.load().SESSIONS else None


def _metrics_of_cache(alias: str) -> Metrics:
    return cast(TransitionCache, caches[alias]).tally()


def _named(error: Exception) -> str:
    """Return the type of an error; a driver's message may contain credentials."""
    return f"{type(error).__module__}.{type(error).__qualname__}"
