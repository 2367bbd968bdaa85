"""What reaches the other side, and when: data, expiry, columns, ends; in and out of transactions; in a roll-out."""

import datetime as dt
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.auth import SESSION_KEY as USER_KEY
from django.core.cache import caches
from django.db import connections, transaction
from django.test import override_settings
from django.utils import timezone

from migrator.sessions.transition import SessionStore
from migrator.sessions.transition.after_commit import run_waiting
from migrator.stores.base import Record, digest
from migrator.transitions.phases import Phase, is_rolled_out
from tests.sessions.places import new_key
from tests.sessions.transition.pairs import (
    CACHE_TABLE,
    MEMCACHED,
    MYSQL,
    PAIRS,
    POSTGRESQL,
    POSTGRESQL_B,
    QSESSIONS,
    REDIS,
    REDIS_OTHER,
    USER_SESSIONS,
    Named,
    Site,
    param,
    site_of,
)
from tests.stores.redis.expiries import reading_error

EXACT = [
    param(*pair) for pair in [(REDIS, POSTGRESQL), (POSTGRESQL, REDIS), (REDIS, REDIS_OTHER), (MYSQL, POSTGRESQL_B)]
]
BEFORE_ROWS = Named(
    "cache_table_before_rows",
    {"ENGINE": "django.contrib.sessions.backends.cached_db", "DATABASE": "sqlite_b", "CACHE": "table"},
)
DUAL = pytest.mark.parametrize("phase", [Phase.DUAL_OLD, Phase.DUAL_NEW])


@pytest.fixture
def site(pair: tuple[Named, Named], fresh: Callable[..., None]) -> Iterator[Site]:
    with site_of(*pair, fresh=fresh) as site:
        yield site
        run_waiting()


def saved(site: Site, phase: Phase, **data: Any) -> str:
    session = site.session(None, phase)
    session.update(data)
    session.save()
    return str(session.session_key)


@DUAL
@pytest.mark.parametrize("pair", [param(*pair) for pair in PAIRS])
def test_both_sides_hold_what_was_saved(site: Site, phase: Phase) -> None:
    key = saved(site, phase, a=1)
    session = site.session(key)
    session["a"] = 2
    session.save()
    assert [data["a"] for data in site.both(key)] == [2, 2]
    session.cycle_key()
    assert site.both(key) == (None, None)
    assert [data["a"] for data in site.both(session.session_key)] == [2, 2]
    session.flush()
    assert site.both(session.session_key or key) == (None, None)


def precision(pair: tuple[Named, Named]) -> int:
    """Return how far apart, in microseconds, one expiry is read from both stores at most."""
    return 1000 + (reading_error() if REDIS in pair else 0)


@DUAL
@pytest.mark.parametrize("pair", EXACT)
@pytest.mark.parametrize("expiry", [None, 0, 300, "a date"], ids=str)
def test_both_sides_end_at_one_moment(site: Site, pair: Any, phase: Phase, expiry: Any) -> None:
    key = saved(site, phase, a=1)
    session = site.session(key)
    moment = timezone.now() + dt.timedelta(hours=5, microseconds=123_456)
    session.set_expiry(moment if expiry == "a date" else expiry)
    session.save()
    one, other = site.expiries(key)
    assert abs(one - other) < precision(pair)
    if expiry == "a date":
        assert abs(one - moment.timestamp() * 1_000_000) < precision(pair)


@pytest.mark.parametrize("pair", EXACT)
def test_a_moved_session_keeps_its_end(site: Site, pair: Any) -> None:
    key = saved(site, Phase.OLD, a=1)
    held = site.change.old.fetch(key)
    assert held is not None
    end = held.expires - 1_000_000_000  # type: ignore[operator]
    assert site.change.old.store.replace([(held, held._replace(expires=end))]) == {key}
    assert site.session(key, Phase.DUAL_NEW).get("a") == 1
    one, other = site.expiries(key)
    assert abs(one - end) < precision(pair)
    assert abs(one - other) < precision(pair)


@pytest.mark.parametrize("pair", [param(MYSQL, MEMCACHED)])
def test_whole_seconds_never_end_later(site: Site) -> None:
    key = saved(site, Phase.DUAL_OLD, a=1)
    one, other = site.expiries(key)
    assert 0 <= one - other < 5_000_000


@DUAL
@pytest.mark.parametrize("pair", [param(REDIS, POSTGRESQL), param(POSTGRESQL, REDIS)])
def test_a_session_that_is_only_with_the_authority_reaches_the_shadow_with_its_next_save(
    site: Site, phase: Phase, counts: Any
) -> None:
    key = saved(site, phase, a=1)
    site.change.shadow(phase).delete(key)
    session = site.session(key)
    session["a"] = 2
    session.save()
    assert [data["a"] for data in site.both(key)] == [2, 2]
    assert counts["shadow_error"] == 0


@pytest.mark.parametrize("pair", [param(REDIS, POSTGRESQL)])
def test_a_save_puts_into_new_what_it_has_dropped(site: Site, counts: Any) -> None:
    key = saved(site, Phase.DUAL_NEW, a=1)
    session = site.session(key)
    session["a"] = 2
    site.change.new.delete(key)
    session.save()
    assert [data["a"] for data in site.both(key)] == [2, 2]
    assert counts["promoted"] == 1


