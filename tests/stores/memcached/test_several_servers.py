"""A cache on several memcached servers, some of whose keys another client put where pymemcache does not look."""

import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.test import override_settings
from pymemcache import Client, HashClient
from pymemcache.serde import pickle_serde

from migrator.caches.copying import copy_cache
from migrator.caches.records import CacheOptions
from migrator.caches.reports import copy_report
from migrator.errors import Refused
from migrator.sessions.copying.run import copy_sessions
from migrator.sessions.records import CopyOptions, End
from migrator.sessions.reports import copy_report as sessions_report
from migrator.sessions.verification import VerifyOptions, verify_sessions
from migrator.stores.base import digest
from tests.servers.memcached import Memcached
from tests.sessions.places import CACHE, ROWS, data_of, new_key

pytestmark = [
    pytest.mark.redis,
    pytest.mark.skipif(Memcached.find() is None, reason="no memcached to start"),
    pytest.mark.usefixtures("databases"),
]
ELSEWHERE = "another client put it on another server than this cache looks for it on"
Address = tuple[str, int]


@pytest.fixture(scope="module")
def servers() -> Iterator[list[Address]]:
    running = [Memcached(), Memcached()]
    try:
        for server in running:
            server.start()
        yield [("127.0.0.1", server.port) for server in running]
    finally:
        for server in running:
            server.stop()


@pytest.fixture(autouse=True)
def _caches(servers: list[Address]) -> Iterator[None]:
    """Give a cache of both servers, and one of each alone."""
    backend = {"BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache"}
    named = [f"{host}:{port}" for host, port in servers]
    more = {"both": {**backend, "LOCATION": named}}
    more |= {f"server{number}": {**backend, "LOCATION": name} for number, name in enumerate(named)}
    with override_settings(CACHES={**caches.settings, **more}):
        caches["both"].clear()
        caches["redis"].clear()
        yield


@pytest.fixture
def elsewhere(servers: list[Address]) -> Callable[[str], bool]:
    """Tell whether pymemcache looks for a raw key on another server than the clients that take it modulo."""
    client = HashClient(servers)

    def is_elsewhere(raw: str) -> bool:
        looked_for: Address = client._get_client(raw).server
        return looked_for != servers[_modulo(raw)]

    return is_elsewhere


def _modulo(raw: str) -> int:
    return zlib.crc32(raw.encode()) % 2


def put_modulo(servers: list[Address], keys: dict[str, Any]) -> None:
    """Write raw keys as a client does that chooses servers by a checksum modulo their number."""
    for number, server in enumerate(servers):
        with closing(Client(server, serde=pickle_serde)) as client:
            client.set_many({raw: value for raw, value in keys.items() if _modulo(raw) == number}, 600, noreply=False)


@pytest.fixture
def sessions(servers: list[Address], elsewhere: Callable[[str], bool]) -> tuple[set[str], set[str]]:
    """Give the keys of sessions that pymemcache finds, and of those that it does not."""
    keys = [new_key() for _ in range(60)]
    raws = {key: f":1:django.contrib.sessions.cache{key}" for key in keys}
    put_modulo(servers, {raw: {"key": key} for key, raw in raws.items()})
    hidden = {key for key in keys if elsewhere(raws[key])}
    assert 0 < len(hidden) < 60
    return set(keys) - hidden, hidden


BOTH = End("cache", "both", "cache")


@pytest.mark.parametrize(
    "dest", [ROWS.end, CACHE.end, End("cache", "server_other", "cache")], ids=["db", "redis", "raw"]
)
def test_lists_sessions_that_another_client_put_elsewhere(
    dest: End, sessions: tuple[set[str], set[str]], ready: Callable[..., None]
) -> None:
    ready(ROWS)
    found, hidden = sessions
    other = {**caches.settings["server0"], "KEY_PREFIX": "other"}
    with override_settings(CACHES={**caches.settings, "server_other": other}):
        result = copy_sessions(source=BOTH, dest=dest)

        assert (result.total.read, result.total.written, result.total.unreadable) == (60, len(found), len(hidden))
        assert sorted(result.total.problems) == sorted((digest(key), ELSEWHERE) for key in hidden)
        assert sessions_report(result).exit_code == 4
        assert any(note.startswith("'both' has several servers, and pylibmc") for note in result.plan.notes)
        compared = verify_sessions(source=BOTH, dest=dest, options=VerifyOptions(mode="full")).comparison
        assert (compared.equal, compared.unreadable, compared.extra) == (len(found), len(hidden), 0)


