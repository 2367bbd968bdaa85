"""Sessions that a filter of the copies would hide, and sources in which nothing is found, are never a success."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import caches
from django.db import connections
from django.test import override_settings

from migrator.databases.journal.journal import Journal
from migrator.databases.journal.records import RunState
from migrator.stores.base import digest
from tests.management.running import run
from tests.scenarios.faults.oracle import assert_ended
from tests.sessions.places import BACKENDS, CACHE, ROWS, Place, data_of, new_key, put

pytestmark = pytest.mark.redis
UUID = "de44628b-7bdc-4f0e-9d1b-3a51a2f0c001"
TO_ROWS = ("copy_sessions_cache_to_db", "--source", "redis", "--dest", "sqlite_a", "--no-input")
VERIFY = ("verify_sessions", "--source", "cache:redis", "--dest", "db:sqlite_a", "--mode", "full")
OTHER = Place("cache", "redis_other", "cache")
TENANT = ["one"]


def tenant_key(key: str, prefix: str, version: int) -> str:
    return f"{TENANT[0]}:{prefix}:{version}:{key}"


def key_of(session: str) -> str:
    return f"django.contrib.sessions.cache{session}"


def test_sessions_under_keys_of_another_shape_are_counted_and_listed(ready: Callable[..., None]) -> None:
    ready(CACHE, ROWS)
    good = put(CACHE, {"good": True})
    caches["redis"].set(key_of(UUID), {"a": 1}, 600)
    caches["redis"].set(key_of("A" * 32), 7, 600)  # no session, which nobody misses
    for words in ((*TO_ROWS, "--dry-run"), TO_ROWS, VERIFY):
        finished = run(*words, "--format", "json")
        assert_ended(finished, 4, "1 session left out in cache 'redis'", "does not match [a-z0-9]{32}", "--key-regex")
        assert [part["digests"] for part in json.loads(finished.out)["hidden"]] == [[digest(UUID)]]
        assert UUID not in finished.out + finished.err
    assert data_of(ROWS) == {good: {"good": True}}
    assert_ended(run(*TO_ROWS, "--key-regex", "[a-z0-9-]{32,36}"), 0)
    assert data_of(ROWS) == {good: {"good": True}, UUID: {"a": 1}}


def test_sessions_of_another_tenant_are_counted(ready: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    ready(OTHER, ROWS)
    shared = {**caches.settings["redis_other"], "KEY_FUNCTION": f"{__name__}.tenant_key", "KEY_PREFIX": "site"}
    given = {**caches.settings, "tenants": shared, "sibling": {**shared, "KEY_PREFIX": "sibling"}}
    keys = {}
    words = ("copy_sessions_cache_to_db", "--source", "tenants", "--dest", "sqlite_a", "--no-input")
    with override_settings(CACHES=given):
        for TENANT[0] in ("two", "three", "one"):
            keys[TENANT[0]] = new_key()
            caches["tenants"].set(key_of(keys[TENANT[0]]), {"tenant": TENANT[0]}, 600)
        caches["sibling"].set(key_of(new_key()), {"of": "a cache of its own"}, 600)

        finished = run(*words)

    assert_ended(finished, 4, "2 sessions could not be copied")
    assert "2 sessions left out in cache 'tenants'" in finished.out
    assert "Run the command once for each tenant" in finished.out
    assert digest(keys["two"]) in finished.out
    assert "keys such as three:site:1:django.contrib.sessions.cache… here" in finished.out
    assert data_of(ROWS) == {keys["one"]: {"tenant": "one"}}


@pytest.mark.parametrize("words", [TO_ROWS, (*TO_ROWS, "--dry-run"), VERIFY])
def test_nothing_found_is_no_success(words: tuple[str, ...], ready: Callable[..., None]) -> None:
    ready(CACHE, ROWS)
    with override_settings(SESSION_ENGINE=f"{BACKENDS}.file"):
        finished = run(*words)
    assert_ended(
        finished,
        3,
        "No session was found in cache 'redis'",
        "keys :1:django.contrib.sessions.cache… (session keys that match [a-z0-9]{32}).",
        "SESSION_ENGINE is 'django.contrib.sessions.backends.file', which keeps its sessions in the files of ",
        "(--source-engine file)",
    )


def test_a_prefix_under_which_nothing_is_names_the_one_under_which_something_is(ready: Callable[..., None]) -> None:
    ready(OTHER, ROWS)
    caches["redis_prefixed"].set(key_of(new_key()), {"a": 1}, 600)
    words = ("copy_sessions_cache_to_db", "--source", "redis_other", "--dest", "sqlite_a", "--no-input")
    prefixed = caches.settings["redis_prefixed"]
    renamed = {name: entry for name, entry in caches.settings.items() if name != "redis_prefixed"}
    with override_settings(CACHES=renamed):
        finished = run(*words)
    assert prefixed["KEY_PREFIX"] == "new"
    assert_ended(finished, 3, "1 key of this engine under another prefix or version", "new:1:django.contrib.sessions.c")


def test_given_keys_of_another_shape_are_counted(ready: Callable[..., None], tmp_path: Path) -> None:
    ready(CACHE, ROWS)
    good = put(CACHE, {"good": True})
    caches["redis"].set(key_of(UUID), {"a": 1}, 600)
    (tmp_path / "keys").write_text(f"{good}\n{UUID}\nnot a session's key\n")
    finished = run(*TO_ROWS, "--keys-from", tmp_path / "keys", "--format", "json")
    assert_ended(finished, 4)
    assert [part["digests"] for part in json.loads(finished.out)["hidden"]] == [[digest(UUID)]]
    assert data_of(ROWS) == {good: {"good": True}}


def test_given_keys_of_files_of_another_shape_are_counted(ready: Callable[..., None], tmp_path: Path) -> None:
    files, longer = Place("file", "files", "file"), "ab" * 20
    ready(files, ROWS)
    good = put(files, {"good": True})
    place = Path(settings.SESSION_FILE_PATH) / settings.SESSION_COOKIE_NAME
    shutil.copy(f"{place}{good}", f"{place}{longer}")
    (tmp_path / "keys").write_text(f"{good}\n{longer}\n../{good}\n")
    words = ("copy_sessions_db_to_db", "--source", "sqlite_b", "--dest", "sqlite_a", "--source-engine", "file")
    finished = run(*words, "--no-input", "--keys-from", tmp_path / "keys", "--format", "json")
    assert_ended(finished, 4)
    assert [part["digests"] for part in json.loads(finished.out)["hidden"]] == [[digest(longer)]]
    assert data_of(ROWS) == {good: {"good": True}}


def test_a_database_that_a_move_has_filled_in_part_is_no_source(ready: Callable[..., None]) -> None:
    other = Place("db", "sqlite_b", "db")
    ready(ROWS, other, CACHE)
    key = put(ROWS, {"a": 1})
    journal = Journal("sqlite_a")
    journal.set_state(journal.begin({}, [], empties=False), RunState.COPYING)
    to_cache = ("copy_sessions_db_to_cache", "--source", "sqlite_a", "--dest", "redis", "--no-input")
    for words in (
        to_cache,
        ("copy_sessions_db_to_db", "--source", "sqlite_a", "--dest", "sqlite_b", "--no-input"),
        ("verify_sessions", "--source", "db:sqlite_a", "--dest", "db:sqlite_b"),
    ):
        assert_ended(run(*words), 1, "'sqlite_a': it holds an unfinished run", "--resume", "--cleanup")
    assert_ended(run("batch_migrate", "--source", "sqlite_b", "--dest", "sqlite_a", "--cleanup", "--no-input"), 0)
    assert_ended(run(*to_cache), 0)
    assert data_of(CACHE) == {key: {"a": 1}}


def test_two_caches_of_a_cached_db_site_are_those_of_cached_db(ready: Callable[..., None]) -> None:
    source, dest = Place("cache", "redis", "cached_db"), Place("cache", "redis_other", "cached_db")
    ready(source, dest)
    key = put(source, {"a": 1})
    with override_settings(SESSION_ENGINE=f"{BACKENDS}.cached_db"):
        ends = ("--source", "redis", "--dest", "redis_other", "--no-input")
        assert_ended(run("copy_sessions_cache_to_cache", *ends), 0)
        words = ("verify_sessions", "--source", "cache:redis", "--dest", "cache:redis_other", "--mode", "full")
        assert_ended(run(*words), 0)
    assert data_of(dest) == {key: {"a": 1}}


def test_a_logout_is_followed_under_a_key_of_another_shape(ready: Callable[..., None], tmp_path: Path) -> None:
    ready(ROWS, CACHE)
    put(ROWS, {"stays": 1})
    put(ROWS, {"a": 1}, key=UUID)
    ends = ("--source", "sqlite_a", "--dest", "redis", "--no-input")
    words = ("copy_sessions_db_to_cache", *ends, "--manifest", str(tmp_path / "manifest"))
    assert_ended(run(*words), 0)
    assert caches["redis"].get(key_of(UUID)) == {"a": 1}
    _end(ROWS, UUID)
    assert_ended(run(*words), 0)
    assert caches["redis"].get(key_of(UUID)) is None


def _end(place: Place, key: str) -> None:
    with connections[place.alias].cursor() as cursor:
        cursor.execute("DELETE FROM django_session WHERE session_key = %s", [key])


def test_the_engine_and_the_cache_before_a_table_are_those_of_its_side(ready: Callable[..., None]) -> None:
    """As on the way back: what the cache of the old side holds of a session is older than what comes."""
    source, dest = Place("db", "sqlite_b", "cached_db"), Place("db", "sqlite_a", "cached_db")
    ready(Place("db", "sqlite_b", "db"), ROWS, CACHE, OTHER)
    stale = "django.contrib.sessions.cached_db" + put(Place("db", "sqlite_b", "db"), {"cart": 1})
    for alias in ("redis", "redis_other"):
        caches[alias].set(stale, {"cart": None}, 600)
    engine = f"{BACKENDS}.cached_db"
    sides: dict[str, Any] = {
        "OLD": {"ENGINE": engine, "DATABASE": dest.alias, "CACHE": "redis_other"},
        "NEW": {"ENGINE": engine, "DATABASE": source.alias, "CACHE": "redis"},
        "PHASE": "dual_new",
    }
    ends = ("--source", source.alias, "--dest", dest.alias, "--no-input")
    with override_settings(MIGRATOR={"SESSIONS": sides}, SESSION_CACHE_ALIAS="redis"):
        assert_ended(run("copy_sessions_db_to_db", *ends), 0)
    assert caches["redis_other"].get(stale) is None
    assert caches["redis"].get(stale) == {"cart": None}
