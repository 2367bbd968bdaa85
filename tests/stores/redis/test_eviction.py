"""A destination that drops keys when its memory is full."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.cache import caches
from django.test import override_settings

from migrator.caches.copying import copy_cache
from migrator.caches.reports import copy_report
from migrator.sessions.copying.run import copy_sessions
from migrator.sessions.reports import copy_report as sessions_report
from migrator.sessions.verification import verify_sessions
from tests.sessions.places import CACHE, Place, put
from tests.stores.redis.private_redis import needs_server, private_redis

pytestmark = [needs_server, pytest.mark.redis, pytest.mark.usefixtures("databases")]


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Place]:
    """Give a cache whose server has room for some hundred keys more than it takes to run."""
    with private_redis(tmp_path, "--maxmemory", "3mb", "--maxmemory-policy", "allkeys-random") as port:
        entry = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": f"redis://127.0.0.1:{port}/0"}
        with override_settings(CACHES={**caches.settings, "small": entry}):
            yield Place("cache", "small", "cache")
            caches["small"]._cache.get_client(None, write=True).connection_pool.disconnect()  # type: ignore[attr-defined]


def test_tells_how_many_sessions_the_destination_dropped(small: Place) -> None:
    CACHE.clear()
    for number in range(40):
        put(CACHE, {"number": number, "text": "x" * 100_000})

    result = copy_sessions(source=CACHE.end, dest=small.end)

    assert result.evicted > 0
    assert any("evicts keys when 3,145,728 bytes are full" in note for note in result.plan.notes)
    assert any(f"evicted {result.evicted:,} keys" in point.sentence for point in sessions_report(result).points)
    compared = verify_sessions(source=CACHE.end, dest=small.end).comparison
    assert compared.missing > 0
    assert compared.missing + compared.equal == 40


def test_tells_how_many_keys_of_a_cache_it_dropped(small: Place) -> None:
    caches["redis"].clear()
    caches["redis"].set_many({str(number): "x" * 100_000 for number in range(40)}, 600)

    result = copy_cache(source="redis", dest="small")

    assert result.evicted > 0
    assert any(f"evicted {result.evicted:,} keys" in point.sentence for point in copy_report(result).points)
