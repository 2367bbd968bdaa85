"""Caches behind a sentinel: written and read at the primary, whatever its replica holds."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.test import override_settings

from migrator.caches.copying import copy_cache
from migrator.errors import Refused
from migrator.sessions.copying.run import copy_sessions
from migrator.sessions.verification import verify_sessions
from migrator.stores import open_store
from tests.servers.process import ask
from tests.sessions.places import ROWS, Place, data_of, put
from tests.stores.redis.expiries import notes_on_age
from tests.stores.redis.private_redis import needs_server, private_redis, wait_for

pytestmark = [needs_server, pytest.mark.usefixtures("databases")]

CLIENTS = {
    "django_redis": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": "redis://{name}/{number}",
        "OPTIONS": {
            "CLIENT_CLASS": "django_redis.client.SentinelClient",
            "CONNECTION_FACTORY": "django_redis.pool.SentinelConnectionFactory",
        },
    },
    "django_valkey": {
        "BACKEND": "django_valkey.cache.ValkeyCache",
        "LOCATION": "valkey://{name}/{number}",
        "OPTIONS": {
            "CLIENT_CLASS": "django_valkey.client.SentinelClient",
            "CONNECTION_FACTORY": "django_valkey.pool.SentinelConnectionFactory",
        },
    },
}


def entry(client: str, sentinel: int, name: str, number: int) -> dict[str, Any]:
    given = CLIENTS[client]
    options = {**given["OPTIONS"], "SENTINELS": [("127.0.0.1", sentinel)]}
    return {**given, "LOCATION": given["LOCATION"].format(name=name, number=number), "OPTIONS": options}


@pytest.fixture
def replica(tmp_path: Path) -> Iterator[int]:
    """Give the port of the replica in a set of primary, replica and sentinel, known to the site by four caches."""
    config = tmp_path / "sentinel.conf"
    with private_redis(tmp_path, "--repl-diskless-sync-delay", "0") as primary:
        name = f"primary{primary}"  # the clients keep a pool for each name, for good
        # A replica that takes writes can be made to differ, which tells where a value was read.
        words = ["--replicaof", "127.0.0.1", str(primary), "--replica-read-only", "no"]
        config.write_text(f"sentinel monitor {name} 127.0.0.1 {primary} 1\n")
        with (
            private_redis(tmp_path, *words) as replica,
            private_redis(tmp_path, str(config), "--sentinel") as sentinel,
        ):
            wait_for(replica, b"INFO replication\r\n", b"master_link_status:up")
            wait_for(sentinel, f"SENTINEL REPLICAS {name}\r\n".encode(), b"127.0.0.1")
            known = {f"{client}_{n}": entry(client, sentinel, name, n) for client in CLIENTS for n in (0, 1)}
            location = f"redis://127.0.0.1:{replica}/0"
            known["replica"] = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": location}
            known["pair"] = {**known["replica"], "LOCATION": [f"redis://127.0.0.1:{primary}/0", location]}
            with override_settings(CACHES={**caches.settings, **known}):
                yield replica
                for alias in known:
                    open_store(alias=alias).close()
                    if alias.startswith("django"):
                        caches[alias].client.get_client(write=True).connection_pool.disconnect()


def make_differ(replica: int, key: str) -> None:
    """Give the replica another value than its primary has."""
    wait_for(replica, b"EXISTS %b\r\n" % key.encode(), b":1")
    assert ask(replica, b"SET %b other\r\n" % key.encode()) == b"+OK\r\n"


@pytest.mark.parametrize("client", CLIENTS)
def test_copies_sessions_to_and_from_the_primary(client: str, replica: int, ready: Any) -> None:
    ready(ROWS)
    source, dest = (Place("cache", f"{client}_{number}", "cache") for number in (0, 1))
    keys = [put(source, {"number": number}) for number in range(20)]
    make_differ(replica, f":1:django.contrib.sessions.cache{keys[7]}")

    there = copy_sessions(source=source.end, dest=ROWS.end)
    back = copy_sessions(source=ROWS.end, dest=dest.end)

    expected = {key: {"number": number} for number, key in enumerate(keys)}
    assert (there.total.written, back.total.written) == (20, 20)
    assert data_of(ROWS) == data_of(dest) == expected
    assert verify_sessions(source=source.end, dest=dest.end).comparison.equal == 20
    assert re.match(rf"cache '{client}_0' \(primary\d+ by its sentinels/0\)", there.plan.source)


@pytest.mark.parametrize("client", CLIENTS)
def test_copies_caches_to_and_from_the_primary(client: str, replica: int) -> None:
    caches[f"{client}_0"].set_many({"a": 1, "b": "two"}, 600)
    make_differ(replica, ":1:b")

    assert copy_cache(source=f"{client}_0", dest=f"{client}_1").total.written == 2

    assert caches[f"{client}_1"].client.get("b", client=caches[f"{client}_1"].client.get_client(write=True)) == "two"
    with pytest.raises(Refused, match="same store"):
        copy_cache(source=f"{client}_0", dest="pair")


def test_reads_the_first_of_several_addresses(replica: int) -> None:
    caches["pair"].set("a", 1, 600)
    make_differ(replica, ":1:a")

    assert copy_cache(source="pair", dest="table").total.written == 1
    assert caches["table"].get("a") == 1


def test_says_that_a_replica_is_none_to_copy_with(replica: int) -> None:
    with pytest.raises(Refused, match=r"it is a replica; name its primary, 127\.0\.0\.1:"):
        copy_cache(source="table", dest="replica")
    notes = copy_cache(source="replica", dest="table").plan.notes
    assert notes == (
        "'replica' is a replica: changes of its primary during the copy are seen late, or not at all",
        *notes_on_age("replica"),
    )
