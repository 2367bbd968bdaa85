"""Engines of a project's own as sides: what they keep in a cache, sessions that only they can reach, and their keys."""

import re
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.contrib.sessions.backends import db as rows
from django.contrib.sessions.backends import file as files
from django.core.cache import caches
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from django.test import override_settings
from django.test.utils import isolate_apps

from migrator.sessions import table_layouts
from migrator.sessions.transition import SessionStore
from migrator.sessions.transition.configuration import transition
from migrator.transitions.phases import Phase
from tests.sessions.engines import elsewhere, sealed, uuids
from tests.sessions.places import new_key
from tests.sessions.transition.conftest import Counts
from tests.sessions.transition.pairs import (
    CACHED_SQLITE,
    REDIS,
    REDIS_OTHER,
    SQLITE,
    SQLITE_B,
    Named,
    Site,
    param,
    site_of,
)

OLD, DUAL_OLD, DUAL_NEW, NEW = Phase
ENGINES = "tests.sessions.engines"
SEALED = Named("sealed", {"ENGINE": f"{ENGINES}.sealed", "CACHE": "redis"}, marks=("redis",))
SEALED_NEW = Named("sealed_new", {"ENGINE": f"{ENGINES}.sealed", "CACHE": "client"}, marks=("redis",))
UUIDS = Named("uuids", {"ENGINE": f"{ENGINES}.uuids", "CACHE": "redis"}, marks=("redis",))


class _Elsewhere(Named):
    def clear(self) -> None:
        elsewhere.server().flushdb()


ELSEWHERE = _Elsewhere("elsewhere", {"ENGINE": f"{ENGINES}.elsewhere"}, marks=("redis",))


each_pair = pytest.mark.parametrize(
    "pair",
    [
        param(SEALED, SQLITE),
        param(REDIS_OTHER, SEALED),
        param(SEALED, SEALED_NEW),
        param(UUIDS, SQLITE),
        param(ELSEWHERE, SQLITE),
        param(ELSEWHERE, REDIS_OTHER),
    ],
)


@each_pair
@pytest.mark.parametrize("is_awaited", [False, True], ids=["called", "awaited"])
def test_a_session_lives_and_ends_in_every_phase_forth_and_back(pair: Any, site: Site, is_awaited: bool) -> None:
    def save(session: SessionStore) -> None:
        async_to_sync(session.asave)() if is_awaited else session.save()  # type: ignore[func-returns-value]

    def data(key: str) -> Any:
        session = SessionStore(key)
        return async_to_sync(session.aload)() if is_awaited else session.load()

    first = site.session(phase=OLD)
    first["cart"] = 0
    save(first)
    key = str(first.session_key)
    for step, phase in enumerate([OLD, DUAL_OLD, DUAL_NEW, DUAL_OLD, OLD, DUAL_OLD, DUAL_NEW, NEW], start=1):
        session = site.session(key, phase)
        assert data(key) == {"cart": step - 1}
        session["cart"] = step
        save(session)
        assert data(key) == {"cart": step}
        ended = site.session()
        ended["cart"] = 0
        save(ended)
        ended_key = str(ended.session_key)
        ended.flush()
        assert site.both(ended_key) == (None, None)


@each_pair
def test_what_is_followed_is_what_the_other_engine_reads(pair: Any, site: Site) -> None:
    session = site.session(phase=DUAL_OLD)
    session["cart"] = 1
    session.save()
    key = str(session.session_key)

    assert site.both(key) == ({"cart": 1}, {"cart": 1})
    for side in (site.change.old, site.change.new):
        assert side.engine(key).load() == {"cart": 1}
    session["cart"] = 2
    session.save()
    assert site.both(key) == ({"cart": 2}, {"cart": 2})
    session.flush()
    assert site.both(key) == (None, None)


@each_pair
def test_a_session_that_only_old_has_is_moved(pair: Any, site: Site, counts: Counts) -> None:
    made = site.change.old.engine()
    made["cart"] = 5
    made.save()

    assert site.session(made.session_key, DUAL_NEW)["cart"] == 5
    assert counts["promoted"] == 1
    assert site.change.new.engine(made.session_key).load() == {"cart": 5}


@pytest.fixture
def sealed_site(fresh: Callable[..., None]) -> Iterator[Site]:
    with site_of(SEALED, SQLITE, fresh=fresh) as site:
        yield site


@pytest.mark.redis
@pytest.mark.parametrize("value", ["not sealed", 5, ["a"], b"\x80"])
@pytest.mark.parametrize("phase", [DUAL_OLD, DUAL_NEW])
def test_what_a_side_cannot_decode_is_no_session_and_is_counted(
    value: Any, phase: Phase, sealed_site: Site, counts: Counts
) -> None:
    key = new_key()
    caches["redis"].set(f"shop.sealed:{key}", value, 60)

    session = sealed_site.session(key, phase)

    assert session.get("cart") is None
    assert counts["unreadable"] == 1
    assert session.session_key is None, "the next save makes a key of its own"


