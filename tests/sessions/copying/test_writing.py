"""Nothing newer is written over, nothing ended comes back, and payloads are what the destination's engine writes."""

from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import caches
from django.test import override_settings

from migrator.clock import now
from migrator.errors import DataRejected
from migrator.sessions.codec import saved_at
from migrator.sessions.copying.run import copy_sessions
from migrator.sessions.records import CopyOptions, End
from migrator.sessions.stores.cache import CacheStore
from migrator.stores.base import Record, digest
from tests.sessions.places import CACHE, CORE, HOUR, ROWS, Place, data_of, held, opened, put

pytestmark = [pytest.mark.redis, pytest.mark.filterwarnings("ignore:.* on sharded client:UserWarning")]
OTHER_ROWS = Place("db", "sqlite_b", "db")


def test_leaves_what_the_destination_holds(ready: Callable[..., None]) -> None:
    ready(CACHE, ROWS)
    key = put(CACHE, {"from": "source"})
    put(ROWS, {"from": "destination"}, key=key)

    total = copy_sessions(source=CACHE.end, dest=ROWS.end).total

    assert (total.written, total.present) == (0, 1)
    assert data_of(ROWS) == {key: {"from": "destination"}}


@pytest.mark.parametrize("alias", ["postgresql_a", "mysql_a", "sqlite_a"])
def test_replaces_a_row_that_has_expired(alias: str, ready: Callable[..., None]) -> None:
    from django.db import connections

    rows = Place("db", alias, "db")
    ready(CACHE, rows)
    key = put(CACHE, {"from": "source"})
    put(rows, {"from": "long ago"}, key=key)
    with connections[alias].cursor() as cursor:
        cursor.execute("UPDATE django_session SET expire_date = '2020-01-01'")

    assert copy_sessions(source=CACHE.end, dest=rows.end).total.written == 1
    assert data_of(rows) == {key: {"from": "source"}}


@pytest.mark.parametrize(("ours", "theirs", "winner"), [(2, 1, "source"), (1, 2, "destination")])
def test_writes_over_what_was_saved_earlier_when_told_to(
    ours: int, theirs: int, winner: str, ready: Callable[..., None]
) -> None:
    ready(CACHE, ROWS, OTHER_ROWS)
    key = put(ROWS, {})
    with opened(ROWS) as source, opened(OTHER_ROWS) as dest:
        moment = now() + HOUR
        (session,) = held(ROWS).values()
        source.replace([(session, Record(key, source.dump({"from": "source"}, moment, 1_000 + ours)[0], moment))])
        dest.add([Record(key, dest.dump({"from": "destination"}, moment, 1_000 + theirs)[0], moment)])

    copy_sessions(source=ROWS.end, dest=OTHER_ROWS.end, options=CopyOptions(overwrite_older=True))

    assert data_of(OTHER_ROWS) == {key: {"from": winner}}


def test_takes_the_later_expiry_for_the_later_save_where_nothing_is_signed(ready: Callable[..., None]) -> None:
    ready(CACHE, ROWS)
    older, newer = put(CACHE, {"from": "source"}), put(CACHE, {"from": "source"}, expires=now() + 3 * HOUR)
    for key in (older, newer):
        put(ROWS, {"from": "destination"}, key=key, expires=now() + 2 * HOUR)

    total = copy_sessions(source=CACHE.end, dest=ROWS.end, options=CopyOptions(overwrite_older=True)).total

    assert (total.refreshed, total.present) == (1, 1)
    assert data_of(ROWS) == {older: {"from": "destination"}, newer: {"from": "source"}}


