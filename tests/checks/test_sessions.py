"""Mistakes in the settings of a transition of sessions are reported before any traffic."""

from typing import Any

import pytest
from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from migrator.checks.sessions import ENGINE, check_sessions
from migrator.sessions.transition import SessionStore

B = "django.contrib.sessions.backends"
ROWS = {"ENGINE": f"{B}.db", "DATABASE": "default"}
CACHE = {"ENGINE": f"{B}.cache", "CACHE": "redis"}
TABLE = {"ENGINE": f"{B}.cache", "CACHE": "table"}
pytestmark = pytest.mark.redis


def found(old: Any = ROWS, new: Any = CACHE, engine: str = ENGINE, **more: Any) -> list[str]:
    """Return the ids of what the check finds."""
    return ids({"SESSIONS": {"OLD": old, "NEW": new, "PHASE": "old", **more}}, engine)


def ids(setting: Any, engine: str = ENGINE) -> list[str]:
    with override_settings(SESSION_ENGINE=engine, MIGRATOR=setting):
        return [str(message.id).removeprefix("migrator.") for message in check_sessions(None)]


def test_finds_nothing_wrong() -> None:
    assert found() == []
    assert (
        found(CACHE, {**ROWS, "ENGINE": f"{B}.cached_db", "CACHE": "redis_other"}, PHASE="dual_old", ROLLOUT=10) == []
    )
    assert ids({}, f"{B}.db") == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"old": 1}, ["E030"]),
        ({"old": {}}, ["E030"]),
        ({"old": {**ROWS, "ALIAS": "x"}}, ["E030"]),
        ({"PHASES": "old"}, ["E030"]),
        ({"old": {**ROWS, "DATABASE": "absent"}}, ["E032"]),
        ({"new": {**CACHE, "CACHE": "absent"}}, ["E033"]),
        ({"old": {"ENGINE": "no.such.engine"}}, ["E034"]),
        ({"old": {"ENGINE": f"{B}.signed_cookies"}}, ["E034"]),
        ({"old": {"ENGINE": ENGINE}}, ["E034"]),
        ({"old": {**ROWS, "CACHE": "redis"}}, ["E034"]),
        ({"new": {**CACHE, "DATABASE": "default"}}, ["E034"]),
        ({"old": ROWS, "new": ROWS}, ["E035"]),
        ({"old": ROWS, "new": {"ENGINE": f"{B}.db"}}, ["E035"]),
        ({"old": ROWS, "new": {**ROWS, "ENGINE": f"{B}.cached_db", "CACHE": "redis"}}, ["E035"]),
        ({"old": CACHE, "new": CACHE}, ["E035"]),
        ({"new": {**CACHE, "CACHE": "default"}}, ["E036"]),  # each process has one of its own
        ({"new": {**CACHE, "CACHE": "dummy"}}, ["E036"]),
        ({"PHASE": "later"}, ["E037"]),
        ({"PHASE": "no.such.function"}, ["E037"]),
        ({"PHASE": "dual_old", "ROLLOUT": 101}, ["E038"]),
        ({"TALLY": "cache:absent"}, ["E039"]),
        ({"engine": f"{B}.db"}, ["W030"]),
        ({"old": {**CACHE, "CACHE": "files"}, "new": ROWS}, ["W031"]),
        ({"old": {**CACHE, "CACHE": "hashed"}, "new": ROWS}, ["W031"]),
        ({"new": {**CACHE, "CACHE": "small_table"}}, ["W032"]),
        ({"new": {**CACHE, "CACHE": "silent"}}, ["W034"]),
        ({"new": {"ENGINE": f"{B}.cached_db", "DATABASE": "sqlite_a", "CACHE": "silent"}}, ["W034"]),
        ({"PHASE": "dual_new", "ROLLOUT": 10}, ["W033"]),
    ],
    ids=str,
)
def test_finds(given: dict[str, Any], expected: list[str]) -> None:
    assert found(**given) == expected


def test_finds_a_memcached_that_hides_its_failures() -> None:
    backend = "django.core.cache.backends.memcached.PyMemcacheCache"
    entry = {"BACKEND": backend, "LOCATION": "127.0.0.1:1", "OPTIONS": {"ignore_exc": True}}
    with override_settings(CACHES={**caches.settings, "memcached": entry}):
        assert found(new={**CACHE, "CACHE": "memcached"}) == ["E040"]


def test_finds_an_engine_without_its_stores() -> None:
    assert ids({}) == ["E031"]


@pytest.mark.parametrize("setting", [{}, {"SESSIONS": {"OLD": ROWS, "NEW": ROWS}}, {"SESSIONS": {"OLD": ROWS}}])
def test_the_engine_does_not_begin_with_a_wrong_setting(setting: Any) -> None:
    with override_settings(SESSION_ENGINE=ENGINE, MIGRATOR=setting), pytest.raises(ImproperlyConfigured):
        SessionStore("a" * 32).load()


def test_asks_no_server() -> None:
    nowhere = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:1/0"}
    with override_settings(CACHES={**caches.settings, "redis": nowhere}):
        assert found() == []