@pytest.mark.redis
def test_a_value_that_the_caches_serializer_cannot_read_is_no_session(fresh: Callable[..., None]) -> None:
    with site_of(REDIS, SQLITE, fresh=fresh) as site:
        key = new_key()
        raw = caches["redis"].make_key(f"django.contrib.sessions.cache{key}")
        caches["redis"]._cache.get_client(None, write=True).set(raw, b"\x80\x05broken", ex=60)

        assert site.session(key, DUAL_OLD).get("cart") is None
        assert site.session(key, DUAL_NEW).get("cart") is None


@pytest.mark.redis
def test_a_value_before_the_rows_that_is_no_session_is_none(fresh: Callable[..., None], counts: Counts) -> None:
    with site_of(CACHED_SQLITE, SQLITE_B, fresh=fresh) as site:
        key = new_key()
        caches["redis_other"].set(f"django.contrib.sessions.cached_db{key}", "no session", 60)

        assert site.session(key, DUAL_OLD).get("cart") is None
        assert counts["unreadable"] == 1


class ShortKeys(files.SessionStore):
    def _get_new_session_key(self) -> str:
        return f"{len(list(Path(self.storage_path).iterdir())):012d}"


def test_files_with_keys_of_the_engines_own_making_are_a_side(
    fresh: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uuids, "SessionStore", ShortKeys)
    with site_of(Named("short", {"ENGINE": f"{ENGINES}.uuids"}), SQLITE, fresh=fresh) as site:
        session = site.session(phase=OLD)
        session["cart"] = 1
        session.save()
        assert len(str(session.session_key)) == 12
        assert site.session(session.session_key, DUAL_NEW)["cart"] == 1
        assert site.both(str(session.session_key)) == ({"cart": 1}, {"cart": 1})


@pytest.mark.redis
def test_what_new_cannot_decode_is_served_from_old_and_written_over(fresh: Callable[..., None]) -> None:
    with site_of(REDIS, SEALED, fresh=fresh) as site:
        session = site.session(phase=OLD)
        session["cart"] = 1
        session.save()
        key = str(session.session_key)
        caches["redis"].set(f"shop.sealed:{key}", "not sealed", 60)

        session = site.session(key, DUAL_NEW)
        assert session["cart"] == 1
        session["cart"] = 2
        session.save()
        assert site.both(key) == ({"cart": 2}, {"cart": 2})


@pytest.mark.redis
@pytest.mark.parametrize("phase", Phase)
def test_keys_are_made_as_the_engine_that_decides_makes_them(phase: Phase, fresh: Callable[..., None]) -> None:
    with site_of(UUIDS, SQLITE, fresh=fresh) as site:
        session = site.session(phase=phase)
        session["cart"] = 1
        session.save()
        before = session.session_key
        session.cycle_key()

        for key in (before, session.session_key):
            assert bool(re.fullmatch("[0-9a-f-]{36}", str(key))) is (phase in (OLD, DUAL_OLD))


def found_by_check(**sessions: Any) -> dict[str, str]:
    with override_settings(MIGRATOR={"SESSIONS": sessions}, SESSION_ENGINE="migrator.sessions.transition"):
        return {message.id: message.msg for message in run_checks(tags=["migrator"])}


def test_check_says_that_an_engines_own_place_can_only_be_waited_for() -> None:
    found = found_by_check(OLD=ELSEWHERE.setting, NEW=SQLITE.setting)

    assert list(found) == ["migrator.W031"]
    assert "does not keep the sessions of OLD in a cache of CACHES" in found["migrator.W031"]


def test_check_refuses_an_engines_own_place_as_new() -> None:
    assert "It can only be OLD" in found_by_check(OLD=SQLITE.setting, NEW=ELSEWHERE.setting)["migrator.E034"]


@pytest.mark.redis
def test_check_refuses_an_engine_whose_value_is_not_to_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed.SessionStore, "cache_key", property(lambda self: f"elsewhere {self.session_key}"))

    found = found_by_check(OLD=SEALED.setting, NEW=SQLITE.setting)

    assert "do not store a session as one value in its _cache" in found["migrator.E034"]
    setting = {"SESSIONS": {"OLD": SEALED.setting, "NEW": SQLITE.setting}}
    with (
        override_settings(MIGRATOR=setting),
        pytest.raises(ImproperlyConfigured, match="do not store a session as one value"),
    ):
        transition()


