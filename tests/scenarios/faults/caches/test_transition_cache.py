"""A cache that changes its backend: mistakes in its setting, what a copy back left, flags that fail."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.db import connections, transaction
from django.test import override_settings

from migrator.caches.copying import copy_cache
from migrator.caches.transition.markers import FENCE
from migrator.checks.caches import check_transitions
from tests.caches.transition.conftest import Hook, Make
from tests.caches.transition.places import BACKEND, Now

OLD = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:1/1"}
NEW = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": "redis://127.0.0.1:1/2"}


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"PHASE": "dualnew"}, "migrator.E026"),
        ({"PHAES": "old"}, "migrator.E025"),
        ({"OLD": "nobody"}, "migrator.E022"),
        ({"NEW": OLD}, "migrator.E024"),
        ({"LOCATION": "redis://127.0.0.1:1/3"}, "migrator.E021"),
    ],
)
def test_a_mistake_is_found_by_a_plain_check(change: dict[str, Any], found: str) -> None:
    """Django's own checks, which open every cache, come before ours."""
    entry = {"BACKEND": BACKEND, "OLD": OLD, "NEW": NEW, "PHASE": "old", **change}
    with override_settings(CACHES={"default": entry}), pytest.raises(CommandError) as caught:
        # From Django 6.1 on, models would be checked against the servers of all databases, which may not exist yet.
        call_command("check", databases=["default"], stdout=StringIO(), stderr=StringIO())

    assert f"({found})" in str(caught.value)
    assert "Traceback" not in str(caught.value)


@pytest.mark.redis
def test_a_fence_that_a_copy_back_left_in_old_is_removed(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    cache = make(phase="dual_old")
    caches["old"].set(FENCE, 1.0, None)
    cache.set("saved", 1, 600)
    assert "A fence that was copied into OLD of the cache 'default' was removed." in caplog.text

    copy_cache(source="old", dest="new")
    cache.set("saved", 2, 600)
    cache.set("born", 3, 600)
    cache.add("lock", "mine", 600)
    Now.phase = "dual_new"

    assert cache.get_many(["saved", "born"]) == {"saved": 2, "born": 3}
    assert cache.add("lock", "another's", 600) is False


@pytest.mark.redis
@pytest.mark.parametrize("name", ["set", "incr"])
def test_a_value_that_changes_while_old_is_filled_again_is_in_both(make: Make, between: Hook, name: str) -> None:
    """A copy that overwrote OLD put the value back that NEW held before."""
    cache = make(phase="new")
    cache.set("key", 38, 600)
    Now.phase = "dual_new"
    cache.empty_old()
    hook = between("old", name, lambda: copy_cache(source="new", dest="old"))

    cache.incr("key") if name == "incr" else cache.set("key", 39, 600)

    assert hook.done
    for phase in ("dual_new", "dual_old", "old"):
        Now.phase = phase
        assert cache.get("key") == 39


@pytest.mark.redis
@pytest.mark.parametrize("phase", ["dual_old", "dual_new"])
def test_a_given_version_is_refused_where_it_leads_to_one_key_of_both(make: Make, phase: str) -> None:
    """What is written to OLD and then deleted from NEW would be gone."""
    make("redis", phase=phase)
    with override_settings(CACHES={**caches.settings, "new": {**caches.settings["old"], "VERSION": 2}}):
        cache: Any = caches["default"]
        cache.set("a", 1)
        assert cache.get("a") == 1
        for call in (
            lambda: cache.set("a", 1, version=5),
            lambda: cache.get_many(["a"], version=5),
            lambda: cache.incr_version("a"),
        ):
            with pytest.raises(ImproperlyConfigured, match="differ only in VERSION"):
                call()


@pytest.mark.redis
def test_a_lock_of_one_value_for_all_is_taken_once(make: Make) -> None:
    cache = make(phase="new")
    assert cache.add("lock", 1, 600) is True
    Now.phase = "dual_new"

    assert [cache.add("lock", 1, 600) for _ in range(2)] == [False, False]


CALLS: dict[str, Callable[[Any], Any]] = {
    "set": lambda cache: cache.set("a", 1),
    "set_many": lambda cache: cache.set_many({"a": 1}),
    "get": lambda cache: cache.get("b"),
    "add": lambda cache: cache.add("c", 1),
    "delete": lambda cache: cache.delete("a"),
    "clear": lambda cache: cache.clear(),
}


@pytest.mark.redis
@pytest.mark.postgresql
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("phase", ["dual_old", "dual_new"])
def test_a_cache_table_that_is_missing_does_not_break_the_transaction(make: Make, phase: str, call: str) -> None:
    """Only the side that decides may."""
    make("postgresql", "redis", phase=phase)
    nowhere = {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "cache_nowhere"}
    follower = "new" if phase == "dual_old" else "old"
    there = {**caches.settings, "old": caches.settings["new"], "new": caches.settings["new"], follower: nowhere}
    router = SimpleNamespace(db_for_write=to_postgresql, db_for_read=to_postgresql)
    with override_settings(CACHES=there, DATABASE_ROUTERS=[router]), transaction.atomic(using="postgresql_a"):
        CALLS[call](caches["default"])
        with connections["postgresql_a"].cursor() as cursor:
            cursor.execute("SELECT 1")
            assert cursor.fetchone() == (1,)


def to_postgresql(model: Any, **hints: Any) -> str | None:
    return "postgresql_a" if model._meta.app_label == "django_cache" else None


def flag() -> Any:
    """Answer as the store of flags of a site does."""
    if isinstance(Flag.answer, Exception):
        raise Flag.answer
    return Flag.answer


class Flag:
    answer: Any = "dual_old"


@pytest.mark.redis
@pytest.mark.parametrize("phase", [flag, f"{__name__}.flag"], ids=["callable", "path"])
def test_a_flag_that_fails_leaves_the_cache_in_its_phase(
    phase: Any, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = make(PHASE=phase)
    cache.set("key", 1, 600)
    for answer in (RuntimeError("the store of flags is down"), "dualnew", None):
        monkeypatch.setattr(Flag, "answer", answer)
        assert (cache.get("key"), cache.phase) == (1, "dual_old")
        with ThreadPoolExecutor(1) as others:  # which have caches of their own
            assert others.submit(lambda: caches["default"].get("key")).result() == 1


def test_a_transaction_of_every_request_in_the_database_of_a_cache_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Down, it would answer no request, whichever side decides."""
    table = {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "cache_rows"}
    entry = {"BACKEND": BACKEND, "OLD": OLD, "NEW": table, "PHASE": "dual_old"}
    routers = ["tests.sessions.engines.routers.CacheTables"]
    with override_settings(CACHES={"default": entry}, DATABASE_ROUTERS=routers):
        assert check_transitions(None) == []
        monkeypatch.setitem(connections.settings["sqlite_b"], "ATOMIC_REQUESTS", True)
        assert [message.id for message in check_transitions(None)] == ["migrator.W024"]