class Meddler:
    """Does something to the source right after a page was written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, store: type, act: Callable[[], Any]) -> None:
        plain = store.add  # type: ignore[attr-defined]

        def add(this: Any, sessions: Any) -> set[str]:
            written: set[str] = plain(this, sessions)
            monkeypatch.setattr(store, "add", plain)
            act()
            return written

        monkeypatch.setattr(store, "add", add)


@pytest.mark.parametrize("dest", CORE[3:])
def test_takes_back_what_was_ended_meanwhile(
    dest: Place, ready: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = OTHER_ROWS if dest != OTHER_ROWS else ROWS
    ready(source, dest)
    kept, ended = put(source, {"a": 1}), put(source, {"a": 2})
    with opened(dest) as store:
        Meddler(monkeypatch, type(store), lambda: _delete(source, ended))

    total = copy_sessions(source=source.end, dest=dest.end).total

    assert (total.written, total.removed) == (2, 1)
    assert list(held(dest)) == [kept]


@pytest.mark.parametrize("dest", CORE[3:])
def test_follows_what_was_saved_meanwhile(
    dest: Place, ready: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    ready(OTHER_ROWS, dest)
    key = put(OTHER_ROWS, {"state": "old"})

    def save() -> None:
        (session,) = held(OTHER_ROWS).values()
        with opened(OTHER_ROWS) as store:
            moment = now() + 2 * HOUR
            payload = store.dump({"state": "new"}, moment, now() // 1_000_000)[0]
            assert store.replace([(session, Record(key, payload, moment))])

    with opened(dest) as store:
        Meddler(monkeypatch, type(store), save)

    total = copy_sessions(source=OTHER_ROWS.end, dest=dest.end).total

    assert (total.written, total.refreshed) == (1, 1)
    assert data_of(dest) == {key: {"state": "new"}}


def test_leaves_what_a_writer_of_both_places_wrote_meanwhile(
    ready: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    ready(ROWS, CACHE)
    key = put(ROWS, {"state": "old"})

    def save_to_both() -> None:
        caches["redis"].set(f"django.contrib.sessions.cache{key}", {"state": "newest"}, 3600)
        _delete(ROWS, key)
        put(ROWS, {"state": "newest"}, key=key)

    Meddler(monkeypatch, CacheStore, save_to_both)

    total = copy_sessions(source=ROWS.end, dest=CACHE.end).total

    assert (total.written, total.refreshed, total.removed) == (1, 0, 0)
    assert data_of(CACHE) == {key: {"state": "newest"}}


def _delete(place: Place, key: str) -> None:
    with opened(place) as store:
        store._table.delete([key])


def test_leaves_no_stale_cache_before_a_cached_table(ready: Callable[..., None]) -> None:
    ready(CACHE, ROWS)
    key = put(CACHE, {"fresh": True})
    with override_settings(SESSION_CACHE_ALIAS="redis"):
        stale = f"django.contrib.sessions.cached_db{key}"
        caches["redis"].set(stale, {"stale": True}, 600)

        copy_sessions(source=CACHE.end, dest=End("db", "sqlite_a", "cached_db"))

        assert caches["redis"].get(stale) is None
    assert data_of(ROWS) == {key: {"fresh": True}}


def test_spares_the_cache_before_the_table_when_it_is_the_source(ready: Callable[..., None]) -> None:
    source = Place("cache", "redis", "cached_db")
    ready(source, ROWS)
    key = put(source, {"a": 1})

    with override_settings(SESSION_CACHE_ALIAS="redis"):
        total = copy_sessions(source=source.end, dest=End("db", "sqlite_a", "cached_db")).total

    assert (total.written, total.removed) == (1, 0)
    assert list(held(source)) == list(held(ROWS)) == [key]


def test_moves_signed_text_as_it_is_between_engines_of_one_salt(ready: Callable[..., None]) -> None:
    ready(ROWS, OTHER_ROWS)
    key = put(ROWS, {"a": 1})

    copy_sessions(source=ROWS.end, dest=OTHER_ROWS.end)

    assert held(OTHER_ROWS)[key].raw == held(ROWS)[key].raw


def test_signs_anew_for_an_engine_of_another_salt_and_keeps_the_time(ready: Callable[..., None]) -> None:
    ready(ROWS, OTHER_ROWS)
    key = put(ROWS, {"a": 1})
    before = held(ROWS)[key].raw

    copy_sessions(source=ROWS.end, dest=End("db", "sqlite_b", "tests.sessions.engines.salted"))

    after = held(OTHER_ROWS)[key].raw
    assert (after != before, saved_at(str(after))) == (True, saved_at(str(before)))
    from tests.sessions.engines.salted import SessionStore

    assert SessionStore().decode(after) == {"a": 1}


JSON_CHANGES = {
    "a number as key": ({1: "x"}, "a key of type int"),
    "a tuple": ({"a": {"b": (1, 2)}}, "a tuple"),
    "NaN": ({"a": float("nan")}, "a NaN"),
}


@pytest.mark.parametrize(("data", "what"), JSON_CHANGES.values(), ids=JSON_CHANGES)
def test_finds_and_names_what_json_changes(data: Any, what: str, ready: Callable[..., None]) -> None:
    ready(CACHE, ROWS)
    key = put(CACHE, data)

    total = copy_sessions(source=CACHE.end, dest=ROWS.end).total

    assert (total.written, total.changed_by_json, total.failures) == (1, 1, 0)
    assert total.problems == [(digest(key), f"changed by JSON: {what}")]
    ROWS.clear()
    with pytest.raises(DataRejected, match=f"JSON would change the session {digest(key)}"):
        copy_sessions(source=CACHE.end, dest=ROWS.end, options=CopyOptions(strict=True))


def test_counts_what_json_does_not_hold(ready: Callable[..., None]) -> None:
    ready(CACHE, ROWS)
    good, bad = put(CACHE, {"a": 1}), put(CACHE, {"a": {1, 2}})

    total = copy_sessions(source=CACHE.end, dest=ROWS.end).total

    assert (total.written, total.unfit) == (1, 1)
    assert total.problems == [
        (digest(bad), "the destination's serializer cannot store it: Object of type set is not JSON serializable")
    ]
    assert list(held(ROWS)) == [good]


@pytest.mark.parametrize("alias", ["postgresql_a", "mysql_a", "sqlite_a"])
def test_counts_keys_that_are_too_long_for_the_table(alias: str, ready: Callable[..., None]) -> None:
    rows = Place("db", alias, "db")
    ready(CACHE, rows)
    keys = {put(CACHE, {}), put(CACHE, {}, key="a" * 40)}
    longer = put(CACHE, {}, key="b" * 41)

    total = copy_sessions(source=CACHE.end, dest=rows.end, options=CopyOptions(key_regex="[a-z0-9]{32,64}")).total

    if alias == "sqlite_a":  # which holds texts of any length
        assert (total.written, set(held_long(rows))) == (3, keys | {longer})
        return
    assert (total.written, total.unfit, set(held_long(rows))) == (2, 1, keys)
    assert total.problems == [(digest(longer), "its key is longer than the table allows (40 characters)")]


def held_long(place: Place) -> dict[str, Record]:
    with opened(place, key_regex="[a-z0-9]{32,64}") as store:
        return {session.key: session for page in store.pages(1000) for session in page}


def test_counts_what_the_table_refuses_when_it_has_changed_in_the_source(ready: Callable[..., None]) -> None:
    from django.db import connections

    rows = Place("db", "postgresql_a", "db")
    ready(CACHE, rows)
    keys = [put(CACHE, {"a": 1}, expires=now() + 2 * HOUR) for _ in range(8)]
    for key in keys:
        put(rows, {"a": 0}, key=key)
    with connections["postgresql_a"].cursor() as cursor:
        cursor.execute(
            "ALTER TABLE django_session ADD CONSTRAINT not_late"
            f" CHECK (session_key <> '{keys[3]}' OR expire_date < now() + interval '90 minutes')"
        )

    total = copy_sessions(source=CACHE.end, dest=rows.end, options=CopyOptions(overwrite_older=True)).total

    assert (total.refreshed, total.unfit) == (7, 1)
    assert total.problems == [(digest(keys[3]), "the table rejects its row (IntegrityError)")]
    assert sorted(data_of(rows)[key]["a"] for key in keys) == [0, *[1] * 7]


def test_counts_what_is_too_large_for_memcached(ready: Callable[..., None]) -> None:
    dest = Place("cache", "memcached", "cache")
    ready(ROWS, dest)
    put(ROWS, {"a": "x"}), put(ROWS, {"a": "x" * 1_100_000})

    total = copy_sessions(source=ROWS.end, dest=dest.end).total

    assert (total.written, total.unfit) == (1, 1)
    assert total.problems[0][1] == "it is larger than memcached's items may be (1,048,576 bytes)"
