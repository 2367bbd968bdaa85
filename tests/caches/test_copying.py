"""A cache copied to another: every key, raw, with its exact end, and never read as an object."""

import pickle
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.core.management import call_command
from django.db import connection
from django.test import override_settings

from migrator.caches.copying import copy_cache
from migrator.caches.records import CacheOptions
from migrator.caches.reports import copy_report
from migrator.clock import now
from migrator.errors import Interrupted, MigratorError, Refused
from migrator.stores import open_store
from migrator.stores.base import digest
from migrator.stores.copying.page_copier import PageCopier
from tests.management.running import facts
from tests.stores.redis.expiries import expiry_of, notes_on_age

pytestmark = [pytest.mark.redis, pytest.mark.usefixtures("databases")]


def redis(alias: str) -> Any:
    cache = caches[alias]
    return (
        cache._cache.get_client(None, write=True) if alias.startswith("redis") else cache.client.get_client(write=True)
    )


@pytest.fixture(autouse=True)
def _empty(databases: Any) -> None:
    for alias in ("redis", "redis_other", "client", "client_zlib", "client_json", "memcached", "table"):
        caches[alias].clear()


class Explosive:
    def __reduce__(self) -> Any:
        return exec, ("raise SystemExit('a pickle was read')",)


def test_copies_raw_values_and_milliseconds_unread() -> None:
    expires = now() // 1000 + 3_600_123
    for key, value in {"bomb": pickle.dumps(Explosive()), "number": b"12", "odd": b"\x00\xff no pickle"}.items():
        redis("redis").set(f":1:{key}", value)
        redis("redis").pexpireat(f":1:{key}", expires)
    redis("redis").set(":1:endless", b"1")
    redis("redis").set(":2:other version", b"1")

    result = copy_cache(source="redis", dest="redis_other")

    other = redis("redis_other")
    assert {key: other.get(key) for key in other.keys("*")} == {
        key: redis("redis").get(key) for key in (b":1:bomb", b":1:number", b":1:odd", b":1:endless")
    }
    assert 0 <= expires - expiry_of(other, ":1:bomb") <= open_store(alias="redis").expiry_slack // 1000
    assert expiry_of(other, ":1:endless") == -1
    assert (result.total.written, result.total.no_ttl, result.plan.encoding) == (4, 1, "as they are")
    again = copy_cache(source="redis", dest="redis_other").total
    assert (again.written, again.present, again.no_ttl) == (0, 4, 0)
    redis("redis").set(":1:endless", b"2")
    assert copy_cache(source="redis", dest="redis_other", options=CacheOptions(overwrite=True)).total.no_ttl == 1


@pytest.mark.memcached
@pytest.mark.parametrize("dest", ["memcached", "table", "client_zlib"])
def test_unwraps_and_wraps_pickles_unread(dest: str) -> None:
    values = {"number": 12, "text": "é", "data": {"a": [1]}}
    caches["redis"].set_many(values, 600)

    there = copy_cache(source="redis", dest=dest)
    back = copy_cache(source=dest, dest="redis_other")

    assert (there.total.written, back.total.written) == (3, 3)
    assert caches[dest].get_many(values) == caches["redis_other"].get_many(values) == values
    assert caches["redis_other"].incr("number") == 13


@pytest.mark.parametrize("source", ["redis", "table"])
def test_shares_the_keys_among_processes(source: str) -> None:
    values = {f"page:{number}": number for number in range(500)}
    caches[source].set_many(values, 600)

    result = copy_cache(source=source, dest="redis_other", options=CacheOptions(jobs=3, chunk_size=50))

    assert (result.total.read, result.total.written) == (500, 500)
    assert caches["redis_other"].get_many(values) == values
    assert result.plan.notes == notes_on_age(*[alias for alias in (source, "redis_other") if alias != "table"])


def test_says_when_one_process_copies_all_the_same() -> None:
    caches["redis"].set_many({"a": 1, "b": 2}, 600)

    result = copy_cache(source="redis", dest="redis_other", options=CacheOptions(jobs=2, limit=1))

    assert result.total.written == 1
    assert result.plan.notes == (
        *notes_on_age("redis", "redis_other"),
        "only one process copies: this source, the platform or --limit does not allow several",
    )


def test_copies_what_begins_so() -> None:
    caches["redis"].set_many({"page:": 0, "page:1": 1, "page:2": 2, "other": 3, "pages": 4})

    assert copy_cache(source="redis", dest="redis_other", options=CacheOptions(match="page:")).total.written == 3
    assert caches["redis_other"].get_many(["page:", "page:1", "other"]) == {"page:": 0, "page:1": 1}


