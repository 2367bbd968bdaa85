"""What session keys look like is read from the engine that makes them, and what looks otherwise is remembered."""

import re
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.backends.cache import SessionStore as CacheEngine
from django.core.cache import caches

from migrator.sessions.endpoints import SessionEndpoint
from migrator.sessions.engines import engine_class, engine_model, key_shape, others_beginning_with
from migrator.sessions.records import End
from tests.sessions.engines import uuids
from tests.sessions.places import CACHE, held, new_key, opened, put

UUID = "de44628b-7bdc-4f0e-9d1b-3a51a2f0c001"


class ByUser(CacheEngine):
    def _get_new_session_key(self) -> str:
        return f"user:{self.get('_auth_user_id')}:{super()._get_new_session_key()}"


class Broken(CacheEngine):
    def _get_new_session_key(self) -> str:
        raise RuntimeError("needs a request")


@pytest.mark.parametrize(
    ("engine", "keys", "others"),
    [
        (engine_class("cache"), ["a" * 32], [UUID, "A" * 32, "a" * 31]),
        (engine_class("cached_db"), ["0" * 32], ["d_db" + "a" * 32]),
        (uuids.SessionStore, [UUID], ["short", "index_of_all"]),
        (ByUser, ["user:42:" + "a" * 32, "user:None:" + "b" * 32], ["a b c d e f"]),
        (Broken, ["anything-at-all"], ["short", "with space"]),
    ],
)
def test_reads_the_shape_of_keys_from_the_engine(engine: Any, keys: list[str], others: list[str]) -> None:
    pattern = re.compile(key_shape(engine))

    assert [key for key in [*keys, *others] if pattern.fullmatch(key)] == keys


def test_two_engines_have_the_keys_of_both() -> None:
    pattern = re.compile(key_shape(uuids.SessionStore, engine_class("db")))

    assert all(pattern.fullmatch(key) for key in (UUID, "a" * 32))


def test_knows_which_engines_keys_begin_alike() -> None:
    assert others_beginning_with("django.contrib.sessions.cache") == ("d_db",)
    assert others_beginning_with("shop.session:") == ()


@pytest.mark.redis
def test_finds_the_sessions_of_an_engine_that_makes_its_own_keys(ready: Callable[..., None]) -> None:
    ready(CACHE)
    caches["redis"].set(f"shop.session:{UUID}", {"a": 1}, 60)

    store = SessionEndpoint(End("cache", "redis", "tests.sessions.engines.uuids")).open()

    assert list(store.keys(10)) == [[UUID]]


@pytest.mark.redis
def test_remembers_what_begins_as_a_session_and_does_not_look_like_one(ready: Callable[..., None]) -> None:
    ready(CACHE)
    key = put(CACHE, {"a": 1})
    for other in (UUID, "d_db" + new_key(), "A" * 32):
        caches["redis"].set(f"django.contrib.sessions.cache{other}", {"a": 1}, 60)

    with opened(CACHE) as store:
        assert store.count() == 1
        assert store.hidden == {UUID, "A" * 32}
    assert set(held(CACHE)) == {key}


@pytest.mark.redis
def test_keys_of_another_engine_are_never_taken_for_those_of_one_that_makes_its_own(
    ready: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    ready(CACHE)
    monkeypatch.setattr(uuids.SessionStore, "cache_key_prefix", "django.contrib.sessions.cache")
    caches["redis"].set("django.contrib.sessions.cached_db" + new_key(), {"a": 1}, 60)
    caches["redis"].set(f"django.contrib.sessions.cache{UUID}", {"a": 1}, 60)

    for regex in (None, r"[!-~]{8,128}"):
        store = SessionEndpoint(End("cache", "redis", "tests.sessions.engines.uuids"), regex).open()

        assert [key for page in store.keys(10) for key in page] == [UUID]
        assert store.hidden == set()


def test_an_engine_keeps_the_model_of_the_one_that_it_is_a_subclass_of(monkeypatch: pytest.MonkeyPatch) -> None:
    package = types.ModuleType("package_of_sessions")
    theirs = type("SessionStore", (SessionBase,), {"__module__": package.__name__})
    package.__dict__.update(Session=UUID, SessionStore=theirs)
    monkeypatch.setitem(sys.modules, package.__name__, package)

    ours = type("SessionStore", (theirs,), {"__module__": __name__})

    assert engine_model(ours) is UUID
