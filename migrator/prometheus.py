"""The counts of transitions for Prometheus, read when it scrapes them; needs ``prometheus_client``."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, cast

from django.core.cache import caches

from . import conf
from .caches.transition.cache import TransitionCache
from .caches.transition.status import transitions
from .clock import MICROSECONDS_PER_SECOND
from .processes.shared_reads import begin_read
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
        begun = [  # all are read at the same time
            (name, begin_read("counts", name, partial(_samples_of, name, metrics)))
            for name, metrics in self._transitions()
        ]
        for name, reading in begun:
            try:
                samples = reading.result(deadline - time.monotonic())
            except TimeoutError:
                self._log(name, "no answer yet")
            except Exception as error:
                self._log(name, _named(error))
            else:
                self._failing.discard(name)
                yield from samples

    def _transitions(self) -> Iterator[tuple[str, Callable[[], Metrics | None]]]:
        """Yield the name of each transition, and how to open its metrics."""
        yield "sessions", _metrics_of_sessions
        try:
            aliases = list(transitions())
        except Exception as error:  # whatever a cache's constructor raises
            self._log("caches", _named(error))
            return
        yield from ((f"cache:{alias}", partial(_metrics_of_cache, alias)) for alias in aliases)

    def _log(self, name: str, problem: str) -> None:
        """Log a problem once, until the counts can be read again."""
        if name not in self._failing:
            self._failing.add(name)
            logger.warning("Prometheus gets no counts of %s: they could not be read (%s).", name, problem)


def _samples_of(name: str, metrics_of: Callable[[], Metrics | None]) -> list[_Sample]:
    metrics = metrics_of()
    counts = {} if metrics is None else metrics.read().counts
    return [
        _Sample(
            (name, phase.value, event),
            float(count.number),
            None if count.last is None else count.last / MICROSECONDS_PER_SECOND,
        )
        for (phase, event), count in counts.items()
    ]


def _metrics_of_sessions() -> Metrics | None:
    return session_metrics() if conf.load().SESSIONS else None


def _metrics_of_cache(alias: str) -> Metrics:
    return cast(TransitionCache, caches[alias]).tally()


def _named(error: Exception) -> str:
    """Return the type of an error; a driver's message may contain credentials."""
    return f"{type(error).__module__}.{type(error).__qualname__}"
