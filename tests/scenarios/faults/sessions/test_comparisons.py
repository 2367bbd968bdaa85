"""What a comparison of sessions has to see, and what copies can read that these settings do not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.sessions.backends import cached_db
from django.core.cache import caches
from django.test import override_settings

from migrator.stores.base import digest
from tests.manage import run_manage
from tests.management.running import run
from tests.scenarios.faults.oracle import assert_ended
from tests.sessions.engines import uuids
from tests.sessions.places import CACHE, ROWS, Place, data_of, held, new_key, put

pytestmark = pytest.mark.redis
OTHER_ROWS = Place("db", "sqlite_b", "db")
BETWEEN_TABLES = ("copy_sessions_db_to_db", "--source", "sqlite_a", "--dest", "sqlite_b", "--no-input")
VERIFY_TABLES = ("verify_sessions", "--source", "db:sqlite_a", "--dest", "db:sqlite_b", "--mode", "full")
TO_CACHE = ("copy_sessions_db_to_cache", "--source", "sqlite_a", "--dest", "redis", "--no-input")


@pytest.mark.parametrize("alias", ["hashed", "files"])
def test_a_cache_that_lists_no_keys_is_compared_by_those_that_are_given(
    alias: str, ready: Callable[..., None], tmp_path: Path
) -> None:
    ready(ROWS, Place("cache", alias, "cache"))
    keys = [put(ROWS, {"n": n}) for n in range(3)]
    copy = ("copy_sessions_db_to_cache", "--source", "sqlite_a", "--dest", alias, "--no-input")
    assert_ended(run(*copy), 0)
    words = ("verify_sessions", "--source", f"cache:{alias}", "--dest", "db:sqlite_a", "--mode", "full")
    assert_ended(run(*words), 1, "--keys-from FILE")
    back = run("verify_sessions", "--source", "db:sqlite_a", "--dest", f"cache:{alias}", "--mode", "full")
    assert_ended(back, 0)
    assert "Sessions that only the destination has were not found" in back.out
    (tmp_path / "keys").write_text("\n".join([*keys, new_key()]))
    words = (*words, "--keys-from", str(tmp_path / "keys"))

    equal = run(*words)
    assert_ended(equal, 0)
    assert "compared: 6 of 6 sessions of both sides" in equal.err

    caches[alias].set(f"django.contrib.sessions.cache{keys[0]}", {"n": "other"}, 3600)
    caches[alias].delete(f"django.contrib.sessions.cache{keys[1]}")
    finished = run(*words, "--format", "json")
    assert_ended(finished, 3)
    counts = json.loads(finished.out)["counts"]
    assert (counts["in_source"], counts["in_dest"], counts["equal"], counts["extra"]) == (2, 3, 1, 1)
    assert counts["data_differs"] + counts["expiry_differs"] == 1


def test_rows_that_no_key_of_the_settings_reads_are_counted(ready: Callable[..., None]) -> None:
    ready(ROWS, OTHER_ROWS)
    put(ROWS, {"good": True})
    assert_ended(run(*BETWEEN_TABLES), 0)
    with override_settings(SECRET_KEY="the key before"):
        bad = put(ROWS, {"bad": True})
        assert_ended(run(*BETWEEN_TABLES), 0)
    finished = run(*VERIFY_TABLES, "--format", "json")
    assert_ended(finished, 4, "1 session cannot be read with the keys and the serializer of these settings")
    found = json.loads(finished.out)
    assert (found["counts"]["equal"], found["counts"]["unreadable_alike"]) == (1, 1)
    assert [one["digest"] for one in found["differences"]] == [digest(bad)]


def test_what_the_cache_before_a_table_serves_is_compared_with_its_rows(ready: Callable[..., None]) -> None:
    ready(ROWS, OTHER_ROWS, Place("cache", "redis", "cached_db"))
    same, older = put(ROWS, {"cart": 1}), put(ROWS, {"cart": 2})
    engine, before = ("--dest-engine", "cached_db"), "django.contrib.sessions.cached_db"
    with override_settings(SESSION_CACHE_ALIAS="redis"):
        assert_ended(run(*BETWEEN_TABLES, *engine), 0)
        caches["redis"].set_many({f"{before}{same}": {"cart": 1}, f"{before}{older}": {"cart": None}}, 3000)
        finished = run(*VERIFY_TABLES, *engine)
        assert_ended(finished, 3, "The rows are equal, but what the site reads is not.")
        assert "differs from its rows in 1 session" in finished.out
        assert_ended(run(*BETWEEN_TABLES, *engine), 0)
        assert_ended(run(*VERIFY_TABLES, *engine), 0)
        caches["redis"].set(f"{before}{new_key()}", {"whose row": "is gone"}, 3000)
        assert_ended(run(*VERIFY_TABLES, *engine), 3)


class SealedBeforeRows(cached_db.SessionStore):
    """Encrypts what it keeps in the cache before its rows."""

    def load(self) -> Any:
        sealed = self._cache.get(self.cache_key)  # type: ignore[attr-defined]
        if sealed is not None:
            return json.loads(sealed[::-1])
        row = self._get_session_from_db()  # type: ignore[attr-defined]
        return self.decode(row.session_data) if row else {}


def test_what_an_engine_keeps_encrypted_before_its_rows_is_read_by_it(
    ready: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    ready(ROWS, OTHER_ROWS, Place("cache", "redis", "cached_db"))
    monkeypatch.setattr(uuids, "SessionStore", SealedBeforeRows)
    key, engine = put(ROWS, {"cart": 1}), ("--dest-engine", "tests.sessions.engines.uuids")
    with override_settings(SESSION_CACHE_ALIAS="redis"):
        assert_ended(run(*BETWEEN_TABLES, *engine), 0)
        for cart, code in ((1, 0), (2, 3)):
            caches["redis"].set(f"django.contrib.sessions.cached_db{key}", json.dumps({"cart": cart})[::-1], 3000)
            assert_ended(run(*VERIFY_TABLES, *engine), code)


def test_rows_of_an_earlier_serializer_are_read_by_an_engine_of_ones_own(ready: Callable[..., None]) -> None:
    ready(ROWS, CACHE)
    pickled = Place("db", "sqlite_a", "tests.sessions.engines.pickled")
    key = put(pickled, {"basket": (1, 2), "of": {3}})
    assert_ended(run(*TO_CACHE), 1, "another SESSION_SERIALIZER", "--source-engine", "documentation")
    assert held(CACHE) == {}
    assert_ended(run(*TO_CACHE, "--source-engine", "tests.sessions.engines.pickled"), 0)
    assert data_of(CACHE) == {key: {"basket": (1, 2), "of": {3}}}


def test_sessions_in_browsers_are_refused_by_their_short_name(ready: Callable[..., None]) -> None:
    ready(ROWS, CACHE)
    assert_ended(run(*TO_CACHE, "--source-engine", "signed_cookies"), 1, "keeps sessions in the browsers")


def test_a_site_without_users_copies_its_sessions(ready: Callable[..., None]) -> None:
    ready(ROWS, CACHE)
    key = put(CACHE, {"_auth_user_id": "1", "_auth_user_hash": "x", "basket": 1})
    words = ("copy_sessions_cache_to_db", "--source", "redis", "--dest", "sqlite_a", "--no-input")
    environment = {"DJANGO_SETTINGS_MODULE": "tests.sessions.settings_without_users"}
    assert_ended(run_manage(*words, env=environment), 0)
    assert data_of(ROWS)[key]["basket"] == 1