@pytest.mark.redis
def test_an_engine_that_writes_rows_when_it_saves_is_tried_without_a_database(
    fresh: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(self: Any, must_create: bool = False) -> None:
        if must_create:
            get_user_model().objects.create_user(f"made by {self.session_key}")
        plain_save(self, must_create)

    plain_save = sealed.SessionStore.save
    monkeypatch.setattr(sealed.SessionStore, "save", save)

    assert found_by_check(OLD=SEALED.setting, NEW=SQLITE.setting) == {}
    with site_of(SEALED, SQLITE, fresh=fresh) as site:
        session = site.session(phase=DUAL_OLD)
        session["cart"] = 1
        session.save()
        assert site.both(str(session.session_key)) == ({"cart": 1}, {"cart": 1})
        made = get_user_model().objects.filter(username__startswith="made by")
        assert [user.username for user in made] == [f"made by {session.session_key}"]


def test_check_refuses_an_engine_that_loads_only_asynchronously(monkeypatch: pytest.MonkeyPatch) -> None:
    async def aload(self: Any) -> Any:
        return {}

    monkeypatch.setattr(uuids.SessionStore, "aload", aload)

    assert "only as asynchronous methods" in found_by_check(OLD=UUIDS.setting, NEW=SQLITE.setting)["migrator.E034"]


# -- tables and files -------------------------------------------------------------------------------------------------


class EncryptsRows(rows.SessionStore):
    """Its load() and save() encrypt what encode() gives."""

    def load(self) -> Any:
        found = self._get_session_from_db()  # type: ignore[attr-defined]
        return self.decode(found.session_data[::-1]) if found else {}


class EncryptsInstances(rows.SessionStore):
    def create_model_instance(self, data: Any) -> Any:
        row = super().create_model_instance(data)
        row.session_data = row.session_data[::-1]
        return row


class EncryptsText(rows.SessionStore):
    """By encode() and decode(), as a side may."""

    def encode(self, session_dict: Any) -> str:
        return super().encode(session_dict)[::-1]

    def decode(self, session_data: str) -> Any:
        return super().decode(session_data[::-1])


class EncryptsFiles(files.SessionStore):
    def save(self, must_create: bool = False) -> None:
        super().save(must_create)
        path = Path(self._key_to_file())  # type: ignore[attr-defined]
        path.write_text(path.read_text()[::-1])


class TouchesRows(rows.SessionStore):
    """Adds to what Django does, and keeps its text."""

    def load(self) -> Any:
        data = super().load()
        self.modified = True
        return data


@pytest.mark.parametrize(
    ("engine", "is_refused"),
    [
        (EncryptsRows, True),
        (EncryptsInstances, True),
        (EncryptsFiles, True),
        (EncryptsText, False),
        (TouchesRows, False),
    ],
)
def test_check_refuses_rows_and_files_that_decode_does_not_read(
    engine: Any, is_refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uuids, "SessionStore", engine)

    found = found_by_check(OLD={"ENGINE": f"{ENGINES}.uuids"}, NEW=REDIS.setting)

    assert ("stores other text than its decode() reads" in found.get("migrator.E034", "")) is is_refused
    assert bool(found) is is_refused


STAMPED = f"{ENGINES}.stamped"


@pytest.fixture
def stamped_site(fresh: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Give a site whose NEW is a table with columns that come to be in save() and in the database."""
    with site_of(REDIS, SQLITE, fresh=fresh) as site, isolate_apps("tests.testapp") as registry:
        model = import_module(STAMPED).StampedSession
        monkeypatch.setattr(table_layouts, "apps", registry)
        with connections["sqlite_b"].schema_editor() as editor:
            editor.create_model(model)
        setting = site.setting(NEW={"ENGINE": STAMPED, "DATABASE": "sqlite_b"})
        with override_settings(MIGRATOR={"SESSIONS": setting}):
            yield site
        with connections["sqlite_b"].schema_editor() as editor:
            editor.delete_model(model)
    del sys.modules[STAMPED]


@pytest.mark.redis
def test_rows_that_follow_are_filled_as_save_would(stamped_site: Site, counts: Counts) -> None:
    moved = stamped_site.session(phase=OLD)
    moved["cart"] = 1
    moved.save()
    session = stamped_site.session(phase=DUAL_OLD)
    session["cart"] = 1
    session.save()
    rows_of_new = import_module(STAMPED).StampedSession._base_manager.using("sqlite_b")
    row = rows_of_new.get(pk=session.session_key)
    session["cart"] = 2
    session.save()
    later = rows_of_new.get(pk=session.session_key)

    assert counts["shadow_error"] == 0
    assert (row.level, row.name) == (7, f"of {str(session.session_key)[:4]}")
    assert None not in (row.began, row.stamped, row.made)
    assert later.seen > row.seen
    assert (later.began, later.stamped) == (row.began, row.stamped)
    assert stamped_site.session(moved.session_key, DUAL_NEW)["cart"] == 1
    assert stamped_site.session(moved.session_key, NEW)["cart"] == 1
