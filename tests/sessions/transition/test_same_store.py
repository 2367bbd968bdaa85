"""Two sides that are one store under two names are reported, by the settings or by the servers."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.test import override_settings

from migrator.sessions.transition import SessionStore
from migrator.sessions.transition.readiness import session_transition
from migrator.transitions.phases import Phase
from tests.servers.databases import FreshDatabases
from tests.sessions.transition.pairs import BACKENDS, CACHED_SQLITE, POSTGRESQL, REDIS, SQLITE, Named, site_of

TEXT = "OLD and NEW are different stores"


def rows(alias: str) -> Named:
    return Named(alias, {"ENGINE": f"{BACKENDS}.db", "DATABASE": alias})


def cache(alias: str) -> Named:
    return Named(alias, {"ENGINE": f"{BACKENDS}.cache", "CACHE": alias})


@pytest.fixture
def also(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Give a function that names a database once more."""
    made = []

    def name(alias: str, **more: Any) -> str:
        monkeypatch.setitem(connections.settings, "again", {**connections.settings[alias], **more})
        made.append("again")
        return "again"

    yield name
    for alias in made:
        connections[alias].close()
        del connections[alias]


@pytest.fixture
def more_caches() -> Iterator[None]:
    """Name the cache `redis` in more ways."""
    given = dict(caches.settings)
    known = given["redis"]
    server = known["LOCATION"].rpartition("/")[0]
    given |= {
        "same": known,
        "by another backend": {**known, "BACKEND": "django_redis.cache.RedisCache"},
        "by another address": {**known, "LOCATION": known["LOCATION"].replace("127.0.0.1", "localhost")},
        "with another prefix": {**known, "KEY_PREFIX": "new"},
        "by number": {**known, "LOCATION": server, "OPTIONS": {"db": 3}},
        "by another number": {**known, "LOCATION": server, "OPTIONS": {"db": 4}},
    }
    with override_settings(CACHES=given):
        yield
        caches.close_all()


def messages_of(identity: str, *, deploy: bool = True) -> list[str]:
    found = run_checks(tags=["migrator"], include_deployment_checks=deploy)
    return [message.msg for message in found if message.id == f"migrator.{identity}"]


def judged() -> dict[str, tuple[bool, str]]:
    found = session_transition(verify="quick")
    return {item.text: (item.is_met, item.figure) for item in found.conditions}


# -- by the settings --------------------------------------------------------------------------------------------------


@pytest.mark.redis
@pytest.mark.usefixtures("more_caches")
@pytest.mark.parametrize("alias", ["same", "by another backend"])
def test_a_cache_of_two_names_is_refused(fresh: Callable[..., None], alias: str) -> None:
    with site_of(REDIS, cache(alias), fresh=fresh):
        problem = f"Both sides of MIGRATOR['SESSIONS'] are the same store: the caches 'redis' and {alias!r} are one."
        assert messages_of("E035", deploy=False) == [problem]
        with pytest.raises(ImproperlyConfigured, match="are the same store"):
            SessionStore().create()


def test_a_database_of_two_names_is_refused(fresh: Callable[..., None], also: Callable[..., str]) -> None:
    with site_of(SQLITE, rows(also("sqlite_a")), fresh=fresh):
        problem = "Both sides of MIGRATOR['SESSIONS'] are the same store: the databases 'sqlite_a' and 'again' are one."
        assert messages_of("E035", deploy=False) == [problem]
        with pytest.raises(ImproperlyConfigured, match="are the same store"):
            SessionStore().create()


def test_databases_in_memory_are_two(monkeypatch: pytest.MonkeyPatch) -> None:
    for alias in ("one", "other"):
        memory = {**connections.settings["sqlite_a"], "NAME": ":memory:"}
        monkeypatch.setitem(connections.settings, alias, memory)
    given = {"OLD": rows("one").setting, "NEW": rows("other").setting}
    with override_settings(MIGRATOR={"SESSIONS": given}):
        assert messages_of("E035", deploy=False) == []


@pytest.mark.redis
def test_one_cache_before_two_tables_is_refused() -> None:
    cached = {"ENGINE": f"{BACKENDS}.cached_db", "CACHE": "redis_other"}
    given = {"OLD": {**cached, "DATABASE": "sqlite_a"}, "NEW": {**cached, "DATABASE": "sqlite_b"}}
    shared = "Both sides of MIGRATOR['SESSIONS'] keep a session under the same key of the cache 'redis_other'."
    for setting, problem in {
        "redis_other": shared,
        "redis": None,
        "redis_prefixed": None,
    }.items():
        new = {**given["NEW"], "CACHE": setting}
        with override_settings(MIGRATOR={"SESSIONS": {**given, "NEW": new}}):
            assert messages_of("E041", deploy=False) == ([problem] if problem else [])


@pytest.mark.redis
@pytest.mark.parametrize(
    ("key_function", "number"), [(None, 0), ("tests.sessions.transition.test_same_store.bare_key", 1)]
)
def test_a_cache_and_one_before_rows_may_share_keys(key_function: str | None, number: int) -> None:
    entry = {**caches.settings["redis"], "KEY_FUNCTION": key_function}
    given = {"OLD": cache("redis").setting, "NEW": {**CACHED_SQLITE.setting, "CACHE": "redis"}}
    with override_settings(CACHES={**caches.settings, "redis": entry}, MIGRATOR={"SESSIONS": given}):
        assert len(messages_of("E041", deploy=False)) == number


