"""Copies of sessions that engines of a project's own keep: through the engine, or refused with a way that there is."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.sessions.backends import cache, db, file
from django.core.cache import caches
from django.test import override_settings

from tests.management.running import run
from tests.scenarios.faults.oracle import assert_ended
from tests.sessions.engines import sealed, uuids
from tests.sessions.places import CACHE, ROWS, Place, data_of, put

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
        assert_ended(run(*words, end, f"{ENGINES}.split"), 1, "do not store a session as one value", "copy_cache")
    assert_ended(run("copy_cache", *TO_OTHER[1:]), 0)
    assert caches["redis_other"].get("django.contrib.sessions.cache" + "a" * 32 + ".who") == "ann"


def test_an_engine_with_a_server_of_its_own_is_never_taken_for_a_table(ready: Callable[..., None]) -> None:
    ready(CACHE, OTHER, ROWS)
    engine = ("--source-engine", f"{ENGINES}.elsewhere")
    for words in (
        TO_ROWS,
        FROM_ROWS,
        ("copy_sessions_db_to_db", "--source", "sqlite_a", "--dest", "sqlite_b", "--no-input"),
        ("verify_sessions", "--source", "cache:redis", "--dest", "db:sqlite_a"),
    ):
        assert_ended(run(*words, *engine), 1, "not keep its sessions in a cache of CACHES", "MIGRATOR['SESSIONS']")
    with override_settings(SESSION_ENGINE=f"{ENGINES}.elsewhere"):
        assert_ended(run(*FROM_ROWS), 3, "No session was found", "in a store of its own", "MIGRATOR['SESSIONS']")


def digest_of(key: str | None) -> str:
    return hashlib.sha256(str(key).encode()).hexdigest()[:40]


class HashedCache(cache.SessionStore):
    """Whoever reads its cache cannot log in by what is there."""

    @property
    def cache_key(self) -> str:
        return f"{self.cache_key_prefix}{digest_of(self._get_or_create_session_key())}"  # type: ignore[attr-defined]

    def exists(self, session_key: str) -> bool:
        return f"{self.cache_key_prefix}{digest_of(session_key)}" in self._cache


class HashedRows(db.SessionStore):
    def create_model_instance(self, data: Any) -> Any:
        row = super().create_model_instance(data)
        row.session_key = digest_of(row.session_key)
        return row

    def exists(self, session_key: str) -> bool:
        return super().exists(digest_of(session_key))


class HashedFiles(file.SessionStore):
    def _key_to_file(self, session_key: str | None = None) -> str:
        return str(super()._key_to_file(digest_of(session_key or self.session_key)))  # type: ignore[misc]


OTHER_KEYS = "under other keys than those of the cookies"


@pytest.mark.parametrize("engine", [HashedCache, HashedRows, HashedFiles])
def test_engines_that_look_for_a_session_under_different_keys_are_not_mixed(
    engine: Any, ready: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    ready(CACHE, OTHER, ROWS)
    monkeypatch.setattr(uuids, "SessionStore", engine)
    own, stock = f"{ENGINES}.uuids", "cache" if engine is HashedRows else "db"
    one, other = ("cache", "db") if engine is HashedCache else ("db", "cache")
    aliases = {"cache": "redis", "db": "sqlite_a"}
    words = (f"copy_sessions_{one}_to_{other}", "--source", aliases[one], "--dest", aliases[other], "--no-input")
    assert_ended(
        run(*words, "--source-engine", own, "--dest-engine", stock if other == stock else other), 1, OTHER_KEYS
    )
    back = (f"copy_sessions_{other}_to_{one}", "--source", aliases[other], "--dest", aliases[one], "--no-input")
    assert_ended(run(*back, "--source-engine", other, "--dest-engine", own), 1, OTHER_KEYS)
    compared = ("--source", f"{one}:{aliases[one]}", "--dest", f"{other}:{aliases[other]}")
    assert_ended(run("verify_sessions", *compared, "--source-engine", own), 1, OTHER_KEYS)


def test_a_session_under_a_hash_stays_under_it(ready: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    ready(CACHE, OTHER, ROWS)
    monkeypatch.setattr(uuids, "SessionStore", HashedCache)
    with override_settings(SESSION_ENGINE=f"{ENGINES}.uuids", SESSION_CACHE_ALIAS="redis"):
        session: Any = HashedCache()
        session["who"] = "ann"
        session.save()
        assert_ended(run(*TO_OTHER), 0)
    with override_settings(SESSION_CACHE_ALIAS="redis_other"):
        assert HashedCache(session.session_key).load() == {"who": "ann"}


class VeiledRows(db.SessionStore):
    def create_model_instance(self, data: Any) -> Any:
        row = super().create_model_instance(data)
        row.session_data = row.session_data[::-1]
        return row


class VeiledFiles(file.SessionStore):
    def save(self, must_create: bool = False) -> None:
        super().save(must_create)
        path = Path(self._key_to_file())  # type: ignore[attr-defined]
        path.write_text(path.read_text()[::-1])


@pytest.mark.parametrize("engine", [VeiledRows, VeiledFiles])
def test_text_that_an_engine_would_not_read_is_not_written_for_it(
    engine: Any, ready: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    ready(CACHE, ROWS)
    put(CACHE, {"who": "ann"})
    monkeypatch.setattr(uuids, "SessionStore", engine)
    refused = run(*TO_ROWS, "--dest-engine", f"{ENGINES}.uuids")
    assert_ended(refused, 1, "stores other text than its decode() reads", "Let encode() and decode() do")
    assert data_of(ROWS) == {}


class OfTenant(cache.SessionStore):
    """Chooses a prefix and a cache for each session."""

    def __init__(self, session_key: str | None = None) -> None:
        super().__init__(session_key)
        self.cache_key_prefix = f"tenant.{self.cache_key_prefix}"
        self._cache = caches["redis_other"]


def test_the_prefix_and_the_cache_are_those_that_the_engines_sessions_have(
    ready: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    ready(CACHE, OTHER, ROWS)
    monkeypatch.setattr(uuids, "SessionStore", OfTenant)
    session: Any = OfTenant()
    session["who"] = "ann"
    session.save()
    with override_settings(SESSION_ENGINE=f"{ENGINES}.uuids", SESSION_CACHE_ALIAS="redis"):
        assert_ended(run("copy_sessions_cache_to_db", "--dest", "sqlite_a", "--no-input"), 0)
    assert data_of(ROWS) == {session.session_key: {"who": "ann"}}