def test_leaves_what_is_there_unless_told_otherwise() -> None:
    caches["redis"].set("a", "new", 600)
    caches["redis_other"].set("a", "old", 600)

    kept = copy_cache(source="redis", dest="redis_other")
    assert (kept.total.present, caches["redis_other"].get("a")) == (1, "old")
    written = copy_cache(source="redis", dest="redis_other", options=CacheOptions(overwrite=True))
    assert (written.total.overwritten, caches["redis_other"].get("a")) == (1, "new")
    again = copy_cache(source="redis", dest="redis_other", options=CacheOptions(overwrite=True))
    assert (again.total.overwritten, again.total.present) == (0, 1)


def test_counts_what_is_no_value() -> None:
    redis("redis").rpush(":1:queue", "a")

    result = copy_cache(source="redis", dest="redis_other")

    assert result.total.problems == [(digest("queue"), "it is not a value but one of the server's own structures")]
    assert copy_report(result).exit_code == 4


@pytest.mark.memcached
def test_counts_keys_that_memcached_does_not_take() -> None:
    bad = ["a b", "line\nfeed", "l" * 248]
    for key in (*bad, "good", "é"):
        redis("redis").set(f":1:{key}", b"1")

    result = copy_cache(source="redis", dest="memcached")

    why = "memcached takes keys of at most 250 characters, without spaces and control characters"
    assert (result.total.written, sorted(result.total.problems)) == (2, sorted((digest(key), why) for key in bad))
    assert caches["memcached"].get_many(["good", "é"]) == {"good": 1, "é": 1}


