"""Sessions on a cluster, of one node that serves all slots."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.cache import caches
from django.test import override_settings

from migrator.clock import now
from migrator.stores import open_store
from migrator.stores.base import Record
from migrator.stores.key_space import key_space
from tests.stores.redis.private_redis import join_slots, needs_server, private_redis, wait_for

pytestmark = needs_server
HOUR = 3_600_000_000


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[None]:
    with private_redis(tmp_path, "--cluster-enabled", "yes") as port:
        join_slots(port)
        wait_for(port, b"CLUSTER INFO\r\n", b"cluster_state:ok")
        backend = "django_valkey.cluster_cache.cache.ClusterValkeyCache"
        entry = {"BACKEND": backend, "LOCATION": f"valkey://127.0.0.1:{port}/0"}
        with override_settings(CACHES={**caches.settings, "cluster": entry}):
            yield
            caches["cluster"].client._get_client(write=True).close()


@pytest.mark.usefixtures("databases", "cluster")
def test_lists_reads_and_writes_keys_of_all_slots() -> None:
    opened = open_store(alias="cluster")
    store = opened.within(key_space(opened.cache.make_key, alias="cluster", prefix="p"))
    expires = now() + HOUR
    items = [Record(f"k{n}", store.encode({"n": n}, expires), expires) for n in range(100)]

    assert store.add(items) == {f"k{n}" for n in range(100)}
    assert store.add(items) == set()
    assert sorted(key for page in store.keys(30) for key in page) == sorted(f"k{n}" for n in range(100))
    found = store.fetch(["k1", "k2", "absent"])
    assert store.same(found["k1"], items[1])
    assert found["k1"].expires is not None
    assert found["k1"].expires <= expires
    assert store.replace([(found["k1"], items[3]._replace(key="k1"))]) == {"k1"}
    assert store.discard([found["k1"], found["k2"]]) == {"k2"}
    assert store.present(["k1", "k2"]) == {"k1"}
