"""Prometheus gets what all workers have counted; a store that fails or hangs costs its samples and nothing else."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import caches
from django.test import override_settings
from prometheus_client import CollectorRegistry, generate_latest

from migrator.prometheus import TransitionCollector
from migrator.sessions.transition.session_metrics import session_metrics
from migrator.transitions.cache_metrics import CacheMetricsStorage
from migrator.transitions.database_metrics import DatabaseMetricsStorage
from migrator.transitions.phases import Phase
from tests.servers.base import PASSWORD
from tests.servers.databases import FreshDatabases

EVENTS = "migrator_transition_events_total"
LAST = "migrator_transition_last_event_timestamp_seconds"
LOCMEM = "django.core.cache.backends.locmem.LocMemCache"
LOGGER = "migrator.prometheus"
DATABASE = "django.contrib.sessions.backends.db"
STORES = [
    pytest.param("cache:redis_a", id="redis", marks=pytest.mark.redis),
    *(
        pytest.param(f"db:{engine}_a", id=engine, marks=getattr(pytest.mark, engine))
        for engine in ("postgresql", "mysql", "sqlite")
    ),
]


def settings_with(tally: str) -> dict[str, Any]:
    sides = {"OLD": {"ENGINE": DATABASE}, "NEW": {"ENGINE": DATABASE, "DATABASE": "sqlite_a"}}
    return {"SESSIONS": {**sides, "PHASE": "dual_new", "TALLY": tally}}


@pytest.fixture
def counted(request: pytest.FixtureRequest, databases: FreshDatabases) -> Iterator[None]:
    """Count two events in a store, and one in a cache that moves; another cache has nothing to do with it."""
    tally = getattr(request, "param", "db:sqlite_a")
    if tally.startswith("db:"):
        databases.fresh(tally.removeprefix("db:"))
    else:
        caches["redis_a"].clear()
    sides = {side: {"BACKEND": LOCMEM, "LOCATION": f"scraped {side}"} for side in ("OLD", "NEW")}
    moving = {"BACKEND": "migrator.caches.TransitionCache", **sides, "PHASE": "dual_old"}
    with override_settings(MIGRATOR=settings_with(tally), CACHES={**caches.settings, "moving": moving}):
        session_metrics().count("fallback", 2, phase=Phase.DUAL_NEW)
        session_metrics().flush()
        caches["moving"].set("key-of-a-cache", 1)
        caches["moving"].get("key-of-a-cache")
        caches["moving"].tally().flush()
        yield
        caches["moving"].NEW.clear()


@pytest.fixture
def registry() -> CollectorRegistry:
    found = CollectorRegistry()
    found.register(TransitionCollector(timeout=0.2))
    return found


@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize("counted", STORES, indirect=True)
def test_a_scrape_has_the_counts_and_the_times_of_all_workers() -> None:
    registry = CollectorRegistry()
    registry.register(TransitionCollector())
    fallbacks = {"transition": "sessions", "phase": "dual_new", "event": "fallback"}
    assert registry.get_sample_value(EVENTS, fallbacks) == 2
    assert abs((registry.get_sample_value(LAST, fallbacks) or 0) - time.time()) < 30
    misses = {**fallbacks, "event": "miss"}
    assert registry.get_sample_value(EVENTS, misses) == 0
    assert registry.get_sample_value(LAST, misses) is None, "it was never counted"
    hits = {"transition": "cache:moving", "phase": "dual_old", "event": "hit_old"}
    assert registry.get_sample_value(EVENTS, hits) == 1
    session_metrics().count("fallback", phase=Phase.DUAL_NEW)
    session_metrics().flush()
    text = generate_latest(registry).decode()
    assert f'{EVENTS}{{event="fallback",phase="dual_new",transition="sessions"}} 3.0' in text
    assert "key-of-a-cache" not in text


@pytest.mark.usefixtures("counted")
def test_registration_asks_no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    for storage in (CacheMetricsStorage, DatabaseMetricsStorage):
        monkeypatch.setattr(storage, "read", lambda *args: pytest.fail("a store was read"))
    registry = CollectorRegistry()
    registry.register(TransitionCollector())
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        registry.register(TransitionCollector())


@pytest.mark.usefixtures("counted")
def test_a_store_that_fails_is_logged_once_and_leaves_the_others(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: Any) -> None:
        raise ConnectionError(f"with {PASSWORD}")

    with monkeypatch.context() as patched, caplog.at_level(logging.WARNING, LOGGER):
        patched.setattr(DatabaseMetricsStorage, "read", fail)
        for _ in range(2):
            text = generate_latest(registry).decode()
            assert 'transition="sessions"' not in text
            assert 'transition="cache:moving"' in text
        expected = "Prometheus gets no counts of sessions: they could not be read (builtins.ConnectionError)."
        assert caplog.messages == [expected]
    assert 'transition="sessions"' in generate_latest(registry).decode()


@pytest.mark.usefixtures("counted")
def test_a_store_that_hangs_delays_no_scrape_and_takes_one_thread(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answer, read = threading.Event(), DatabaseMetricsStorage.read

    def hang(storage: DatabaseMetricsStorage, name: str) -> Any:
        answer.wait(60)
        return read(storage, name)

    monkeypatch.setattr(DatabaseMetricsStorage, "read", hang)
    for _ in range(3):
        assert 'transition="sessions"' not in generate_latest(registry).decode()
    reading = [thread for thread in threading.enumerate() if thread.name == "read counts of sessions"]
    assert len(reading) == 1, "three scrapes share one read, and none has waited for its end"
    logged = [text for text in caplog.messages if text.startswith("Prometheus gets no counts of sessions: ")]
    assert len(logged) == 1
    assert logged[0].endswith("(no answer yet).")
    answer.set()
    reading[0].join(10)
    assert 'transition="sessions"' in generate_latest(registry).decode()


@pytest.mark.parametrize("settings", [{"SESSIONS": {"OLD": "nothing"}}, {"SESSIONS": None}, {}])
def test_settings_that_describe_no_transition_have_no_samples(settings: Any, registry: CollectorRegistry) -> None:
    with override_settings(MIGRATOR=settings):
        text = generate_latest(registry).decode()
    assert EVENTS not in [line.split("{")[0] for line in text.splitlines()]