def bare_key(key: str, prefix: str, version: int) -> str:
    return key.removeprefix("django.contrib.sessions.").removeprefix("cached_db").removeprefix("cache")


# -- by the servers ---------------------------------------------------------------------------------------------------


@pytest.mark.redis
@pytest.mark.usefixtures("more_caches")
@pytest.mark.parametrize("alias", ["by another address", "by number"])
def test_a_cache_of_two_addresses_is_told(fresh: Callable[..., None], alias: str) -> None:
    with site_of(REDIS, cache(alias), fresh=fresh):
        assert messages_of("E035") == []
        (problem,) = messages_of("E051")
        assert problem.startswith("OLD and NEW of MIGRATOR['SESSIONS'] are not different stores: both are cache ")
        is_met, figure = judged()[TEXT]
        assert not is_met
        assert f"both are cache {alias!r}" in figure


@pytest.mark.redis
@pytest.mark.usefixtures("more_caches")
@pytest.mark.parametrize("alias", ["with another prefix", "by another number", "redis_other"])
def test_two_places_are_two(fresh: Callable[..., None], alias: str) -> None:
    with site_of(REDIS, cache(alias), fresh=fresh) as site:
        assert (messages_of("E035"), messages_of("E051"), messages_of("W050")) == ([], [], [])
        assert judged()[TEXT] == (True, "as their servers report")
        session = site.session(None, Phase.DUAL_OLD)
        session["a"] = 1
        session.save()
        assert [data["a"] for data in site.both(str(session.session_key))] == [1, 1]


@pytest.mark.redis
@pytest.mark.usefixtures("more_caches")
def test_a_cache_of_two_addresses_before_two_tables_is_told(fresh: Callable[..., None]) -> None:
    engine = f"{BACKENDS}.cached_db"
    old = Named("old", {"ENGINE": engine, "DATABASE": "sqlite_a", "CACHE": "redis"})
    new = Named("new", {"ENGINE": engine, "DATABASE": "sqlite_b", "CACHE": "by another address"})
    with site_of(old, new, fresh=fresh):
        assert messages_of("E041") == []
        assert len(messages_of("E051")) == 1
        is_met, figure = judged()[TEXT]
        assert not is_met
        assert figure.startswith("both keep sessions in cache 'by another address'")


@pytest.mark.postgresql
def test_a_database_of_two_addresses_is_told(fresh: Callable[..., None], also: Callable[..., str]) -> None:
    again = also("postgresql_a", OPTIONS={"application_name": "again"})
    with site_of(POSTGRESQL, rows(again), fresh=fresh):
        assert messages_of("E035") == []
        assert len(messages_of("E051")) == 1
        is_met, figure = judged()[TEXT]
        assert not is_met
        assert figure.startswith("both are database 'again'")


def test_a_file_of_two_names_is_told(fresh: Callable[..., None], also: Callable[..., str], tmp_path: Path) -> None:
    link = tmp_path / "link.sqlite3"
    link.symlink_to(connections.settings["sqlite_a"]["NAME"])
    with site_of(SQLITE, rows(also("sqlite_a", NAME=link)), fresh=fresh):
        assert messages_of("E035") == []
        assert len(messages_of("E051")) == 1
        assert not judged()[TEXT][0]


@pytest.mark.postgresql
def test_two_schemas_of_a_database_are_two(
    fresh: Callable[..., None], also: Callable[..., str], databases: FreshDatabases
) -> None:
    databases.fresh("postgresql_a")
    again = also("postgresql_a", OPTIONS={"options": "-c search_path=elsewhere"})
    with connections["postgresql_a"].cursor() as cursor:
        cursor.execute("CREATE SCHEMA elsewhere")
        cursor.execute("CREATE TABLE elsewhere.django_session (LIKE public.django_session INCLUDING ALL)")
    try:
        with site_of(POSTGRESQL, rows(again), fresh=fresh):
            assert (messages_of("E035"), messages_of("E051")) == ([], [])
            assert judged()[TEXT][0]
    finally:
        connections[again].close()
        with connections["postgresql_a"].cursor() as cursor:
            cursor.execute("DROP SCHEMA elsewhere CASCADE")


@pytest.mark.redis
def test_a_side_that_does_not_answer_is_told(fresh: Callable[..., None]) -> None:
    with site_of(REDIS, SQLITE, fresh=fresh):
        nowhere = {**caches.settings["redis"], "LOCATION": "redis://127.0.0.1:1/0"}
        with override_settings(CACHES={**caches.settings, "redis": nowhere}):
            (message,) = messages_of("W050")
            assert message.startswith("OLD or NEW of MIGRATOR['SESSIONS'] does not answer (")
            assert messages_of("W050", deploy=False) == []
            assert TEXT not in judged()


@pytest.mark.parametrize("migrator", [{}, {"SESSIONS": {"OLD": 1}}])
def test_is_silent_without_a_change(migrator: dict[str, object]) -> None:
    with override_settings(MIGRATOR=migrator):
        assert (messages_of("E051"), messages_of("W050")) == ([], [])
