"""Which keys are sessions, and which of these can be read."""

import pickle
from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import caches
from django.test import override_settings

from migrator.clock import now
from migrator.errors import Refused
from migrator.sessions.copying.run import copy_sessions
from migrator.sessions.records import CopyOptions, End
from migrator.stores.base import digest
from tests.sessions.places import CACHE, CACHED_DB_CACHE, HOUR, ROWS, Place, data_of, held, new_key, opened, put

pytestmark = pytest.mark.redis


def redis(alias: str = "redis") -> Any:
    return caches[alias]._cache.get_client(None, write=True)


class Explosive:
    """Leaves a trace when its pickle is read."""

    def __reduce__(self) -> Any:
        return (exec, ("import builtins; builtins.migrator_test_exploded = True",))


def test_keeps_the_sessions_of_two_engines_apart(ready: Callable[..., None]) -> None:
    ready(CACHE, ROWS)
    plain, cached = put(CACHE, {"engine": "cache"}), put(CACHED_DB_CACHE, {"engine": "cached_db"})

    assert list(held(CACHE)) == [plain]
    assert list(held(CACHED_DB_CACHE)) == [cached]
    assert copy_sessions(source=CACHE.end, dest=ROWS.end).total.read == 1
    assert data_of(ROWS) == {plain: {"engine": "cache"}}


@pytest.mark.parametrize("alias", ["colon", "glob", "suffix"])
def test_finds_sessions_whatever_the_prefix_and_the_key_function(alias: str, ready: Callable[..., None]) -> None:
    place = Place("cache", alias, "cache")
    ready(place, ROWS)
    redis(alias).set("my:app:1:django.contrib.sessions.cache", b"x")
    redis(alias).set("app11:7:django.contrib.sessions.cache" + "a" * 32, b"x")
    with place.in_use():
        from django.contrib.sessions.backends.cache import SessionStore

        session = SessionStore()
        session["who"] = "me"
        session.save()

    assert copy_sessions(source=place.end, dest=ROWS.end).total.read == 1
    assert data_of(ROWS) == {session.session_key: {"who": "me"}}


def test_refuses_a_key_function_that_cannot_be_reversed() -> None:
    with pytest.raises(Refused) as refused:
        copy_sessions(source=End("cache", "hashed"), dest=ROWS.end)

    assert str(refused.value) == (
        "The KEY_FUNCTION of the cache 'hashed' cannot be reversed: the key 'zq0probe0one' does not appear once, "
        "unchanged, in what it returns. Give the keys with --keys-from FILE, one on each line."
    )


def test_reads_keys_from_a_file_where_they_cannot_be_listed(ready: Callable[..., None], tmp_path: Any) -> None:
    hashed, files = Place("cache", "hashed", "cache"), Place("cache", "files", "cache")
    for place in (hashed, files):
        ready(place, ROWS)
        key = put(place, {"in": place.alias}) if place is files else new_key()
        caches[place.alias].set(f"django.contrib.sessions.cache{key}", {"in": place.alias}, 3600)
        given = tmp_path / "keys"
        given.write_text(f"{key}\n{new_key()}\nnot a session key\n")

        result = copy_sessions(source=End("cache", place.alias, "cache", keys_from=given), dest=ROWS.end)

        assert (result.total.read, result.total.written) == (1, 1)
        assert data_of(ROWS) == {key: {"in": place.alias}}


def test_refuses_a_cache_of_files_without_keys() -> None:
    with pytest.raises(Refused, match=r"cannot be listed: .+\. Give them with --keys-from FILE"):
        copy_sessions(source=End("cache", "files", "cache"), dest=ROWS.end)


@pytest.mark.parametrize("key", ["a" * 31, "a" * 33, "A" * 32, "a" * 31 + "_", "d_db" + "a" * 28])
def test_takes_no_other_key_for_a_session(key: str, ready: Callable[..., None]) -> None:
    ready(CACHE)
    caches["redis"].set(f"django.contrib.sessions.cache{key}", {"a": 1})

    assert held(CACHE) == {}


def test_takes_other_keys_that_the_project_makes(ready: Callable[..., None]) -> None:
    ready(CACHE)
    caches["redis"].set("django.contrib.sessions.cacheABC-123456", {"a": 1})

    with opened(CACHE, key_regex="[A-Z0-9-]{8,40}") as store:
        assert [session.key for page in store.pages(10) for session in page] == ["ABC-123456"]


