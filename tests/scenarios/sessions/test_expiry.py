"""Sessions end when they would have ended, to the precision of the place and never later."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import caches

from migrator.clock import now
from migrator.errors import DataRejected, UsageError
from migrator.sessions.copying.run import copy_sessions
from migrator.sessions.records import CopyOptions
from tests.sessions.places import CACHE, CORE, HOUR, PAIRS, ROWS, Place, held, new_key, put
from tests.stores.redis.expiries import reading_error

SECOND = 1_000_000
MILLISECOND = 1000
AGE = 14 * 24 * HOUR
pytestmark = [pytest.mark.redis, pytest.mark.filterwarnings("ignore:.* on sharded client:UserWarning")]

# How much earlier a place may end a session, in microseconds; later is never right.
PRECISION = {"redis": MILLISECOND, "client_json": MILLISECOND, "shard": MILLISECOND, "valkey": MILLISECOND}


@pytest.mark.parametrize(("source", "dest"), PAIRS)
def test_keeps_the_expiry(source: Place, dest: Place, ready: Callable[..., None]) -> None:
    ready(source, dest)
    expires = now() + 5 * HOUR + 123_456
    data = {"a": 1}
    if "file" in (source.kind, dest.kind):
        data["_session_expiry"] = 40_000  # counted from the file's time
    key = put(source, data, expires=expires)
    before = held(source)[key].expires
    assert before is not None

    copy_sessions(source=source.end, dest=dest.end)

    after = held(dest)[key].expires
    assert after is not None
    precise = all(place.kind != "cache" or place.alias in PRECISION for place in (source, dest))
    # memcached answers in seconds left, by a clock of whole seconds
    allowed = MILLISECOND if precise else 4 * SECOND if "memcached" in (source.alias, dest.alias) else SECOND
    assert -reading_error() <= before - after <= allowed + reading_error()
    if "file" not in (source.kind, dest.kind):
        assert after <= expires


def test_keeps_microseconds_between_tables(ready: Callable[..., None]) -> None:
    other = Place("db", "sqlite_b", "db")
    ready(ROWS, other)
    key = put(ROWS, {}, expires=now() + HOUR + 7)

    copy_sessions(source=ROWS.end, dest=other.end)

    assert held(other)[key] == held(ROWS)[key]


@pytest.mark.parametrize("dest", [place for place in CORE if place.id != "db_sqlite_a"])
def test_revives_nothing_that_has_expired(dest: Place, ready: Callable[..., None]) -> None:
    ready(ROWS, dest)
    put(ROWS, {"a": 1}, expires=now() + 300_000)
    time.sleep(0.3)
    put(ROWS, {"b": 1}, expires=now() + HOUR)

    result = copy_sessions(source=ROWS.end, dest=dest.end)

    assert result.total.written == 1
    assert len(held(dest)) == 1


@pytest.mark.parametrize("dest", CORE)
def test_creates_nothing_that_expires_between_reading_and_writing(dest: Place, ready: Callable[..., None]) -> None:
    from migrator.stores.base import Record
    from tests.sessions.places import opened

    ready(dest)
    with opened(dest) as store:
        moment = now() - 1
        payload, _ = store.dump({"a": 1}, moment, 1)
        assert store.add([Record(new_key(), payload, moment)]) == set()
    assert held(dest) == {}


def endless(data: Any) -> str:
    key = new_key()
    caches["redis"].set(f"django.contrib.sessions.cache{key}", data, None)
    return key


@pytest.mark.parametrize(
    ("data", "left"),
    [
        ({}, AGE),
        ({"_session_expiry": 600}, 600 * SECOND),
        ({"_session_expiry": 0}, AGE),
        ({"_session_expiry": "2100-01-01T00:00:00+00:00"}, None),
    ],
    ids=["nothing", "seconds", "browser", "moment"],
)
def test_gives_endless_sessions_the_expiry_that_their_data_tells(
    data: Any, left: int | None, ready: Callable[..., None]
) -> None:
    ready(CACHE, ROWS)
    key = endless(data)

    total = copy_sessions(source=CACHE.end, dest=ROWS.end).total

    assert (total.no_ttl, total.written) == (1, 1)
    expires = held(ROWS)[key].expires
    assert expires is not None
    if left is None:
        assert expires == 4_102_444_800 * SECOND
    else:
        assert 0 <= now() + left - expires < 5 * SECOND


def test_skips_endless_sessions_when_told_to(ready: Callable[..., None]) -> None:
    ready(CACHE, ROWS)
    endless({})

    total = copy_sessions(source=CACHE.end, dest=ROWS.end, options=CopyOptions(no_ttl="skip")).total

    assert (total.no_ttl, total.skipped, total.written, total.failures) == (1, 1, 0, 0)


def test_stops_at_an_endless_session_when_told_to(ready: Callable[..., None]) -> None:
    ready(CACHE, ROWS)
    endless({})

    with pytest.raises(DataRejected, match=r"has no time to live\. Choose what becomes of such sessions with --no-ttl"):
        copy_sessions(source=CACHE.end, dest=ROWS.end, options=CopyOptions(no_ttl="error"))


def test_keeps_endless_sessions_endless_in_caches_alone(ready: Callable[..., None]) -> None:
    other = Place("cache", "client", "cache")
    ready(CACHE, other, ROWS)
    key = endless({"a": 1})

    total = copy_sessions(source=CACHE.end, dest=other.end, options=CopyOptions(no_ttl="keep")).total

    assert (total.no_ttl, total.written, held(other)[key].expires) == (1, 1, None)
    with pytest.raises(UsageError, match="--no-ttl keep needs a cache"):
        copy_sessions(source=CACHE.end, dest=ROWS.end, options=CopyOptions(no_ttl="keep"))
