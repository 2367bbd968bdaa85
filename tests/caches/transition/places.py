"""Caches of each kind, pairs of them as transitions, and the phase that all of these are in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from django.core.cache import caches
from django.core.management import call_command
from django.db import connections

from settings.test import CACHES as SERVERS
from settings.test import RUN_DIRECTORY

ADDRESS = os.environ.get("MIGRATOR_TEST_REDIS", "").rstrip("/")
TABLE_DATABASES = {"cache_on_postgresql": "postgresql_a", "cache_on_mysql": "mysql_a", "cache_on_sqlite": "sqlite_a"}


class Now:
    """The phase of every transition here."""

    phase = "old"


def present_phase() -> str:
    return Now.phase


class TableRouter:
    """Sends each cache table to its database."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return TABLE_DATABASES.get(model._meta.db_table)

    db_for_write = db_for_read


def _redis(number: int, backend: str = "django.core.cache.backends.redis.RedisCache", **more: Any) -> dict[str, Any]:
    return {"BACKEND": backend, "LOCATION": f"{ADDRESS}/{number}", **more}


def _table(name: str) -> dict[str, Any]:
    return {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": f"cache_on_{name}",
        "OPTIONS": {"MAX_ENTRIES": 100_000},
    }


CLIENT = "django_redis.cache.RedisCache"
PLAIN: dict[str, dict[str, Any]] = {
    "redis": _redis(14),
    "redis_b": _redis(13),
    "client": _redis(15, CLIENT),
    "client_b": _redis(13, CLIENT),
    "herd": _redis(12, CLIENT, OPTIONS={"CLIENT_CLASS": "django_redis.client.HerdClient"}),
    "memcached": SERVERS.get("memcached", {"BACKEND": "django.core.cache.backends.memcached.PyMemcacheCache"}),
    "postgresql": _table("postgresql"),
    "mysql": _table("mysql"),
    "sqlite": _table("sqlite"),
    "locmem": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "transition"},
    "files": {
        "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
        "LOCATION": str(RUN_DIRECTORY / "transition"),
    },
}
BACKEND = "migrator.caches.TransitionCache"


def transition(old: Any, new: Any, **more: Any) -> dict[str, Any]:
    return {"BACKEND": BACKEND, "OLD": old, "NEW": new, "PHASE": f"{__name__}.present_phase", **more}


def settings_of(old: str, new: str, **more: Any) -> dict[str, Any]:
    """Give CACHES with the pair as `default`, and its sides as `old` and `new`."""
    local = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    return {"default": transition("old", "new", **more), "old": PLAIN[old], "new": PLAIN[new], "unused": local}


def markers_of(*names: str) -> Iterator[str]:
    """Name the servers that caches need."""
    for name in names:
        if name in ("redis", "redis_b", "client", "client_b", "herd"):
            yield "redis"
        elif name in ("memcached", "postgresql", "mysql", "sqlite"):
            yield name


def prepare(*aliases: str) -> None:
    """Empty caches, and make the tables that are not there."""
    for alias in aliases:
        table = caches.settings[alias]["LOCATION"]
        if table in TABLE_DATABASES:
            connection = connections[TABLE_DATABASES[table]]
            if table not in connection.introspection.table_names():
                call_command("createcachetable", table, database=connection.alias, verbosity=0)
        caches[alias].clear()
