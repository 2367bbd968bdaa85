"""Copies of sessions that engines of a project's own keep: through the engine, or refused with a way that there is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import caches
from django.test import override_settings

from tests.management.running import run
from tests.sessions.engines import sealed
from tests.sessions.places import CACHE, ROWS, Place, data_of

from ..oracle import assert_ended

pytestmark = pytest.mark.redis
ENGINES = "tests.sessions.engines"
OTHER = Place("cache", "redis_other", "cache")
TO_OTHER = ("copy_sessions_cache_to_cache", "--source", "redis", "--dest", "redis_other", "--no-input")
TO_ROWS = ("copy_sessions_cache_to_db", "--source", "redis", "--dest", "sqlite_a", "--no-input")
FROM_ROWS = ("copy_sessions_db_to_cache", "--source", "sqlite_a", "--dest", "redis_other", "--no-input")


def test_sessions_that_an_engine_encrypts_go_through_it(ready: Callable[..., None]) -> None:
    ready(CACHE, OTHER, ROWS)
    with override_settings(SESSION_ENGINE=f"{ENGINES}.sealed", SESSION_CACHE_ALIAS="redis"):
        session: Any = sealed.SessionStore()
        session["who"] = "ann"
        session.save()
        key = session.session_key
        assert_ended(run(*TO_OTHER), 0)
        assert caches["redis_other"].get(f"shop.sealed:{key}") == caches["redis"].get(f"shop.sealed:{key}")
        assert_ended(run(*TO_ROWS), 0)
        assert data_of(ROWS) == {key: {"who": "ann"}}
        caches["redis_other"].clear()
        assert_ended(run(*FROM_ROWS), 0)
        words = ("verify_sessions", "--source", "cache:redis", "--dest", "cache:redis_other", "--mode", "full")
        assert_ended(run(*words), 0)
    with override_settings(SESSION_CACHE_ALIAS="redis_other"):
        assert sealed.SessionStore(key).load() == {"who": "ann"}


def test_an_engine_of_several_values_is_left_to_the_copy_of_its_cache(ready: Callable[..., None]) -> None:
    ready(CACHE, OTHER, ROWS)
    caches["redis"].set("django.contrib.sessions.cache" + "a" * 32 + ".who", "ann", 600)
    for words in (TO_OTHER, TO_ROWS, FROM_ROWS):
        end = "--dest-engine" if words is FROM_ROWS else "--source-engine"
        assert_ended(run(*words, end, f"{ENGINES}.split"), 1, "do not keep a session as one value", "copy_cache")
    assert_ended(run("copy_cache", *TO_OTHER[1:]), 0)
    assert caches["redis_other"].get("django.contrib.sessions.cache" + "a" * 32 + ".who") == "ann"


def test_an_engine_with_a_server_of_its_own_is_never_taken_for_a_table(ready: Callable[..., None]) -> None:
    ready(CACHE, ROWS)
    engine = ("--source-engine", f"{ENGINES}.elsewhere")
    for words in (
        TO_ROWS,
        FROM_ROWS,
        ("copy_sessions_db_to_db", "--source", "sqlite_a", "--dest", "sqlite_b", "--no-input"),
        ("verify_sessions", "--source", "cache:redis", "--dest", "db:sqlite_a"),
    ):
        assert_ended(run(*words, *engine), 1, "in no cache of CACHES, no table and no files", "MIGRATOR['SESSIONS']")
    with override_settings(SESSION_ENGINE=f"{ENGINES}.elsewhere"):
        assert_ended(run(*FROM_ROWS), 3, "No session was found", "by means of its own", "MIGRATOR['SESSIONS']")