def test_copies_empty_sessions(ready: Callable[..., None]) -> None:
    ready(CACHE, ROWS)
    key = put(CACHE, {})

    assert copy_sessions(source=CACHE.end, dest=ROWS.end).total.written == 1
    assert data_of(ROWS) == {key: {}}


def test_counts_what_is_no_session_and_goes_on(ready: Callable[..., None]) -> None:
    ready(CACHE, ROWS)
    good = put(CACHE, {"good": True})
    keys = {name: new_key() for name in ("number", "broken", "list", "structure", "explosive")}
    caches["redis"].set(f"django.contrib.sessions.cache{keys['number']}", 5, 60)
    caches["redis"].set(f"django.contrib.sessions.cache{keys['list']}", [1], 60)
    redis().set(f":1:django.contrib.sessions.cache{keys['broken']}", b"\x80\x05damaged", ex=60)
    redis().rpush(f":1:django.contrib.sessions.cache{keys['structure']}", b"x")
    redis().set(f":1:django.contrib.sessions.cache{keys['explosive']}", pickle.dumps({"a": Explosive()}), ex=60)

    total = copy_sessions(source=CACHE.end, dest=ROWS.end).total

    assert (total.read, total.written, total.foreign, total.unreadable, total.unsafe) == (6, 1, 3, 1, 1)
    assert dict(total.problems) == {
        digest(keys["number"]): "it holds int, not a session",
        digest(keys["list"]): "it holds list, not a session",
        digest(keys["broken"]): "the cache's serializer fails on it (UnpicklingError)",
        digest(keys["structure"]): "it is not a value but one of the server's own structures",
        digest(keys["explosive"]): "its pickle needs builtins.exec",
    }
    assert list(data_of(ROWS)) == [good]
    import builtins

    assert not hasattr(builtins, "migrator_test_exploded")


def test_reads_pickles_of_the_project_when_they_are_trusted(ready: Callable[..., None]) -> None:
    other = Place("cache", "client", "cache")
    ready(CACHE, other)
    with CACHE.in_use():
        caches["redis"].set(f"django.contrib.sessions.cache{new_key()}", {"place": CACHE}, 60)

    refused = copy_sessions(source=CACHE.end, dest=ROWS.end, options=CopyOptions(allow_unreadable=True))
    trusted = copy_sessions(source=CACHE.end, dest=ROWS.end, options=CopyOptions(trust_pickle=True))

    assert (refused.total.unsafe, trusted.total.unsafe, trusted.total.unfit) == (1, 0, 1)


def test_counts_rows_that_no_key_has_signed(ready: Callable[..., None]) -> None:
    other = Place("db", "sqlite_b", "db")
    ready(ROWS, other, CACHE)
    put(ROWS, {"good": True})
    with override_settings(SECRET_KEY="another"):
        put(ROWS, {"bad": True})

    for dest in (CACHE, other):
        total = copy_sessions(source=ROWS.end, dest=dest.end).total
        assert (total.read, total.written, total.unreadable) == (2, 1, 1)
        assert [why for _, why in total.problems] == ["its signature matches no secret key"]


def test_reads_rows_signed_with_a_fallback_key_and_signs_them_anew(ready: Callable[..., None]) -> None:
    ready(ROWS, CACHE)
    with override_settings(SECRET_KEY="the old one"):
        key = put(ROWS, {"signed": "before"})

    with override_settings(SECRET_KEY_FALLBACKS=["the old one"]):
        assert copy_sessions(source=ROWS.end, dest=CACHE.end).total.written == 1

    assert data_of(CACHE) == {key: {"signed": "before"}}


def test_reads_pages_in_the_order_of_keys_without_offset(ready: Callable[..., None]) -> None:
    ready(ROWS)
    keys = sorted(put(ROWS, {"n": n}, expires=now() + HOUR) for n in range(23))

    with opened(ROWS) as store:
        pages = [[session.key for session in page] for page in store.pages(5)]

    assert [len(page) for page in pages] == [5, 5, 5, 5, 3]
    assert [key for page in pages for key in page] == keys


def test_loads_no_session_through_its_engine(ready: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    ready(CACHE, ROWS)
    put(CACHE, {"a": 1})
    for name in ("cache", "db"):
        store = f"django.contrib.sessions.backends.{name}.SessionStore"
        for method in ("load", "save", "create"):
            monkeypatch.setattr(f"{store}.{method}", lambda *args, **kwargs: pytest.fail("an engine was used"))

    assert copy_sessions(source=CACHE.end, dest=ROWS.end).total.written == 1
