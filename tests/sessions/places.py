"""Places of sessions: how the site is switched to one, and how a copy names it."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.contrib.sessions.backends.base import VALID_KEY_CHARS
from django.core.cache import caches
from django.core.management import call_command
from django.db import OperationalError, ProgrammingError, connections
from django.test import Client, override_settings
from django.utils.crypto import get_random_string

from migrator.clock import now
from migrator.sessions.endpoints import SessionEndpoint
from migrator.sessions.records import End
from migrator.stores.base import Record

BACKENDS = "django.contrib.sessions.backends"


@dataclass(frozen=True)
class Place:
    """Where the site keeps its sessions: a cache alias, a database alias, or files."""

    kind: str
    alias: str
    engine: str

    def __str__(self) -> str:
        return f"{self.kind}_{self.alias}"

    @property
    def end(self) -> End:
        return End(self.kind, None if self.kind == "file" else self.alias, self.engine)

    def in_use(self) -> Any:
        """Switch the site to this place."""
        given: dict[str, Any] = {"SESSION_ENGINE": f"{BACKENDS}.{self.engine}"}
        if self.kind == "cache":
            given["SESSION_CACHE_ALIAS"] = self.alias
        elif self.kind == "db":
            given["SESSIONS_DB"] = self.alias
        return override_settings(**given)

    def clear(self) -> None:
        """Empty the place."""
        if self.kind == "cache":
            caches[self.alias].clear()
        elif self.kind == "db":
            with connections[self.alias].cursor() as cursor:
                cursor.execute("DELETE FROM django_session")
        else:
            for file in Path(settings.SESSION_FILE_PATH).glob(f"{settings.SESSION_COOKIE_NAME}*"):
                file.unlink()


def returning(client: Client) -> Client:
    """Give the same browser at a site that was started anew: the middleware chooses its engine once."""
    browser = Client()
    browser.cookies = client.cookies
    return browser


def cache(alias: str, *marks: Any) -> Any:
    place = Place("cache", alias, "cache")
    return pytest.param(place, id=str(place), marks=[getattr(pytest.mark, mark) for mark in marks])


def table(alias: str) -> Any:
    place = Place("db", alias, "db")
    marks = [getattr(pytest.mark, alias.removesuffix("_a").removesuffix("_b"))]
    return pytest.param(place, id=str(place), marks=marks)


FILES = pytest.param(Place("file", "files", "file"), id="file")
CORE = [
    cache("redis", "redis"),
    cache("client_json", "redis"),
    cache("herd", "redis"),
    cache("shard", "redis"),
    cache("valkey", "redis"),
    cache("memcached", "memcached"),
    cache("table"),
    table("postgresql_a"),
    table("mysql_a"),
    table("sqlite_a"),
    FILES,
]
PAIRS = [
    pytest.param(one.values[0], other.values[0], id=f"{one.id}-to-{other.id}", marks=[*one.marks, *other.marks])
    for one in CORE
    for other in CORE
    if one is not other
]


def empty_cache_tables() -> None:
    """Empty the caches in tables, and make the tables that are not there."""
    for alias in ("table", "small_table"):
        try:
            caches[alias].clear()
        except (OperationalError, ProgrammingError):
            call_command("createcachetable", verbosity=0)


CACHE = Place("cache", "redis", "cache")
CACHED_DB_CACHE = Place("cache", "redis", "cached_db")
ROWS = Place("db", "sqlite_a", "db")
HOUR = 3_600_000_000


def opened(place: Place, **options: Any) -> Any:
    """Open a place as a copy does; to be closed."""
    return closing(SessionEndpoint(place.end, **options).open())


def new_key() -> str:
    return get_random_string(32, VALID_KEY_CHARS)


def put(place: Place, data: Any, *, key: str | None = None, expires: int | str | None = "in an hour") -> str:
    """Write a session behind everybody's back, and return its key; `expires` in microseconds of Unix time."""
    key = key or new_key()
    moment = now() + HOUR if expires == "in an hour" else expires
    with opened(place) as store:
        payload, _ = store.dump(data, moment, now() // 1_000_000)
        session = Record(key, payload, moment)
        store.add([session._replace(more=store.remember(data, session, now() // 1_000_000))])
    return key


def held(place: Place) -> dict[str, Record]:
    """Return the sessions of a place by key."""
    with opened(place) as store:
        return {session.key: session for page in store.pages(1000) for session in page}


def data_of(place: Place) -> dict[str, Any]:
    """Return what the sessions of a place hold, by key."""
    with opened(place) as store:
        return {session.key: store.load(session) for page in store.pages(1000) for session in page}
