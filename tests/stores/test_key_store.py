"""One suite for all cache stores: what is added, compared, replaced and discarded, and when it ends."""

import time
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from django.core.cache import caches

from migrator.clock import now
from migrator.stores import open_store
from migrator.stores.base import Record
from migrator.stores.key_space import KeySpace, key_space, unlisted_key_space
from migrator.stores.key_store import KeyStore
from migrator.stores.stored_values import RejectedValue, Value
from tests.stores.redis.expiries import expiry_of, version_of

SECOND = 1_000_000
HOUR = 3600 * SECOND
SHARDED = pytest.mark.filterwarnings("ignore:.* on sharded client:UserWarning")


class StoreSuite:
    """What every store does."""

    alias: ClassVar[str]
    # Whether many keys are compared with what was seen without being read one by one, if expiries are read exactly.
    tells_quickly: ClassVar[bool] = False

    def can_tell_quickly(self, store: KeyStore) -> bool:
        return self.tells_quickly and store.expiry_slack == 0

    @pytest.fixture
    def store(self, databases: Any) -> Iterator[KeyStore]:
        caches[self.alias].clear()
        store = open_store(alias=self.alias)
        yield store.within(self.space(store))
        store.close()

    def space(self, store: KeyStore) -> KeySpace:
        if not store.can_list_keys:
            return unlisted_key_space(store.cache.make_key, prefix="p")
        return key_space(store.cache.make_key, alias=self.alias, prefix="p")

    def item(self, store: KeyStore, key: str, value: Any, expires: int | None) -> Record:
        return Record(key, store.encode(value, expires), expires)

    def test_adds_what_the_backend_reads(self, store: KeyStore) -> None:
        expires = now() + HOUR
        items = [self.item(store, f"k{n}", {"n": n}, expires) for n in range(50)]

        assert store.add(items) == {f"k{n}" for n in range(50)}
        assert store.add(items) == set()
        assert caches[self.alias].get("pk7") == {"n": 7}
        found = store.fetch(["k7", "absent"])
        assert list(found) == ["k7"]
        assert store.decode(found["k7"].raw) == {"n": 7}
        assert found["k7"].expires is not None
        assert 0 <= expires - found["k7"].expires < store.expiry_step + store.expiry_slack
        assert store.present(["k7", "absent"]) == {"k7"}

    def test_reads_what_the_backend_wrote(self, store: KeyStore) -> None:
        caches[self.alias].set("pa", {"a": 1}, 100)
        caches[self.alias].set("pb", 5, None)

        found = store.fetch(["a", "b"])

        assert (store.decode(found["a"].raw), store.decode(found["b"].raw)) == ({"a": 1}, 5)
        assert found["b"].expires is None
        assert found["a"].expires is not None
        assert 95 * SECOND < found["a"].expires - now() <= 100 * SECOND

    def test_lists_its_keys_once(self, store: KeyStore) -> None:
        store.add([self.item(store, f"k{n}", n, now() + HOUR) for n in range(300)])
        caches[self.alias].set("other", 1)

        listed = [key for page in store.keys(70) for key in page]

        assert sorted(listed) == sorted(f"k{n}" for n in range(300))

    def test_is_never_as_seen_after_a_change(self, store: KeyStore) -> None:
        store.add([self.item(store, key, key, now() + HOUR) for key in ("a", "b", "c", "longer")])
        seen = store.fetch(["a", "b", "c", "longer"])
        assert store.are_as_seen(list(seen.values())) is self.can_tell_quickly(store)

        caches[self.alias].set("pb", "b", 7200)
        assert not store.are_as_seen(list(seen.values()))
        caches[self.alias].delete("pc")
        assert not store.are_as_seen([seen["c"]])
        assert store.are_as_seen([seen["a"], seen["longer"]]) is self.can_tell_quickly(store)

    def test_adds_nothing_that_has_expired(self, store: KeyStore) -> None:
        assert store.add([self.item(store, "k", 1, now() - 1)]) == set()
        assert store.fetch(["k"]) == {}

    def test_replaces_what_is_as_seen_and_nothing_else(self, store: KeyStore) -> None:
        store.add([self.item(store, "k", "old", now() + HOUR)])
        seen = store.fetch(["k"])["k"]
        new = self.item(store, "k", "new", now() + 2 * HOUR)

        assert store.replace([(seen, new)]) == {"k"}
        assert store.replace([(seen, self.item(store, "k", "newest", now() + HOUR))]) == set()
        assert caches[self.alias].get("pk") == "new"
        assert store.replace([(seen._replace(key="absent"), new)]) == set()

    def test_discards_what_is_as_seen_and_nothing_else(self, store: KeyStore) -> None:
        store.add([self.item(store, "k", "old", now() + HOUR)])
        seen = store.fetch(["k"])["k"]

        assert store.discard([seen._replace(raw=store.encode("other", seen.expires))]) == set()
        assert store.discard([seen]) == {"k"}
        assert store.discard([seen]) == set()
        assert caches[self.alias].get("pk") is None

    def test_takes_the_same_value_with_a_later_end_for_another_state(self, store: KeyStore) -> None:
        store.add([self.item(store, "k", "v", now() + HOUR)])
        seen = store.fetch(["k"])["k"]
        caches[self.alias].set("pk", "v", 7200)

        assert store.discard([seen]) == set()

    def test_takes_values_apart_and_puts_them_together(self, store: KeyStore) -> None:
        value = store.unwrap(store.encode({"a": 1}, None))
        assert store.decode(store.wrap(value)) == {"a": 1}
        assert store.unwrap(store.encode(12, None)) == Value("integer", b"12")
        assert store.decode(store.wrap(Value("integer", b"12"))) == 12

    def test_frees_the_key_when_it_ends(self, store: KeyStore) -> None:
        store.add([self.item(store, "k", "old", now() + 2 * SECOND)])
        time.sleep(5 if self.alias == "memcached" else 2.1)  # whose clock ticks once a second
        # A herd's key stays a minute longer, for those who are still reading it.
        assert store.add([self.item(store, "k", "new", now() + HOUR)]) == (set() if self.alias == "herd" else {"k"})


