"""A site that changes the store of its sessions: its engines, values, servers and flags are not always as usual."""

import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django.core.cache import caches
from django.db import OperationalError, connections, router, transaction
from django.test import Client, override_settings
from redis.exceptions import ConnectionError as NoConnection

from migrator.checks.sessions import check_sessions
from migrator.sessions.transition import SessionStore
from migrator.transitions.phases import Phase
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
                monkeypatch.setattr("migrator.transitions.phases._logged_at", {})
                caplog.clear()

                assert SessionStore(session.session_key)["cart"] == 1
                assert "The last valid value is used: dual_old." in caplog.text


ROWS = {"ENGINE": "django.contrib.sessions.backends.db", "DATABASE": "sqlite_a"}
OTHER_ROWS = {**ROWS, "DATABASE": "sqlite_b"}
MISTAKES: dict[str, tuple[Any, str]] = {
    "nothing": (None, "E001"),
    "an engine that is nowhere": ({"SESSIONS": {"OLD": {**ROWS, "ENGINE": "nowhere"}, "NEW": OTHER_ROWS}}, "E034"),
    "no engine": ({"SESSIONS": {"OLD": {"DATABASE": "sqlite_a"}, "NEW": OTHER_ROWS}}, "E030"),
    "one side": ({"SESSIONS": {"OLD": ROWS}}, "E030"),
    "a database that is nowhere": ({"SESSIONS": {"OLD": ROWS, "NEW": {**ROWS, "DATABASE": "nowhere"}}}, "E032"),
    "a cache that is nowhere": (
        {"SESSIONS": {"OLD": ROWS, "NEW": {"ENGINE": "django.contrib.sessions.backends.cache"}}},
        "E034",
    ),
    "an app that is not installed": ({"SESSIONS": {"OLD": ROWS, "NEW": OTHER_ROWS}}, "E034"),
}


# From Django 6.1 on, models would be checked against the servers of all databases, which may not exist yet.
@pytest.mark.parametrize(
    "command", [("check", "--deploy", "--database", "default"), ("migrate", "--plan")], ids=" ".join
)
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_setting_is_reported_by_the_checks(mistake: str, command: tuple[str, ...]) -> None:
    """Django's own checks ask the router and open each side before ours report it."""
    given, number = MISTAKES[mistake]
    apps = [app for app in settings.INSTALLED_APPS if not (app == "django.contrib.sessions" and "an app" in mistake)]
    program = f"""
import django
from django.conf import settings
from django.core.management import execute_from_command_line
settings.MIGRATOR = {given!r}
settings.INSTALLED_APPS = {apps!r}
settings.SESSION_ENGINE = "migrator.sessions.transition"
settings.SESSION_CACHE_ALIAS = "nowhere"
settings.DATABASE_ROUTERS = ["migrator.sessions.router.SessionRouter"]
execute_from_command_line(["manage.py", *{command!r}])
"""
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert finished.returncode == 1
    assert f"(migrator.{number})" in finished.stderr
    assert "Traceback" not in finished.stderr


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
