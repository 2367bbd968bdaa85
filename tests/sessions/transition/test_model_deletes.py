"""A session that is ended through its model is ended in both stores, whichever of them decides."""

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.core.cache import caches
from django.db import router, transaction
from django.test import override_settings
from django.utils import timezone

from migrator.sessions.transition import SessionStore
from migrator.transitions.phases import Phase
from tests.sessions.transition.pairs import (
    CACHED_SQLITE,
    POSTGRESQL,
    REDIS,
    SQLITE,
    SQLITE_B,
    Named,
    Site,
    param,
    site_of,
)

OLD, DUAL_OLD, DUAL_NEW, NEW = Phase
ROUTER = "migrator.sessions.router.SessionRouter"


@pytest.fixture
def tables(fresh: Callable[..., None]) -> Iterator[Site]:
    """Give a site between two tables, whose sessions' model the router sends to the side that decides."""
    with site_of(SQLITE, SQLITE_B, fresh=fresh) as site, override_settings(DATABASE_ROUTERS=[ROUTER]):
        yield site


def saved(site: Site, phase: Phase = DUAL_OLD) -> str:
    session = site.session(phase=phase)
    session["cart"] = 1
    session.save()
    return str(session.session_key)


def a_proxy() -> Any:
    """Define a model for the rows of sessions, as a module of the admin may."""
    meta = type("Meta", (), {"proxy": True, "app_label": "sessions"})
    return type(f"Login{uuid.uuid4().hex}", (Session,), {"__module__": __name__, "Meta": meta})


def in_a_transaction(key: str) -> None:
    with transaction.atomic(using=router.db_for_write(Session)):
        Session.objects.get(pk=key).delete()


def is_alive(site: Site, key: str, phase: Phase) -> bool:
    session = site.session(key, phase)
    return session.load() != {} and session.session_key == key


@pytest.mark.parametrize("phase", [DUAL_OLD, DUAL_NEW, NEW])
def test_a_deletion_by_the_model_is_never_undone(phase: Phase, tables: Site) -> None:
    keys, stays = [saved(tables) for _ in range(3)], saved(tables)
    tables.phase = phase

    Session.objects.filter(pk__in=keys[:2]).delete()
    Session.objects.get(pk=keys[2]).delete()

    assert [is_alive(tables, key, phase) for key in [*keys, stays]] == [False, False, False, True]
    for step in Phase:
        assert [is_alive(tables, key, step) for key in [*keys, stays]] == [False, False, False, True]


WAYS = {
    "in a transaction": in_a_transaction,
    "by a proxy": lambda key: a_proxy().objects.filter(pk=key).delete(),
    "without its expiry": lambda key: Session.objects.only("session_key").filter(pk=key).delete(),
    "unread": lambda key: Session(pk=key).delete(),
}


@pytest.mark.parametrize("delete", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("phase", [DUAL_OLD, DUAL_NEW])
def test_however_a_row_is_deleted_its_session_ends(delete: Callable[[str], None], phase: Phase, tables: Site) -> None:
    key = saved(tables)
    tables.phase = phase

    delete(key)

    assert tables.both(key) == (None, None)


def test_an_expired_row_that_is_deleted_unread_ends_nothing_in_the_other(tables: Site) -> None:
    key = saved(tables)
    Session.objects.using("sqlite_a").filter(pk=key).update(expire_date=timezone.now() - timezone.timedelta(days=1))

    Session(pk=key).delete()

    assert tables.both(key) == (None, {"cart": 1})


def test_keys_that_are_rolled_out_end_as_well(tables: Site) -> None:
    keys = [saved(tables) for _ in range(8)]
    tables.share = 50.0

    Session.objects.filter(pk__in=keys).delete()

    assert not any(is_alive(tables, key, DUAL_OLD) for key in keys)
    assert [tables.both(key) for key in keys] == [(None, None)] * 8


def test_what_is_deleted_of_the_side_that_follows_goes_on(tables: Site) -> None:
    """As when OLD is emptied to be copied to."""
    key = saved(tables)
    tables.phase = DUAL_NEW

    Session.objects.using("sqlite_a").all().delete()

    assert is_alive(tables, key, DUAL_NEW)


def test_an_expired_row_of_one_side_ends_nothing_in_the_other(tables: Site) -> None:
    key = saved(tables)
    Session.objects.using("sqlite_a").filter(pk=key).update(expire_date=timezone.now() - timezone.timedelta(days=1))

    SessionStore.clear_expired()

    assert tables.both(key) == (None, {"cart": 1})


def test_a_deletion_that_is_rolled_back_ends_nothing(tables: Site) -> None:
    key = saved(tables)

    with transaction.atomic(using="sqlite_a"):
        Session.objects.filter(pk=key).delete()
        transaction.set_rollback(True, using="sqlite_a")

    assert tables.both(key) == ({"cart": 1}, {"cart": 1})


@pytest.mark.redis
def test_the_cache_before_the_rows_holds_it_no_longer(fresh: Callable[..., None]) -> None:
    with site_of(CACHED_SQLITE, SQLITE_B, fresh=fresh) as site, override_settings(DATABASE_ROUTERS=[ROUTER]):
        key = saved(site)
        assert is_alive(site, key, DUAL_OLD)

        Session.objects.filter(pk=key).delete()

        assert caches["redis_other"].get(f"django.contrib.sessions.cached_db{key}") is None
        assert not is_alive(site, key, DUAL_OLD)
        assert not is_alive(site, key, DUAL_NEW)


@pytest.mark.parametrize("pair", [param(SQLITE, REDIS), param(REDIS, POSTGRESQL)])
def test_a_table_and_a_cache_end_together(pair: Any, site: Site) -> None:
    key = saved(site)
    side: Named = next(side for side in pair if "DATABASE" in side.setting)
    site.phase = DUAL_OLD if side is pair[0] else DUAL_NEW

    Session.objects.using(side.setting["DATABASE"]).filter(pk=key).delete()

    assert site.both(key) == (None, None)
