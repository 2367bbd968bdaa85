"""The cost of `migrator.sessions.transition` by phase, relative to the plain engine of the authoritative side."""

from __future__ import annotations

import shutil
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any

from django.conf import settings
from django.core.cache import caches
from django.db import connections
from django.test import override_settings

from bench.transition import Line
from migrator.transitions.phases import Phase

BACKENDS = "django.contrib.sessions.backends"
REDIS = {"ENGINE": f"{BACKENDS}.cache", "CACHE": "redis_a"}
OTHER_REDIS = {"ENGINE": f"{BACKENDS}.cache", "CACHE": "redis_b"}
ROWS = {"ENGINE": f"{BACKENDS}.db", "DATABASE": "postgresql_a"}
PAIRS = {
    "sessions: Redis to Redis": (REDIS, OTHER_REDIS),
    "sessions: Redis to PostgreSQL": (REDIS, ROWS),
    "sessions: PostgreSQL to Redis": (ROWS, REDIS),
}
DATA = {"_auth_user_id": "1", "_auth_user_hash": "0" * 64, "cart": [{"sku": "x" * 20, "count": 2}] * 6}
PLAIN = {"plain OLD": 0, "plain NEW": 1}
Act = Callable[[Any, str], None]


class Router:
    """Routes sessions of the plain engines to the database of the pair."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return "postgresql_a" if model.__name__ == "Session" else None

    db_for_write = db_for_read


class Trips:
    """Counts how often this thread waits for a server; BEGIN and COMMIT wait once each."""

    number = 0


def measure(calls: int, rounds: int) -> list[Line]:
    """Measure every operation of every pair."""
    with _servers(), _counted():
        return [line for group, pair in PAIRS.items() for line in _measured(group, pair, calls, rounds)]


def _measured(group: str, pair: Any, calls: int, rounds: int) -> list[Line]:
    ways = [*PLAIN, *Phase]
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for _ in range(rounds):
        for operation in OPERATIONS:
            for way in ways:
                found.setdefault((operation, way), []).append(_one(operation, way, pair, calls))
    medians = {
        key: (statistics.median(seconds for seconds, _ in runs), statistics.median(trips for _, trips in runs))
        for key, runs in found.items()
    }
    lines = []
    for operation in OPERATIONS:
        for way in ways:
            seconds, trips = medians[operation, way]
            base = "plain NEW" if way == "plain NEW" or (way not in PLAIN and Phase(way).new_decides) else "plain OLD"
            lines.append(Line(group, operation, way, seconds * 1e6, seconds / medians[operation, base][0], trips))
    return lines


def _one(operation: str, way: str, pair: Any, calls: int) -> tuple[float, float]:
    act = OPERATIONS[operation]
    with ExitStack() as stack:
        stack.enter_context(_in_both(pair))
        engine = import_module("migrator.sessions.transition").SessionStore
        keys = [_new(engine) for _ in range(calls)]
        stack.enter_context(_way(way, pair))
        engine = import_module(settings.SESSION_ENGINE).SessionStore
        act(engine, _new(engine))  # opens connections
        trips, seconds = Trips.number, []
        for key in keys:
            started = time.perf_counter()
            act(engine, key)
            seconds.append(time.perf_counter() - started)
        return statistics.median(seconds), (Trips.number - trips) / calls


def _new(engine: Any) -> str:
    session = engine()
    session.update(DATA)
    session.save()
    return str(session.session_key)


def _in_both(pair: Any) -> Any:
    return _way(Phase.DUAL_OLD, pair)


def _way(way: str, pair: Any) -> Any:
    if way in PLAIN:
        side = pair[PLAIN[way]]
        return override_settings(SESSION_ENGINE=side["ENGINE"], SESSION_CACHE_ALIAS=side.get("CACHE", "default"))
    change = {"OLD": pair[0], "NEW": pair[1], "PHASE": way}
    return override_settings(SESSION_ENGINE="migrator.sessions.transition", MIGRATOR={"SESSIONS": change})


# Operations


def _load(engine: Any, key: str) -> None:
    assert engine(key).load()  # noqa: S101  (what is not there costs less)


def _save(engine: Any, key: str) -> None:
    session = engine(key)
    session._session_cache = dict(DATA)
    session.save()


def _create(engine: Any, key: str) -> None:
    engine().create()


def _end(engine: Any, key: str) -> None:
    engine(key).delete()


OPERATIONS: dict[str, Act] = {"load": _load, "save": _save, "create": _create, "end": _end}


# Servers


@contextmanager
def _servers() -> Iterator[None]:
    from settings.test import RUN_DIRECTORY
    from tests.servers.databases import FreshDatabases

    RUN_DIRECTORY.mkdir(exist_ok=True)
    databases = FreshDatabases()
    backend = "django.core.cache.backends.redis.RedisCache"
    places = {alias: caches.settings[alias]["LOCATION"] for alias in ("redis_a", "redis_b")}
    redis = {alias: {"BACKEND": backend, "LOCATION": place} for alias, place in places.items()}
    router = ["bench.transition_sessions.Router"]
    try:
        databases.fresh("default", "postgresql_a")
        with override_settings(CACHES={**caches.settings, **redis}, DATABASE_ROUTERS=router):
            yield
    finally:
        connections.close_all()
        databases.drop()
        shutil.rmtree(RUN_DIRECTORY)


@contextmanager
def _counted() -> Iterator[None]:
    from django.db.backends.base.base import BaseDatabaseWrapper
    from redis.connection import AbstractConnection

    mine = threading.get_ident()

    def counting(method: Any, waits: int) -> Any:
        def counted(*args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() == mine:  # another thread writes the counters
                Trips.number += waits
            return method(*args, **kwargs)

        return counted

    def statement(execute: Any, *args: Any) -> Any:
        return counting(execute, 1)(*args)

    with ExitStack() as stack:
        for owner, name, waits in ((AbstractConnection, "send_packed_command", 1), (BaseDatabaseWrapper, "commit", 2)):
            plain = getattr(owner, name)
            setattr(owner, name, counting(plain, waits))
            stack.callback(setattr, owner, name, plain)
        stack.enter_context(connections["postgresql_a"].execute_wrapper(statement))
        yield