@pytest.mark.redis
class TestRedis(StoreSuite):
    alias = "redis"
    tells_quickly = True


@pytest.mark.redis
class TestClient(StoreSuite):
    alias = "client"
    tells_quickly = True


@pytest.mark.redis
class TestClientWithCompressor(StoreSuite):
    alias = "client_zlib"
    tells_quickly = True


class Unwrappable:
    """Values that only their own backend can take apart."""

    def test_takes_values_apart_and_puts_them_together(self, store: KeyStore) -> None:
        with pytest.raises(RejectedValue):
            store.unwrap(store.encode({"a": 1}, None))
        with pytest.raises(RejectedValue):
            store.wrap(Value("pickle", b"."))


@pytest.mark.redis
class TestClientWithJSON(StoreSuite):
    alias = "client_json"
    tells_quickly = True

    def test_takes_values_apart_and_puts_them_together(self, store: KeyStore) -> None:
        for given in ({"a": "x" * 900}, -1, True):
            raw = store.encode(given, None)
            assert store.wrap(store.unwrap(raw)) == raw
        with pytest.raises(RejectedValue):
            store.wrap(Value("pickle", b"."))


@pytest.mark.redis
class TestHerd(Unwrappable, StoreSuite):
    alias = "herd"


@pytest.mark.redis
@SHARDED
class TestShard(StoreSuite):
    alias = "shard"
    tells_quickly = True


@pytest.mark.redis
class TestValkey(StoreSuite):
    alias = "valkey"
    tells_quickly = True


@pytest.mark.memcached
class TestMemcached(StoreSuite):
    alias = "memcached"


class TestTable(StoreSuite):
    alias = "table"


class TestFiles(StoreSuite):
    alias = "files"

    def test_lists_its_keys_once(self, store: KeyStore) -> None:
        assert not store.can_list_keys  # file names are digests


@pytest.mark.redis
def test_knows_its_own_writes_when_the_answer_was_lost(databases: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from redis.exceptions import ConnectionError as Lost

    from migrator.stores.redis.pipeline import Runner

    caches["redis"].clear()
    opened = open_store(alias="redis")
    store = opened.within(key_space(opened.cache.make_key, alias="redis"))
    attempt, lost = Runner._attempt, []

    def losing(runner: Runner, buffer: bytes, read: Any) -> Any:
        found = attempt(runner, buffer, read)
        if not lost and (b"NX" in buffer or b"EVAL" in buffer):
            lost.append(found)
            raise Lost
        return found

    monkeypatch.setattr(Runner, "_attempt", losing)
    items = [Record(key, b"v", now() + HOUR) for key in ("a", "b")]
    caches["redis"].set("b", "another's")

    assert store.add(items) == {"a"}
    lost.clear()
    seen = store.fetch(["a", "b"])
    pairs = [(seen["a"], items[0]._replace(raw=b"w")), (seen["b"]._replace(raw=b"?"), items[1])]
    assert store.replace(pairs) == {"a"}
    assert lost


@pytest.mark.redis
@pytest.mark.parametrize("version", ["6.0.16", "6.2.14"])
@pytest.mark.parametrize("ahead", [-5, 0, 5])
def test_expiries_are_never_later_with_a_server_that_returns_only_the_time_left(
    ahead: int, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from migrator.stores.redis import store as module

    client = caches["redis"]._cache.get_client()
    if version_of(client) < tuple(map(int, version.split("."))):
        pytest.skip("this server is older")
    monkeypatch.setattr(module.RedisStore, "_server_info", lambda store: {"redis_version": version})
    monkeypatch.setattr(module, "now", lambda: now() + ahead * SECOND)  # this host's clock is not the server's
    caches["redis"].clear()
    opened = open_store(alias="redis")
    store = opened.within(key_space(opened.cache.make_key, alias="redis"))
    expires = now() + HOUR

    assert store.add([Record("k", b"v", expires)]) == {"k"}
    assert store.add([Record("k", b"?", expires + HOUR)]) == set()
    assert expiry_of(client, opened.cache.make_key("k")) == expires // 1000

    asked = now()
    found = store.fetch(["k"])["k"]
    assert found.expires is not None
    assert 0 <= expires - found.expires <= now() - asked + 2 * store.expiry_step
    assert store.update(Record("k", b"u", expires + HOUR))
    assert expiry_of(client, opened.cache.make_key("k")) == (expires + HOUR) // 1000

    assert store.replace([(found._replace(raw=b"u"), Record("k", b"w", None))]) == set()  # it expires later now
    assert store.replace([(Record("k", b"u", expires + HOUR), Record("k", b"w", expires))]) == {"k"}
    assert expiry_of(client, opened.cache.make_key("k")) == expires // 1000
    assert store.discard([Record("k", b"w", None)]) == set()
    assert store.replace([(found._replace(raw=b"w"), Record("k", b"w", None))]) == {"k"}
    assert expiry_of(client, opened.cache.make_key("k")) == -1
    assert store.discard([found._replace(raw=b"w")]) == set()
    assert store.discard([Record("k", b"w", None)]) == {"k"}
    assert store.notes() == ["'redis' is older than Redis 7: expiries are exact to some milliseconds, and never later"]


def test_bytes_in_no_known_format_are_rejected_as_such() -> None:
    with pytest.raises(RejectedValue, match="its bytes are in no known format, which the destination cannot pickle"):
        Value("unknown", b"?").as_pickle()
