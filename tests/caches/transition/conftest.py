"""A pair of caches in a phase."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from django.core.cache import caches
from django.test import override_settings

from migrator.transitions.phases import Phase
from tests.caches.transition.places import Now, TableRouter, prepare, settings_of
from tests.servers.databases import FreshDatabases

Make = Callable[..., Any]


@pytest.fixture(autouse=True)
def _first_phase() -> Iterator[None]:
    Now.phase = "old"
    yield
    Now.phase = "old"


class MemoryTally:
    """Counts, and keeps what it counted to itself."""

    def __init__(self) -> None:
        self.events: Counter[str] = Counter()

    def count(self, event: str, number: int = 1, *, phase: Phase) -> None:
        self.events[event] += number


@pytest.fixture(autouse=True)
def tally(monkeypatch: pytest.MonkeyPatch) -> MemoryTally:
    """Give what is counted in this test."""
    tally = MemoryTally()
    monkeypatch.setattr("migrator.caches.transition.cache.metrics_for_cache", lambda name, cache: tally)
    monkeypatch.setattr("migrator.caches.transition.cache._workers", {})  # as in a process that was just started
    return tally


@pytest.fixture(scope="session")
def _table_databases(databases: FreshDatabases) -> set[str]:
    return set()


@pytest.fixture
def make(databases: FreshDatabases, _table_databases: set[str]) -> Iterator[Make]:
    """Give a function that sets a pair up as `default`, `old` and `new`, empty, in a phase."""
    with ExitStack() as stack:

        def pair(old: str = "redis", new: str = "client", phase: str = "dual_new", **more: Any) -> Any:
            for name in (old, new):
                alias = f"{name}_a"
                if name in ("postgresql", "mysql", "sqlite") and alias not in _table_databases:
                    databases.fresh(alias)
                    _table_databases.add(alias)
            stack.enter_context(
                override_settings(CACHES=settings_of(old, new, **more), DATABASE_ROUTERS=[TableRouter()])
            )
            prepare("old", "new")
            Now.phase = phase
            return caches["default"]

        yield pair
        caches.close_all()


class Between:
    """Lets somebody else act right after, or before, a method of one side; once."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, target: Any, name: str, act: Callable[[], Any], when: str
    ) -> None:
        plain = getattr(target, name)
        self.done = False

        def call(*args: Any, **kwargs: Any) -> Any:
            if self.done or when == "after":
                answer = plain(*args, **kwargs)
            if not self.done:
                self.done = True
                act()
                if when == "before":
                    answer = plain(*args, **kwargs)
            return answer

        monkeypatch.setattr(target, name, call)


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Between]:
    def hook(alias: str, name: str, act: Callable[[], Any], when: str = "after") -> Between:
        return Between(monkeypatch, caches[alias], name, act, when)

    return hook


Hook = Callable[..., Between]


def in_phase(phase: str, act: Callable[[], Any]) -> Callable[[], Any]:
    """Act as a worker in another phase."""

    def acting() -> Any:
        mine, Now.phase = Now.phase, phase
        try:
            return act()
        finally:
            Now.phase = mine

    return acting