def test_lists_given_sessions_that_another_client_put_elsewhere(
    sessions: tuple[set[str], set[str]], ready: Callable[..., None], tmp_path: Path
) -> None:
    ready(ROWS)
    found, hidden = sessions
    (tmp_path / "keys").write_text("\n".join([*found, *hidden, new_key()]))

    total = copy_sessions(source=End("cache", "both", "cache", keys_from=tmp_path / "keys"), dest=ROWS.end).total

    assert (total.written, total.unreadable) == (len(found), len(hidden))


def test_copies_all_of_them_from_a_cache_of_each_server(
    sessions: tuple[set[str], set[str]], ready: Callable[..., None]
) -> None:
    ready(ROWS)

    results = [copy_sessions(source=End("cache", alias, "cache"), dest=ROWS.end) for alias in ("server0", "server1")]

    assert [sessions_report(result).exit_code for result in results] == [0, 0]
    assert data_of(ROWS) == {key: {"key": key} for key in sessions[0] | sessions[1]}


def test_does_not_bring_back_what_was_left_on_another_server(
    servers: list[Address], elsewhere: Callable[[str], bool], ready: Callable[..., None]
) -> None:
    """A server that was down for a while holds sessions that were changed or ended on the other one since."""
    ready(ROWS)
    key = next(key for key in iter(new_key, "") if elsewhere(f":1:django.contrib.sessions.cache{key}"))
    put_modulo(servers, {f":1:django.contrib.sessions.cache{key}": {"state": "old"}})
    caches["both"].set(f"django.contrib.sessions.cache{key}", {"state": "new"}, 600)

    result = copy_sessions(source=BOTH, dest=ROWS.end, options=CopyOptions(catch_up=1))

    assert (data_of(ROWS), result.total.failures) == ({key: {"state": "new"}}, 0)


@pytest.mark.parametrize("given", [False, True])
def test_lists_keys_of_a_cache_that_another_client_put_elsewhere(
    given: bool, servers: list[Address], elsewhere: Callable[[str], bool], tmp_path: Path
) -> None:
    values = {f"key{number}": number for number in range(60)}
    put_modulo(servers, {f":1:{key}": value for key, value in values.items()})
    hidden = {key for key in values if elsewhere(f":1:{key}")}
    (tmp_path / "keys").write_text("\n".join([*values, "unknown"]))

    options = CacheOptions(keys_from=tmp_path / "keys" if given else None)
    result = copy_cache(source="both", dest="redis", options=options)

    assert (result.total.written, result.total.unfit, result.total.expired) == (60 - len(hidden), len(hidden), given)
    assert sorted(result.total.problems) == sorted((digest(key), ELSEWHERE) for key in hidden)
    assert copy_report(result).exit_code == 4
    assert copy_cache(source="server0", dest="redis").total.unfit == 0
    copy_cache(source="server1", dest="redis")
    assert caches["redis"].get_many(values) == values


def test_says_how_a_site_with_pylibmc_is_copied(servers: list[Address], monkeypatch: pytest.MonkeyPatch) -> None:
    from django.core.cache.backends.memcached import PyMemcacheCache

    from migrator import stores

    name = "django.core.cache.backends.memcached.PyMemcacheCache"
    monkeypatch.delitem(stores.STORES, name)
    monkeypatch.setitem(stores.REFUSALS, name, stores.REFUSALS[name.replace("PyMemcache", "PyLibMC")])
    assert isinstance(caches["both"], PyMemcacheCache)  # for pylibmc itself need not be installed

    with pytest.raises(Refused) as refused:
        copy_cache(source="both", dest="redis")

    assert str(refused.value) == (
        "The cache 'both' cannot be copied: values of pylibmc cannot be copied unread. Define each of its servers as a "
        "cache of its own with PyMemcacheCache, and copy from each of them. Copy into several servers only if the site "
        "itself uses PyMemcacheCache, which maps keys to them differently than pylibmc."
    )
