"""The interface of Django's caches, kept by transitions in every phase as by plain backends."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.cache import caches

from migrator.transitions.phases import Phase
from tests.caches.transition.conftest import Make
from tests.caches.transition.places import Now, markers_of
from tests.caches.transition.suite import Awaited, CacheSuite, Called, TimedSuite

# Each backend once as OLD and once as NEW.
PAIRS = (
    ("redis", "client"),
    ("client", "memcached"),
    ("memcached", "postgresql"),
    ("postgresql", "mysql"),
    ("mysql", "sqlite"),
    ("sqlite", "redis"),
)
BACKENDS = ("redis", "client", "memcached", "postgresql", "locmem", "files")


def parameters() -> Any:
    """Give each pair in its dual phases, called; some of them awaited, and in the phases of one cache alone."""
    cases = [(*pair, phase, Called) for pair in PAIRS for phase in (Phase.DUAL_OLD, Phase.DUAL_NEW)]
    cases += [("redis", "client", Phase.DUAL_NEW, Awaited), ("redis", "locmem", Phase.DUAL_OLD, Awaited)]
    cases += [("redis", "client", Phase.OLD, Called), ("files", "redis", Phase.NEW, Awaited)]
    for old, new, phase, way in cases:
        marks = [getattr(pytest.mark, name) for name in sorted(set(markers_of(old, new)))]
        yield pytest.param((old, new, phase, way), marks=marks, id=f"{old}-{new}-{phase}-{way.__name__.lower()}")


class TestTransition(CacheSuite):
    @pytest.fixture(params=parameters())
    def cache(self, request: pytest.FixtureRequest, make: Make) -> Any:
        old, new, phase, way = request.param
        return way(make(old, new, phase))


def plain_parameters() -> Any:
    for name in BACKENDS:
        for way in (Called, Awaited) if name == "redis" else (Called,):
            marks = [getattr(pytest.mark, marker) for marker in markers_of(name)]
            yield pytest.param((name, way), marks=marks, id=f"{name}-{way.__name__.lower()}")


class TestPlainBackend(CacheSuite):
    """Proves the suite right."""

    @pytest.fixture(params=plain_parameters())
    def cache(self, request: pytest.FixtureRequest, make: Make) -> Any:
        name, way = request.param
        make(name, "redis" if name != "redis" else "locmem")
        return way(caches["old"])

    def test_deletes_many_of_an_iterator(self, cache: Any) -> None:
        """Not all of them do."""

    def test_sets_many(self, cache: Any) -> None:
        assert not cache.set_many({"a": 1, "b": "two"})  # some give None
        assert (cache.get("a"), cache.get("b")) == (1, "two")


def timed_parameters() -> Any:
    for old, new, phase in (
        ("redis", "client", Phase.DUAL_NEW),
        ("memcached", "redis", Phase.DUAL_NEW),
        ("postgresql", "redis", Phase.DUAL_OLD),
    ):
        marks = [getattr(pytest.mark, name) for name in sorted(set(markers_of(old, new)))]
        yield pytest.param((old, new, phase), marks=marks, id=f"{old}-{new}-{phase}")


class TestTransitionInTime(TimedSuite):
    @pytest.fixture(params=timed_parameters())
    def cache(self, request: pytest.FixtureRequest, make: Make) -> Any:
        return make(*request.param)


class TestSeed(CacheSuite):
    """A transition whose values were all written before it began: only OLD has them, and NEW takes them over."""

    @pytest.fixture(params=[("redis", "client"), ("postgresql", "memcached")], ids="-".join)
    def cache(self, request: pytest.FixtureRequest, make: Make) -> Any:
        cache = make(*request.param)

        class Seeded(Called):
            """What is set is set in OLD alone."""

            def set(self, *args: Any, **kwargs: Any) -> None:
                Now.phase = "dual_old"
                try:
                    self.cache.set(*args, **kwargs)
                finally:
                    Now.phase = "dual_new"

        return Seeded(cache)