@pytest.mark.parametrize("pair", [param(REDIS, POSTGRESQL)])
def test_counts_who_answered(site: Site, counts: Any) -> None:
    key = saved(site, Phase.DUAL_OLD, a=1)
    only_old = saved(site, Phase.OLD, a=1)
    counts.clear()
    for phase, wanted in [(Phase.OLD, key), (Phase.DUAL_OLD, key), (Phase.DUAL_NEW, key), (Phase.NEW, key)]:
        site.session(wanted, phase).load()
    site.session(only_old, Phase.DUAL_NEW).load()
    site.session(new_key(), Phase.DUAL_NEW).load()
    assert counts == {"hit_old": 3, "hit_new": 2, "fallback": 1, "promoted": 1, "miss": 1}


@pytest.mark.parametrize("pair", [param(REDIS, POSTGRESQL)])
def test_counts_what_was_repaired(site: Site, counts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    key = saved(site, Phase.DUAL_OLD, a=1)
    session = site.session(key)
    session["a"] = 2
    update = type(site.change.new.store).update

    def update_after_another(store: Any, given: Record) -> bool:
        monkeypatch.undo()
        other = SessionStore(key)
        other["a"] = 3
        other.save()
        return bool(update(store, given))

    monkeypatch.setattr(type(site.change.new.store), "update", update_after_another)
    session.save()
    assert [data["a"] for data in site.both(key)] == [3, 3]
    assert counts["repaired"] == 1


@DUAL
@pytest.mark.parametrize("pair", [param(REDIS, POSTGRESQL), param(POSTGRESQL, REDIS)])
@pytest.mark.parametrize(
    ("data", "kinds"),
    [
        ({"by number": {1: "one"}}, "a key of type int"),
        ({"point": (1, 2), "again": {2: ()}}, "a tuple, a key of type int"),
        ({"list": [1, {"a": None}]}, None),
    ],
    ids=str,
)
def test_tells_what_json_changes_on_the_way(
    site: Site, phase: Phase, data: Any, kinds: str | None, counts: Any, caplog: pytest.LogCaptureFixture
) -> None:
    is_changed = kinds is not None and site.change.shadow(phase).keeps_rows
    with caplog.at_level(logging.WARNING, logger="migrator.sessions.transition"):
        keys = [saved(site, phase, **data) for _ in range(3)]
    assert counts["changed"] == (3 if is_changed else 0)
    assert counts["shadow_error"] == 0
    logged = [record.getMessage() for record in caplog.records]
    name = site.change.shadow(phase).name
    message = f"{name} gets session {digest(keys[0])} changed by JSON: {kinds}. Others like it are only counted."
    assert logged == ([message] if is_changed else [])


@pytest.mark.parametrize("pair", [param(REDIS, POSTGRESQL)])
def test_tells_what_json_changes_of_a_moved_session(site: Site, counts: Any, caplog: pytest.LogCaptureFixture) -> None:
    key = saved(site, Phase.OLD, point=(1, 2))
    assert (counts["changed"], caplog.text) == (0, "")
    with caplog.at_level(logging.WARNING, logger="migrator.sessions.transition"):
        assert site.session(key, Phase.DUAL_NEW).get("point") == (1, 2)
    assert site.session(key).get("point") == [1, 2]
    assert counts["changed"] == 1
    assert "changed by JSON: a tuple" in caplog.text
    assert key not in caplog.text


# A roll-out


@pytest.mark.parametrize("pair", [param(REDIS, POSTGRESQL)])
def test_a_roll_out_goes_key_by_key(site: Site) -> None:
    keys = [saved(site, Phase.DUAL_OLD, a=1) for _ in range(40)]
    site.share = 50
    phases = {key: site.change.phase(key) for key in keys}
    assert set(phases.values()) == {Phase.DUAL_OLD, Phase.DUAL_NEW}
    for key, phase in phases.items():
        assert (phase is Phase.DUAL_NEW) is is_rolled_out(key, 50)
        session = site.session(key)
        session["a"] = 2
        session.save()
        assert [data["a"] for data in site.both(key)] == [2, 2]
        session.cycle_key()
        assert [data["a"] for data in site.both(session.session_key)] == [2, 2]


# Columns


@pytest.mark.parametrize("pair", [param(USER_SESSIONS, REDIS), param(QSESSIONS, REDIS)])
@pytest.mark.parametrize("phase", [Phase.OLD, Phase.DUAL_OLD, Phase.DUAL_NEW])
def test_keeps_the_columns_of_user_address_and_browser(site: Site, phase: Phase, user: Any) -> None:
    site.phase = phase
    session = SessionStore(None, user_agent="Browser", ip="10.0.0.9")
    session["a"] = 1
    session.save()
    session[USER_KEY] = str(user.pk)
    session.save()
    row = site.change.old.model.objects.using("default").get(pk=session.session_key)
    assert (row.user_id, row.user_agent, row.ip) == (user.pk, "Browser", "10.0.0.9")
    # What a save outside a request does not know is left as it was.
    again = site.session(session.session_key, Phase.DUAL_NEW)
    again["a"] = 2
    again.save()
    row.refresh_from_db(using="default")
    assert (row.user_id, row.user_agent, row.ip) == (user.pk, "Browser", "10.0.0.9")


@pytest.mark.parametrize("pair", [param(REDIS, QSESSIONS), param(REDIS, USER_SESSIONS)])
def test_a_moved_row_knows_its_user(site: Site, user: Any) -> None:
    keys = {user: saved(site, Phase.OLD, **{USER_KEY: user}) for user in (str(user.pk), "987654")}
    for key in keys.values():
        assert site.session(key, Phase.DUAL_NEW).get(USER_KEY)
    rows = site.change.new.model.objects.using("default")
    assert rows.get(pk=keys[str(user.pk)]).user_id == user.pk
    assert rows.get(pk=keys["987654"]).user_id is None


# Transactions


class Undone(Exception):
    pass


@DUAL
@pytest.mark.parametrize("pair", [param(POSTGRESQL, REDIS), param(REDIS, POSTGRESQL), param(POSTGRESQL, POSTGRESQL_B)])
def test_the_shadow_follows_what_is_committed(site: Site, phase: Phase) -> None:
    key = saved(site, phase, a=1)
    with transaction.atomic(using="postgresql_a"):
        session = site.session(key)
        session["a"] = 2
        session.save()
        session.cycle_key()
    assert site.both(key) == (None, None)
    assert [data["a"] for data in site.both(session.session_key)] == [2, 2]


@DUAL
@pytest.mark.parametrize(
    "pair",
    [
        param(POSTGRESQL, REDIS),
        param(REDIS, POSTGRESQL),
        param(POSTGRESQL, POSTGRESQL_B),
        param(CACHE_TABLE, REDIS),
        param(REDIS, CACHE_TABLE),
    ],
)
def test_both_sides_are_alike_after_what_is_rolled_back(site: Site, phase: Phase) -> None:
    keys = [saved(site, phase, a=1), saved(site, phase, a=1)]
    database = [*site.change.old.databases, *site.change.new.databases][0]
    with suppress(Undone), transaction.atomic(using=database):
        session = site.session(keys[0])
        session["a"] = 2
        session.save()
        site.session(keys[1]).flush()
        raise Undone
    run_waiting()  # as the end of the request does
    for key in keys:
        one, other = site.both(key)
        assert one == other


@DUAL
@pytest.mark.parametrize("pair", [param(REDIS, POSTGRESQL), param(POSTGRESQL, REDIS)])
def test_what_is_rolled_back_outside_of_a_request_is_made_good_at_the_next_use(site: Site, phase: Phase) -> None:
    """As in a task, which no signal ends."""
    keys = [saved(site, phase, a=1) for _ in range(3)]
    with suppress(Undone), transaction.atomic(using="postgresql_a"):
        session = site.session(keys[0])
        session["a"] = 2
        session.save()
        site.session(keys[1]).flush()
        raise Undone
    site.session(keys[2]).load()
    for key in keys:
        one, other = site.both(key)
        assert one == other


@pytest.mark.parametrize("pair", [param(POSTGRESQL, CACHE_TABLE), param(POSTGRESQL, BEFORE_ROWS)])
def test_a_cache_table_that_is_missing_does_not_break_the_transaction(site: Site) -> None:
    key = saved(site, Phase.OLD, a=1)
    cache = {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "nowhere"}
    router = SimpleNamespace(db_for_write=to_postgresql, db_for_read=to_postgresql)
    with override_settings(CACHES={**caches.settings, "table": cache}, DATABASE_ROUTERS=[router]):
        for phase in (Phase.OLD, Phase.DUAL_OLD):
            with transaction.atomic(using="postgresql_a"):
                session = site.session(key, phase)
                session["a"] = 2
                session.save()
                session.cycle_key()
                key = session.session_key
                run_waiting()
                with connections["postgresql_a"].cursor() as cursor:
                    cursor.execute("SELECT 1")
                    assert cursor.fetchone() == (1,)


def to_postgresql(model: Any, **hints: Any) -> str | None:
    return "postgresql_a" if model._meta.app_label == "django_cache" else None


@DUAL
@pytest.mark.parametrize("pair", [param(REDIS, POSTGRESQL)])
def test_a_shadow_without_its_table_does_not_break_the_transaction(site: Site, phase: Phase, databases: Any) -> None:
    key = saved(site, Phase.DUAL_OLD, a=1)
    with connections["postgresql_a"].cursor() as cursor:
        cursor.execute("ALTER TABLE django_session RENAME TO elsewhere")
    try:
        site.change.close()
        with transaction.atomic(using="postgresql_a"):
            site.session(key, Phase.DUAL_OLD).flush()
            run_waiting()
            with connections["postgresql_a"].cursor() as cursor:
                cursor.execute("SELECT 1")
                assert cursor.fetchone() == (1,)
    finally:
        with connections["postgresql_a"].cursor() as cursor:
            cursor.execute("ALTER TABLE elsewhere RENAME TO django_session")
