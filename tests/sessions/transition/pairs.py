"""The two sides of a transition in the tests, and the site switched to it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.core.cache import caches
from django.db import connections
from django.test import override_settings

from migrator.sessions.transition import SessionStore
from migrator.sessions.transition.configuration import Transition, transition
from migrator.transitions.phases import Phase
from tests.servers.databases import engine_of

BACKENDS = "django.contrib.sessions.backends"


@dataclass(frozen=True)
class Named:
    """A side: what MIGRATOR["SESSIONS"] says of it, the app it needs, and the servers."""

    name: str
    setting: dict[str, str]
    app: str | None = None
    marks: tuple[str, ...] = ()

    def __hash__(self) -> int:
        return hash(self.name)

    def clear(self) -> None:
        """Empty it."""
        if alias := self.setting.get("CACHE"):
            caches[alias].clear()
        if alias := self.setting.get("DATABASE"):
            self.model()._base_manager.using(alias)._raw_delete(alias)
        elif not self.setting.get("CACHE"):
            for file in Path(settings.SESSION_FILE_PATH).glob(f"{settings.SESSION_COOKIE_NAME}*"):
                file.unlink()

    def make_table(self) -> None:
        """Make the table of an app that has none yet; the databases of the tests have Django's."""
        if self.app:
            with connections[self.setting["DATABASE"]].schema_editor() as editor:
                editor.create_model(self.model())

    def model(self) -> Any:
        return apps.get_model(f"{self.app or 'sessions'}.Session")


def _cache(name: str, alias: str, mark: str = "redis") -> Named:
    return Named(name, {"ENGINE": f"{BACKENDS}.cache", "CACHE": alias}, marks=(mark,) if mark else ())


def _rows(alias: str, engine: str = f"{BACKENDS}.db", app: str | None = None, **more: str) -> Named:
    marks = [engine_of(alias), *(["redis"] if more else [])]
    name = app or (f"cached_{alias}" if more else alias)
    return Named(name, {"ENGINE": engine, "DATABASE": alias, **more}, app, tuple(marks))


REDIS = _cache("redis", "redis")
REDIS_CLIENT = _cache("django_redis", "client")
REDIS_OTHER = _cache("redis_other", "redis_other")
MEMCACHED = _cache("memcached", "memcached", "memcached")
CACHE_TABLE = _cache("cache_table", "table", "")
POSTGRESQL, POSTGRESQL_B = _rows("postgresql_a"), _rows("postgresql_b")
MYSQL, SQLITE, SQLITE_B = _rows("mysql_a"), _rows("sqlite_a"), _rows("sqlite_b")
CACHED_SQLITE = _rows("sqlite_a", f"{BACKENDS}.cached_db", CACHE="redis_other")
# Its cache has the server of the one before.
CACHED_SQLITE_B = _rows("sqlite_b", f"{BACKENDS}.cached_db", CACHE="redis_prefixed")
CACHED_MYSQL = _rows("mysql_a", f"{BACKENDS}.cached_db", CACHE="redis_other")
FILES = Named("files", {"ENGINE": f"{BACKENDS}.file"})
USER_SESSIONS = _rows("default", "user_sessions.backends.db", "user_sessions")
QSESSIONS = _rows("default", "qsessions.backends.db", "qsessions")
QSESSIONS_CACHED = _rows("default", "qsessions.backends.cached_db", "qsessions", CACHE="redis_other")

PAIRS = [
    (REDIS, POSTGRESQL),
    (POSTGRESQL, REDIS),
    (REDIS, CACHED_SQLITE),
    (CACHED_MYSQL, REDIS_CLIENT),
    (POSTGRESQL, POSTGRESQL_B),
    (MYSQL, MEMCACHED),
    (MEMCACHED, SQLITE),
    (FILES, SQLITE),
    (CACHE_TABLE, REDIS),
    (USER_SESSIONS, REDIS),
    (REDIS, QSESSIONS),
    (QSESSIONS_CACHED, SQLITE_B),
    (CACHED_SQLITE, CACHED_SQLITE_B),
]


def param(*sides: Named, more: tuple[Any, ...] = ()) -> Any:
    """Make a pytest parameter of sides, with the marks of their servers."""
    marks = [getattr(pytest.mark, mark) for side in sides for mark in side.marks]
    for app in {side.app for side in sides if side.app}:
        marks.append(pytest.mark.skipif(find_spec(app) is None, reason=f"needs django-{app.replace('_', '-')}"))
    names = [*(side.name for side in sides), *(getattr(item, "__name__", str(item)) for item in more)]
    value: Any = sides if len(sides) > 1 else sides[0]
    return pytest.param((value, *more) if more else value, id="-".join(names), marks=marks)


class Site:
    """A site in the middle of a change of stores; its phase is changed as a deploy would."""

    def __init__(self, old: Named, new: Named) -> None:
        self.old, self.new = old, new
        self.phase: Any = Phase.OLD
        self.share = 0.0

    @property
    def change(self) -> Transition:
        return transition()

    def setting(self, **more: Any) -> dict[str, Any]:
        return {
            "OLD": self.old.setting,
            "NEW": self.new.setting,
            "PHASE": lambda: self.phase() if callable(self.phase) else self.phase,
            "ROLLOUT": lambda: self.share,
            **more,
        }

    def session(self, key: str | None = None, phase: Phase | None = None) -> SessionStore:
        """Give a session as a request makes it."""
        if phase is not None:
            self.phase = phase
        return SessionStore(key)

    def data(self, side: str, key: str) -> Any:
        """Return what a side holds of a session, None where it holds none."""
        found = getattr(self.change, side)
        session = found.fetch(key)
        return None if session is None else found.store.load(session)

    def both(self, key: str) -> tuple[Any, Any]:
        return self.data("old", key), self.data("new", key)

    def expiries(self, key: str) -> tuple[int, int]:
        """Return both sides' expiry in microseconds."""
        found = self.change.old.fetch(key), self.change.new.fetch(key)
        assert all(found), "one side has no such session"
        return tuple(session.expires for session in found)  # type: ignore[union-attr,return-value]


@contextmanager
def site_of(old: Named, new: Named, fresh: Callable[..., None]) -> Iterator[Site]:
    """Switch the site to a transition between two empty sides."""
    with installed({side.app for side in (old, new) if side.app}):
        for side in (old, new):
            fresh(side)
        site = Site(old, new)
        with override_settings(
            SESSION_ENGINE="migrator.sessions.transition", MIGRATOR={"SESSIONS": site.setting()}, SESSIONS_DB="sqlite_b"
        ):
            yield site


@contextmanager
def installed(names: set[str]) -> Iterator[None]:
    """Install apps for a while."""
    if not names:
        yield
        return
    with override_settings(INSTALLED_APPS=[*settings.INSTALLED_APPS, *names]):
        yield
