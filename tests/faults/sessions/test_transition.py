"""A site that changes the store of its sessions: its engines, values, servers and flags are not always as usual."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.core.cache import caches
from django.db import OperationalError, connections, router, transaction
from django.test import Client, override_settings
from redis.exceptions import ConnectionError as NoConnection

from migrator.phases import Phase
from migrator.sessions.checks import check_sessions
from migrator.sessions.transition import SessionStore
from tests.servers.process import free_port
from tests.sessions.engines import elsewhere
from tests.sessions.places import new_key
from tests.sessions.transition.conftest import Counts
from tests.sessions.transition.pairs import REDIS, SQLITE, SQLITE_B, Named, Site, site_of

OLD, DUAL_OLD, DUAL_NEW, NEW = Phase
ENGINES = "tests.sessions.engines"
SEALED = Named("sealed", {"ENGINE": f"{ENGINES}.sealed", "CACHE": "redis"}, marks=("redis",))
UUIDS = Named("uuids", {"ENGINE": f"{ENGINES}.uuids", "CACHE": "redis"}, marks=("redis",))
Fresh = Callable[..., None]


class _Elsewhere(Named):
    def clear(self) -> None:
        elsewhere.server().flushdb()


ELSEWHERE = _Elsewhere("elsewhere", {"ENGINE": f"{ENGINES}.elsewhere"}, marks=("redis",))


def saved(site: Site, phase: Phase) -> str:
    session = site.session(phase=phase)
    session["cart"] = 1
    session.save()
    return str(session.session_key)


def is_alive(site: Site, key: str, phase: Phase) -> bool:
    session = site.session(key, phase)
    return session.get("cart") == 1 and session.session_key == key


@pytest.mark.redis
@pytest.mark.parametrize("old", [SEALED, ELSEWHERE], ids=str)
def test_an_engine_of_ones_own_is_asked_for_its_sessions(old: Named, fresh: Fresh) -> None:
    with site_of(old, SQLITE, fresh=fresh) as site:
        keys = {phase: saved(site, phase) for phase in (OLD, DUAL_OLD, DUAL_NEW)}

        for phase in (OLD, DUAL_OLD, DUAL_NEW, DUAL_OLD, OLD):
            assert all(is_alive(site, key, phase) for key in keys.values()), phase
        for key in keys.values():
            assert is_alive(site, key, DUAL_NEW)
            assert is_alive(site, key, NEW), "moved by the request before"


@pytest.mark.redis
@pytest.mark.parametrize("phase", [DUAL_OLD, DUAL_NEW])
def test_what_a_side_cannot_decode_is_no_session(phase: Phase, fresh: Fresh, counts: Counts, user: Any) -> None:
    with site_of(SEALED, SQLITE, fresh=fresh) as site:
        site.phase = phase
        browser = Client()
        browser.cookies["sessionid"] = new_key()
        caches["redis"].set(f"shop.sealed:{browser.cookies['sessionid'].value}", "sealed by nobody", 60)

        assert browser.get("/who").json() == {"user": "", "cart": None}
        assert counts["unreadable"] == 1
        assert browser.get(f"/login/{user.username}").json()["user"] == user.username


@pytest.mark.redis
def test_keys_are_made_as_the_engine_that_decides_makes_them(fresh: Fresh) -> None:
    with site_of(UUIDS, SQLITE, fresh=fresh) as site:
        made = {phase: saved(site, phase) for phase in Phase}

        assert [bool(re.fullmatch("[0-9a-f-]{36}", key)) for key in made.values()] == [True, True, False, False]


@pytest.mark.parametrize("share", [0.0, 50.0])
def test_a_session_that_is_deleted_by_its_model_ends_in_both_stores(share: float, fresh: Fresh) -> None:
    routers = ["migrator.sessions.router.SessionRouter"]
    with site_of(SQLITE, SQLITE_B, fresh=fresh) as site, override_settings(DATABASE_ROUTERS=routers):
        for phase in (DUAL_OLD, DUAL_NEW):
            site.share = 0.0
            keys = [saved(site, phase) for _ in range(6)]
            site.share = share

            with transaction.atomic(using=router.db_for_write(Session)):  # as the admin does
                Session.objects.filter(pk__in=keys[:3]).delete()
            Session.objects.filter(pk__in=keys[3:]).delete()

            assert not any(is_alive(site, key, step) for step in (phase, *Phase) for key in keys)


@pytest.mark.redis
def test_a_server_that_is_down_is_told_by_its_clients_own_error(fresh: Fresh) -> None:
    away = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": f"redis://127.0.0.1:{free_port()}"}
    new = Named("away", {"ENGINE": "django.contrib.sessions.backends.cache", "CACHE": "away"})
    with override_settings(CACHES={**caches.settings, "away": away}), site_of(SQLITE, REDIS, fresh=fresh) as site:
        key = saved(site, OLD)
        setting = {**site.setting(), "NEW": new.setting}
        with override_settings(MIGRATOR={"SESSIONS": setting}):
            site.phase = DUAL_NEW
            for work in (lambda: SessionStore(key).load(), lambda: SessionStore().create()):
                with pytest.raises(NoConnection):
                    work()
            site.phase = DUAL_OLD
            assert SessionStore(key)["cart"] == 1


@pytest.mark.parametrize("phase", [DUAL_OLD, DUAL_NEW, NEW])
def test_an_end_that_a_side_has_missed_is_made_up_for(
    phase: Phase, fresh: Fresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    with site_of(SQLITE, SQLITE_B, fresh=fresh) as site:
        keys = [saved(site, DUAL_OLD) for _ in range(3)]
        site.phase = phase
        follower = site.change.shadow(phase)

        def fail(*words: Any) -> None:
            raise OperationalError

        with monkeypatch.context() as down:
            for name in ("delete", "fetch", "holds"):
                down.setattr(follower, name, fail)
            SessionStore(keys[0]).flush()
            SessionStore(keys[1]).cycle_key()
        assert [follower.holds(key) for key in keys] == [True, True, True]

        if phase is not DUAL_OLD:
            assert not is_alive(site, keys[0], DUAL_NEW), "NEW lacks it, and OLD still has it"
        site.phase = phase
        SessionStore(keys[2]).delete()
        assert [follower.holds(key) for key in keys] == [False, False, False]


def test_a_flag_that_gives_nonsense_is_taken_for_what_it_was(
    fresh: Fresh, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[Any] = []

    def flag(good: Any) -> Any:
        if found and isinstance(found[-1], Exception):
            raise found[-1]
        return found[-1] if found else good

    with site_of(SQLITE, SQLITE_B, fresh=fresh) as site:
        setting = site.setting(PHASE=lambda: flag("dual_old"), ROLLOUT=lambda: flag(100))
        with override_settings(MIGRATOR={"SESSIONS": setting}):
            session = SessionStore()
            session["cart"] = 1
            session.save()
            for nonsense in ("7", 101, -1, "None", True, RuntimeError("the store of flags is down")):
                found.append(nonsense)
                monkeypatch.setattr("migrator.phases._complained", {})
                caplog.clear()

                assert SessionStore(session.session_key)["cart"] == 1
                assert "The last good value is kept: dual_old." in caplog.text


@pytest.mark.redis
@pytest.mark.parametrize("side", ["OLD", "NEW"])
@pytest.mark.parametrize("kind", ["rows", "cache in a table"])
def test_a_transaction_of_every_request_in_a_database_of_sessions_alone_is_found(
    side: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Down, it would answer no request, whichever side decides."""
    rows = {"ENGINE": "django.contrib.sessions.backends.db", "DATABASE": "sqlite_b"}
    table = {"ENGINE": "django.contrib.sessions.backends.cache", "CACHE": "table"}
    other = {"ENGINE": "django.contrib.sessions.backends.cache", "CACHE": "redis"}
    setting = {"OLD": other, "NEW": other, side: rows if kind == "rows" else table}
    routers = ["tests.sessions.engines.routers.CacheTables"]
    with override_settings(
        MIGRATOR={"SESSIONS": setting}, SESSION_ENGINE="migrator.sessions.transition", DATABASE_ROUTERS=routers
    ):
        for alias, found in (("sqlite_b", ["migrator.W035"]), ("default", [])):
            with monkeypatch.context() as patched:
                patched.setitem(connections.settings[alias], "ATOMIC_REQUESTS", True)
                assert [message.id for message in check_sessions(None)] == found