@pytest.mark.memcached
def test_does_not_tell_a_key_that_cannot_be_asked_for(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("secret key\n")

    with pytest.raises(MigratorError) as failed:
        copy_cache(source="memcached", dest="redis", options=CacheOptions(keys_from=tmp_path / "keys"))

    assert str(failed.value).startswith("A server stopped the work (MemcacheIllegalInputError).")


@pytest.mark.parametrize("alias", ["postgresql_a", "mysql_a", "default"])
def test_counts_keys_that_are_too_long_for_the_table(alias: str, databases: Any) -> None:
    databases.fresh(alias)
    long = ["l" * 252, "l" * 253]  # with what is put before them, 255 and 256 characters
    for key in (*long, "good"):
        redis("redis").set(f":1:{key}", b"1")
    with override_settings(DATABASE_ROUTERS=[OneDatabase(alias)]):
        call_command("createcachetable", database=alias, verbosity=0)
        tally = copy_cache(source="redis", dest="table").total

    if alias == "default":  # SQLite holds texts of any length
        assert (tally.written, tally.unfit) == (3, 0)
        return
    assert (tally.written, tally.unfit) == (2, 1)
    assert tally.problems == [(digest(long[1]), "its key is longer than the table allows (255 characters)")]


def test_refuses_a_table_in_a_protected_database(databases: Any) -> None:
    databases.fresh("sqlite_b")
    caches["redis"].set("a", 1)
    with override_settings(DATABASE_ROUTERS=[OneDatabase("sqlite_b")], MIGRATOR={"PROTECTED": ["sqlite_b"]}):
        call_command("createcachetable", database="sqlite_b", verbosity=0)
        with pytest.raises(Refused) as refused:
            copy_cache(source="redis", dest="table")
        assert caches["table"].get("a") is None
    assert str(refused.value) == (
        "MIGRATOR['PROTECTED'] names the database 'sqlite_b', which holds the cache 'table'; "
        "it may never be a destination."
    )
    with override_settings(MIGRATOR={"PROTECTED": ["sqlite_b"]}):
        assert copy_cache(source="redis", dest="table").total.written == 1
        assert copy_cache(source="table", dest="redis_other").total.written == 1


class OneDatabase:
    """Sends everything to one database."""

    def __init__(self, alias: str) -> None:
        self.alias = alias

    def db_for_read(self, model: Any, **hints: Any) -> str:
        return self.alias

    db_for_write = db_for_read


def test_follows_what_changes_while_a_page_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    from migrator.stores.redis.store import RedisStore

    caches["redis"].set_many({"changed": "old", "dropped": "old", "same": "old"}, 600)
    plain = RedisStore.add

    def add(store: RedisStore, records: Any) -> set[str]:
        written = plain(store, records)
        caches["redis"].set("changed", "new", 900)
        caches["redis"].delete("dropped")
        return written

    monkeypatch.setattr(RedisStore, "add", add)

    tally = copy_cache(source="redis", dest="redis_other").total

    assert (tally.written, tally.refreshed, tally.removed) == (3, 1, 1)
    assert caches["redis_other"].get_many(["changed", "dropped", "same"]) == {"changed": "new", "same": "old"}


@pytest.mark.parametrize(
    ("source", "dest", "message"),
    [
        ("redis", "redis", "Source and destination are the same store"),
        ("redis", "dummy", "DummyCache keeps nothing"),
        ("default", "redis", "LocMemCache lives inside each process"),
        (
            "files",
            "redis",
            "cannot be listed: this kind of cache keeps no list of its keys. Give them with --keys-from FILE",
        ),
        ("redis", "silent", "IGNORE_EXCEPTIONS"),
        ("redis", "client_json", "unread: the cache 'client_json' has no way to hold a pickle value"),
        ("hashed", "redis", "cannot be reversed"),
    ],
)
def test_refuses_what_could_not_be_right(source: str, dest: str, message: str) -> None:
    caches["redis"].set("a", {"a": 1})

    with pytest.raises(Refused) as refused:
        copy_cache(source=source, dest=dest)

    assert message in str(refused.value)


def test_refuses_a_copy_that_would_find_its_own_keys() -> None:
    inner = {**caches.settings["redis"], "KEY_PREFIX": ":1:inner"}
    with override_settings(CACHES={**caches.settings, "inner": inner}), pytest.raises(Refused, match="read as keys of"):
        copy_cache(source="redis", dest="inner")


@pytest.fixture(params=["small_table", "small_files"])
def small(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Give a cache that keeps 300 entries."""
    files = {**caches.settings["files"], "LOCATION": str(tmp_path / "small"), "OPTIONS": {"MAX_ENTRIES": 301}}
    with override_settings(CACHES={**caches.settings, "small_files": files}):
        caches[request.param].clear()
        yield request.param


def test_refuses_a_cache_that_would_drop_keys(small: str, tmp_path: Path) -> None:
    caches["redis"].set_many({str(n): n for n in range(301)})
    (tmp_path / "keys").write_text("".join(f"{n}\n" for n in range(301)))

    for options in (CacheOptions(), CacheOptions(keys_from=tmp_path / "keys", chunk_size=100)):
        with pytest.raises(Refused) as refused:
            copy_cache(source="redis", dest=small, options=options)
        assert str(refused.value) == (
            f"The cache {small!r} keeps 300 entries (MAX_ENTRIES) and evicts others. It holds 0, and 301 keys would be "
            "added. Raise MAX_ENTRIES in its OPTIONS above the sum, permanently."
        )
    assert copy_cache(source="redis", dest=small, options=CacheOptions(limit=300)).total.written == 300


def test_counts_what_others_keep_there_as_well(small: str) -> None:
    """The next key that the site sets would have a third of all keys dropped."""
    others = {f"other{n}": n for n in range(250)}
    twin = {**caches.settings[small], "KEY_PREFIX": "others"}
    with override_settings(CACHES={**caches.settings, "twin": twin}):
        caches["twin"].set_many(others, 600)
        caches["redis"].set_many({f"key{n}": n for n in range(51)})

        with pytest.raises(Refused, match="It holds 250, and 51 keys would be added"):
            copy_cache(source="redis", dest=small)
        assert copy_cache(source="redis", dest=small, options=CacheOptions(match="key1")).total.written == 11
        with pytest.raises(Refused, match="It holds 261, and 40 keys would be added"):
            copy_cache(source="redis", dest=small)
        caches["redis"].delete("key50")

        assert copy_cache(source="redis", dest=small).total.written == 39
        assert copy_cache(source="redis", dest=small).total.present == 50
        caches[small].set("one-more", 1)
        assert len(caches["twin"].get_many(others)) == 250


def test_counts_rows_that_have_expired_where_they_alone_empty_the_table() -> None:
    caches["small_table"].clear()
    culled = {**caches.settings["small_table"], "OPTIONS": {"CULL_FREQUENCY": 0}}
    caches["small_table"].set_many({f"old{n}": n for n in range(290)}, 600)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE small_cache_rows SET expires = '2020-01-01'")
    caches["redis"].set_many({f"key{n}": n for n in range(11)})

    with override_settings(CACHES={**caches.settings, "culled": culled}):
        with pytest.raises(Refused, match="It holds 290, and 11 keys would be added"):
            copy_cache(source="redis", dest="culled")
        assert copy_cache(source="redis", dest="small_table").total.written == 11


def test_writes_nothing_in_a_dry_run(capsys: pytest.CaptureFixture[str]) -> None:
    caches["redis"].set("secret-key", "secret value")

    call_command("copy_cache", "--source", "redis", "--dest", "redis_other", "--dry-run")

    output = capsys.readouterr()
    assert redis("redis_other").dbsize() == 0
    assert facts(output.out)["values"] == "copied as they are"
    assert "secret" not in output.out + output.err


def test_says_how_to_go_on_when_it_is_told_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(100):
        caches["redis"].set(f"key{number}", number)
    prepare = PageCopier.prepare

    def prepare_and_be_told(copier: PageCopier, page: Any) -> Any:
        signal.raise_signal(signal.SIGTERM)
        return prepare(copier, page)

    monkeypatch.setattr(PageCopier, "prepare", prepare_and_be_told)
    with pytest.raises(Interrupted, match="Run the same command again") as raised:
        copy_cache(source="redis", dest="redis_other", options=CacheOptions(chunk_size=10))
    monkeypatch.undo()
    assert raised.value.exit_code == 143
    assert 0 < len(redis("redis_other").keys("*")) < 100
    copy_cache(source="redis", dest="redis_other")
    assert len(redis("redis_other").keys("*")) == 100
