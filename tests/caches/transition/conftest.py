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
