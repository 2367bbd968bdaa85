"""The test settings with a cache of each kind, for sessions; MIGRATOR_TEST_SESSIONS_DB is the table's database."""

import os
from typing import Any

from settings.test import *  # noqa: F403
from settings.test import CACHES as BASE_CACHES
from settings.test import RUN_DIRECTORY

ROOT_URLCONF = "tests.sessions.site"
DATABASE_ROUTERS = ["tests.sessions.site.SessionsRouter"]
SESSIONS_DB = os.environ.get("MIGRATOR_TEST_SESSIONS_DB", "default")
SESSION_FILE_PATH = str(RUN_DIRECTORY)
ALLOWED_HOSTS = ["testserver"]


def session_caches() -> dict[str, Any]:
    """Give a cache of each kind that the servers of this run allow, each in a place of its own."""
    found: dict[str, Any] = dict(BASE_CACHES)
    if address := os.environ.get("MIGRATOR_TEST_REDIS"):
        found |= _redis_caches(address.rstrip("/"))
    if "memcached" in found:
        found["memcached"] = {**found["memcached"], "KEY_PREFIX": "a"}
        found["memcached_b"] = {**found["memcached"], "KEY_PREFIX": "b"}
    table = {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "cache_rows"}
    found["table"] = {**table, "OPTIONS": {"MAX_ENTRIES": 1_000_000}}
    found["small_table"] = {**table, "LOCATION": "small_cache_rows"}
    directory = {
        "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
        "LOCATION": str(RUN_DIRECTORY / "cache"),
    }
    found["files"] = {**directory, "OPTIONS": {"MAX_ENTRIES": 1_000_000}}
    found["dummy"] = {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}
    return found


def _redis_caches(address: str) -> dict[str, Any]:
    django = "django.core.cache.backends.redis.RedisCache"
    client = {"BACKEND": "django_redis.cache.RedisCache"}

    def options(number: int, **given: Any) -> dict[str, Any]:
        return {**client, "LOCATION": f"{address}/{number}", "OPTIONS": given}

    return {
        "redis": {"BACKEND": django, "LOCATION": f"{address}/3"},
        "redis_other": {"BACKEND": django, "LOCATION": f"{address}/4"},
        "redis_prefixed": {"BACKEND": django, "LOCATION": f"{address}/4", "KEY_PREFIX": "new"},
        "colon": {"BACKEND": django, "LOCATION": f"{address}/5", "KEY_PREFIX": "my:app"},
        "glob": {"BACKEND": django, "LOCATION": f"{address}/5", "KEY_PREFIX": "app[1]*?\\", "VERSION": 7},
        "suffix": {
            "BACKEND": django,
            "LOCATION": f"{address}/5",
            "KEY_FUNCTION": "tests.sessions.site.suffixed_key",
        },
        "hashed": {"BACKEND": django, "LOCATION": f"{address}/5", "KEY_FUNCTION": "tests.sessions.site.hashed_key"},
        "client": options(6),
        "client_json": options(
            7,
            SERIALIZER="django_redis.serializers.json.JSONSerializer",
            COMPRESSOR="django_redis.compressors.zlib.ZlibCompressor",
        ),
        "client_zlib": options(8, COMPRESSOR="django_redis.compressors.zlib.ZlibCompressor"),
        "herd": options(9, CLIENT_CLASS="django_redis.client.HerdClient"),
        "shard": {
            **client,
            "LOCATION": [f"{address}/10", f"{address}/11"],
            "OPTIONS": {"CLIENT_CLASS": "django_redis.client.ShardClient"},
        },
        "silent": options(12, IGNORE_EXCEPTIONS=True),
        "valkey": {
            "BACKEND": "django_valkey.cache.ValkeyCache",
            "LOCATION": f"{address}/13".replace("redis://", "valkey://"),
        },
    }


CACHES = session_caches()
