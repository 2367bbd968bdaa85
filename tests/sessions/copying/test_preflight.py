"""A copy that could not be right does not begin."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY
from django.core.cache import caches
from django.test import override_settings

from migrator.errors import Refused, UsageError
from migrator.sessions.copying.run import copy_sessions
from migrator.sessions.records import CopyOptions, End
from migrator.sessions.transition.clear_store import check_may_be_emptied
from tests.sessions.places import CACHE, ROWS, Place, held, opened, put

pytestmark = pytest.mark.redis
OTHER_ROWS = Place("db", "sqlite_b", "db")


def refusal(source: End, dest: End, **options: Any) -> str:
    with pytest.raises(Refused) as refused:
        copy_sessions(source=source, dest=dest, options=CopyOptions(**options))
    return str(refused.value)


@pytest.mark.parametrize(
    ("alias", "why"),
    [
        ("dummy", "DummyCache keeps nothing: reading finds no key, and what is written is lost."),
        ("default", "LocMemCache lives inside each process: this command does not see those of the web workers."),
    ],
)
def test_refuses_caches_that_are_none(alias: str, why: str, ready: Callable[..., None]) -> None:
    ready(ROWS)
    for source, dest in ((End("cache", alias), ROWS.end), (ROWS.end, End("cache", alias))):
        assert refusal(source, dest) == f"The cache {alias!r} cannot be copied: {why}"


def test_refuses_a_cache_that_would_drop_sessions(ready: Callable[..., None]) -> None:
    ready(ROWS)
    put(ROWS, {})
    small = {**caches.settings["small_table"], "OPTIONS": {"MAX_ENTRIES": 0}}
    caches["small_table"].clear()
    with override_settings(CACHES={**caches.settings, "small_table": small}):
        assert refusal(ROWS.end, End("cache", "small_table")) == (
            "The destination keeps 0 entries (MAX_ENTRIES) and evicts others. It holds 0, and 1 session would be "
            "added. Raise MAX_ENTRIES in its OPTIONS above the sum, permanently."
        )


def test_counts_what_a_cache_holds_beside_sessions(ready: Callable[..., None]) -> None:
    ready(ROWS)
    keys = [put(ROWS, {}) for _ in range(5)]
    small = {**caches.settings["small_table"], "OPTIONS": {"MAX_ENTRIES": 10}}
    dest = End("cache", "small_table", "cache")
    caches["small_table"].clear()
    with override_settings(CACHES={**caches.settings, "small_table": small}):
        caches["small_table"].set_many({f"page{number}": number for number in range(6)})
        assert "It holds 6, and 5 sessions would be added." in refusal(ROWS.end, dest)
        assert "It holds 6, and 5 sessions would be added." in refusal(ROWS.end, dest, limit=9)
        copy_sessions(source=ROWS.end, dest=dest, options=CopyOptions(limit=4))
        assert "It holds 10, and 1 session would be added." in refusal(ROWS.end, dest)
        caches["small_table"].delete("page0")

        assert copy_sessions(source=ROWS.end, dest=dest).total.written == 1
        assert copy_sessions(source=ROWS.end, dest=dest).total.present == len(keys)


def test_refuses_a_cache_that_is_silent_about_failures(ready: Callable[..., None]) -> None:
    ready(ROWS)
    put(ROWS, {})
    assert "its IGNORE_EXCEPTIONS hides writes that fail" in refusal(ROWS.end, End("cache", "silent"))
    assert held(ROWS)


@pytest.mark.parametrize("place", [CACHE, ROWS], ids=str)
def test_refuses_one_place_given_twice(place: Place, ready: Callable[..., None]) -> None:
    ready(place)
    put(place, {})
    assert refusal(place.end, place.end).startswith("Source and destination are the same store: ")


def test_sees_through_two_names_of_one_place(ready: Callable[..., None]) -> None:
    twin = {**caches.settings["redis"], "BACKEND": "django_redis.cache.RedisCache"}
    twin["LOCATION"] = twin["LOCATION"].replace("127.0.0.1", "localhost")
    with override_settings(CACHES={**caches.settings, "twin": twin}):
        assert refusal(CACHE.end, End("cache", "twin", "cache")).startswith("Source and destination are the same")


def test_copies_between_two_prefixes_of_one_server(ready: Callable[..., None]) -> None:
    ready(CACHE)
    put(CACHE, {"a": 1})

    total = copy_sessions(source=CACHE.end, dest=End("cache", "redis", "cached_db")).total

    assert total.written == 1


def test_refuses_ends_that_look_swapped(ready: Callable[..., None]) -> None:
    ready(CACHE, ROWS)
    put(ROWS, {})
    assert refusal(CACHE.end, ROWS.end).startswith(
        "The source has no sessions and the destination has 1: are the two ends swapped?"
    )


def test_copies_nothing_to_nothing(ready: Callable[..., None]) -> None:
    ready(CACHE, ROWS)
    assert copy_sessions(source=CACHE.end, dest=ROWS.end).total.read == 0


def test_refuses_rows_that_another_secret_key_signed(ready: Callable[..., None]) -> None:
    ready(ROWS, CACHE)
    put(ROWS, {"a": 1})
    with override_settings(SECRET_KEY="the key of another project"):
        assert refusal(ROWS.end, CACHE.end) == (
            "None of the first 1 session can be read: 1 because its signature matches no secret key. Add the key that "
            "signed them to SECRET_KEY_FALLBACKS, or name the engine that saved them with --source-engine. "
            "With --allow-unreadable the copy continues, and lists the sessions that cannot be read."
        )
        assert held(CACHE) == {}
        total = copy_sessions(source=ROWS.end, dest=CACHE.end, options=CopyOptions(allow_unreadable=True)).total
        assert (total.unreadable, total.written) == (1, 0)


def test_refuses_logins_that_another_secret_key_made(user: Any, ready: Callable[..., None]) -> None:
    ready(CACHE, ROWS)
    for _ in range(3):
        put(CACHE, {SESSION_KEY: str(user.pk), HASH_SESSION_KEY: user.get_session_auth_hash()})
    with override_settings(SECRET_KEY="the key of another project"):
        assert refusal(CACHE.end, ROWS.end).startswith(
            "None of the 3 logins among the first sessions was made with this project's SECRET_KEY: "
            "everyone would be logged out."
        )
    with override_settings(SECRET_KEY="a new key", SECRET_KEY_FALLBACKS=["only for tests"]):
        assert copy_sessions(source=CACHE.end, dest=ROWS.end).total.written == 3


def test_refuses_a_table_that_is_not_there(ready: Callable[..., None]) -> None:
    ready(CACHE, ROWS)
    with override_settings(CACHES={**caches.settings, "absent": {**caches.settings["table"], "LOCATION": "absent"}}):
        message = refusal(CACHE.end, End("cache", "absent"))
    assert message == "The database 'default' has no table 'absent'. Run createcachetable for it first."


def test_refuses_a_protected_database(ready: Callable[..., None]) -> None:
    ready(CACHE, ROWS)
    with override_settings(MIGRATOR={"PROTECTED": ["sqlite_a"]}):
        assert refusal(CACHE.end, ROWS.end).startswith("MIGRATOR['PROTECTED'] names the database 'sqlite_a'")


def test_refuses_a_cache_in_a_protected_database(ready: Callable[..., None]) -> None:
    cached = Place("cache", "table", "cache")
    ready(CACHE, ROWS, cached)
    put(CACHE, {})
    message = "MIGRATOR['PROTECTED'] names the database 'default'; it may never be a destination."
    with override_settings(MIGRATOR={"PROTECTED": ["default"]}):
        assert refusal(CACHE.end, cached.end) == message
        assert refusal(CACHE.end, End("db", "sqlite_a", "cached_db", cache="table")) == message
        assert (held(cached), held(ROWS)) == ({}, {})
        assert copy_sessions(source=CACHE.end, dest=ROWS.end).total.written == 1
        ROWS.clear()
        # Whose keys are what is copied, so that nothing is deleted there.
        copy_sessions(source=End("cache", "table", "cached_db"), dest=End("db", "sqlite_a", "cached_db", cache="table"))


def test_empties_no_cache_in_a_protected_database(ready: Callable[..., None]) -> None:
    cached = Place("cache", "table", "cache")
    ready(ROWS, cached)
    with opened(cached) as old, opened(ROWS) as new:
        check_may_be_emptied(old, new)
        with (
            override_settings(MIGRATOR={"PROTECTED": ["default"]}),
            pytest.raises(Refused, match=r"names the database 'default'; nothing in it may be deleted\."),
        ):
            check_may_be_emptied(old, new)


def test_refuses_sessions_that_live_in_browsers() -> None:
    engine = "django.contrib.sessions.backends.signed_cookies"
    assert refusal(End("db", "sqlite_a", engine), CACHE.end).startswith("signed_cookies keeps sessions in the browsers")


@pytest.mark.parametrize(
    ("source", "dest", "message"),
    [
        (End("cache", "nowhere"), ROWS.end, "CACHES has no alias 'nowhere'."),
        (End("cache", "reddis"), ROWS.end, "CACHES has no alias 'reddis'. Did you mean 'redis'"),
        (End("db", "sqlite_aa"), CACHE.end, "DATABASES has no alias 'sqlite_aa'. Did you mean 'sqlite_a'"),
        (End("db", "nowhere"), CACHE.end, "DATABASES has no alias 'nowhere'."),
        (End("db", "sqlite_a", "no.such.engine"), CACHE.end, "'no.such.engine' is not a session engine"),
        (End("db", "sqlite_a", "cache"), CACHE.end, "The engine 'cache' does not keep sessions in a table."),
        (End("cache", "redis", "db"), ROWS.end, "The engine 'db' does not keep sessions in a cache."),
        (End("db", "sqlite_a", None, "no.Model"), CACHE.end, "The session model 'no.Model' does not exist"),
    ],
)
def test_names_what_does_not_exist(source: End, dest: End, message: str, ready: Callable[..., None]) -> None:
    ready(ROWS)
    with pytest.raises(UsageError) as wrong:
        copy_sessions(source=source, dest=dest)
    assert str(wrong.value).startswith(message)
    assert wrong.value.exit_code == 2


def test_needs_a_finished_pass_before_the_one_after_the_switch(ready: Callable[..., None], tmp_path: Any) -> None:
    ready(CACHE, ROWS)
    put(CACHE, {})
    manifest = tmp_path / "manifest"
    assert "notes no completed pass" in refusal(CACHE.end, ROWS.end, manifest=manifest, after_switch=True)
    with pytest.raises(UsageError, match="--after-switch needs the --manifest FILE"):
        copy_sessions(source=CACHE.end, dest=ROWS.end, options=CopyOptions(after_switch=True))
