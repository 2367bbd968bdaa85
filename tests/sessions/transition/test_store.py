"""What Django's session engines do, asked of four of them, and of ours in each phase between all kinds of stores."""

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib import import_module
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib.sessions.backends.base import UpdateError
from django.core.cache import caches
from django.test import override_settings
from django.utils import timezone

from migrator.transitions.phases import Phase
from tests.sessions.places import new_key
from tests.sessions.transition.pairs import CACHED_SQLITE, FILES, PAIRS, REDIS, SQLITE, Named, param, site_of

PLAIN = [REDIS, SQLITE, CACHED_SQLITE, FILES]


class Sync:
    """A session driven by its plain methods."""

    def __init__(self, store: Any) -> None:
        self.__dict__["store"] = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.store, name, value)

    def put(self, name: str, value: Any) -> None:
        self.store[name] = value

    def remove(self, name: str) -> None:
        del self.store[name]

    def has(self, name: str) -> bool:
        return name in self.store


class Async(Sync):
    """A session driven by its coroutines."""

    def __getattr__(self, name: str) -> Any:
        coroutine = getattr(self.store, f"a{name}", None)
        return async_to_sync(coroutine) if callable(coroutine) else getattr(self.store, name)

    def put(self, name: str, value: Any) -> None:
        async_to_sync(self.store.aset)(name, value)

    def remove(self, name: str) -> None:
        async_to_sync(self.store.apop)(name)

    def has(self, name: str) -> bool:
        return bool(async_to_sync(self.store.ahas_key)(name))


New = Callable[..., Any]


def own(data: dict[str, Any]) -> dict[str, Any]:
    """Leave out what an engine adds to the data."""
    return {name: value for name, value in data.items() if not name.startswith("_qsessions_")}


DUAL = (Phase.DUAL_OLD, Phase.DUAL_NEW)
ALONE = (Phase.OLD, Phase.NEW)
STORES = [
    *[param(side, more=(Sync,)) for side in PLAIN],
    *[param(side, more=(Async,)) for side in PLAIN[:2]],
    # Each pair in one of the phases, in turn, and four of them in the other as well.
    *[param(*pair, more=(DUAL[number % 2], Sync)) for number, pair in enumerate(PAIRS)],
    *[param(*PAIRS[number], more=(DUAL[1 - number % 2], Sync)) for number in (2, 5, 9, 12)],
    *[param(*pair, more=(phase, Sync)) for pair in (PAIRS[2], PAIRS[9]) for phase in ALONE],
    *[param(*PAIRS[2], more=(phase, Async)) for phase in Phase],
]
# For what Django's base class does by itself, whatever the store.
ANY_STORE = [
    param(REDIS, more=(Sync,)),
    param(*PAIRS[2], more=(Phase.DUAL_NEW, Sync)),
    param(*PAIRS[2], more=(Phase.DUAL_NEW, Async)),
]
of_the_base_class = pytest.mark.parametrize("new", ANY_STORE, indirect=True)
# Sides that fail, or save nothing later, when they are asked for a key that no session can have.
STRICT_STORES = [
    *[param(*PAIRS[number], more=(Phase.DUAL_OLD, Sync)) for number in (0, 2, 6)],
    *[param(*PAIRS[number], more=(Phase.DUAL_NEW, Sync)) for number in (1, 5, 8)],
]
STRANGE_KEYS = ["with a space in it", "x" * 300, "line\r\nget other\r\n", "ключ" * 4]


@pytest.fixture(params=STORES)
def new(request: pytest.FixtureRequest, fresh: Callable[[Named], None]) -> Iterator[New]:
    """Give a function that makes a session of a key, as a request does, of each engine in turn."""
    sides, *phases, drive = request.param
    with ExitStack() as stack:
        if phases:
            stack.enter_context(site_of(*sides, fresh=fresh)).phase = phases[0]
        else:
            fresh(sides)
            stack.enter_context(_plain(sides))
        engine = import_module(settings.SESSION_ENGINE).SessionStore
        yield lambda key=None: drive(engine(key))


def _plain(side: Named) -> Any:
    return override_settings(
        SESSION_ENGINE=side.setting["ENGINE"],
        SESSION_CACHE_ALIAS=side.setting.get("CACHE", "default"),
        SESSIONS_DB=side.setting.get("DATABASE", "default"),
    )


@pytest.fixture
def saved(new: New) -> Callable[..., str]:
    """Give a function that saves a session and returns its key."""

    def save(**data: Any) -> str:
        session = new()
        for name, value in data.items():
            session.put(name, value)
        session.save()
        return str(session.session_key)

    return save


@of_the_base_class
def test_begins_without_a_key_and_unused(new: New) -> None:
    session = new()
    assert (session.session_key, session.accessed, session.modified, session.is_empty()) == (None, False, False, True)


def test_gives_back_what_was_saved(new: New, saved: Callable[..., str]) -> None:
    data = {"text": "é漢\U0001f600", "number": -1.5, "nothing": None, "nested": {"list": [1, True, {"a": "b" * 200}]}}
    session = new(saved(**data))
    assert {name: session.get(name) for name in data} == data


def test_gives_a_key_at_the_first_save(new: New) -> None:
    session = new()
    session.put("a", 1)
    assert session.session_key is None
    session.save()
    assert len(session.session_key) == 32


def test_keeps_the_key_at_later_saves(new: New, saved: Callable[..., str]) -> None:
    key = saved(a=1)
    session = new(key)
    session.put("a", 2)
    session.save()
    assert session.session_key == key
    assert new(key).get("a") == 2


def test_saves_again_and_again(new: New, saved: Callable[..., str]) -> None:
    key = saved(n=0)
    for number in range(1, 4):
        session = new(key)
        session.put("n", number)
        session.save()
        assert new(key).get("n") == number


def test_creates_an_empty_session_that_exists(new: New) -> None:
    session = new()
    session.create()
    assert session.modified
    assert session.exists(session.session_key)
    again = new(session.session_key)
    assert (own(again.load()), again.session_key) == ({}, session.session_key)


def test_creates_another_key_each_time(new: New) -> None:
    session = new()
    session.create()
    first = session.session_key
    session.create()
    assert session.session_key != first
    assert session.exists(first)


def test_an_empty_session_can_be_saved(new: New) -> None:
    session = new()
    session.create()
    key = session.session_key
    session = new(key)
    session.put("a", 1)
    session.save()
    assert new(key).get("a") == 1
    session = new(key)
    session.remove("a")
    session.save()
    again = new(key)
    assert (own(again.load()), again.session_key) == ({}, key)


def test_save_of_a_key_that_is_taken_is_told(new: New, saved: Callable[..., str]) -> None:
    from django.contrib.sessions.backends.base import CreateError

    key = saved(a=1)
    session = new(key)
    session.load()
    with pytest.raises(CreateError):
        session.save(must_create=True)
    assert new(key).get("a") == 1


def test_save_of_a_session_that_has_ended_is_told(new: New, saved: Callable[..., str]) -> None:
    key = saved(a=1)
    session = new(key)
    assert session.get("a") == 1
    new(key).delete()
    session.put("a", 2)
    with pytest.raises(UpdateError):
        session.save()
    assert not new().exists(key)
    assert new(key).get("a") is None


def test_save_of_an_unknown_key_is_told(new: New) -> None:
    with pytest.raises(UpdateError):
        new(new_key()).save()


def test_an_unknown_key_is_forgotten(new: New) -> None:
    session = new(new_key())
    assert session.load() == {}
    assert session.session_key is None


def test_an_unknown_key_is_never_given_to_a_session(new: New) -> None:
    wanted = new_key()
    session = new(wanted)
    session.put("a", 1)
    session.save()
    assert session.session_key not in (None, wanted)
    assert not session.exists(wanted)


@of_the_base_class
@pytest.mark.parametrize("key", ["", "1", "a" * 7])
def test_too_short_a_key_is_none(new: New, key: str) -> None:
    session = new(key)
    assert session.session_key is None
    assert session.get("a") is None


@pytest.mark.parametrize("new", [*ANY_STORE, *STRICT_STORES], indirect=True)
@pytest.mark.parametrize("key", STRANGE_KEYS)
def test_a_strange_key_is_no_session(new: New, key: str) -> None:
    session = new(key)
    assert session.get("a", "nothing") == "nothing"
    session.put("a", 1)
    session.save()
    assert session.session_key != key


@pytest.mark.parametrize("new", STRICT_STORES, indirect=True)
@pytest.mark.parametrize("key", STRANGE_KEYS)
def test_a_strange_key_does_not_exist_and_can_be_deleted(new: New, key: str) -> None:
    session = new()
    assert not session.exists(key)
    session.delete(key)


def test_exists_tells(new: New, saved: Callable[..., str]) -> None:
    key = saved(a=1)
    assert new().exists(key)
    assert not new().exists(new_key())
    assert not new().exists(None)


def test_deletes_its_own_session(new: New, saved: Callable[..., str]) -> None:
    key = saved(a=1)
    new(key).delete()
    assert not new().exists(key)
    assert new(key).load() == {}


def test_deletes_the_session_of_a_given_key(new: New, saved: Callable[..., str]) -> None:
    one, other = saved(a=1), saved(a=2)
    new(one).delete(other)
    assert new().exists(one)
    assert not new().exists(other)


def test_deletes_nothing_without_a_key(new: New, saved: Callable[..., str]) -> None:
    key = saved(a=1)
    new().delete()
    new().delete(new_key())
    assert new(key).get("a") == 1


def test_can_be_deleted_twice(new: New, saved: Callable[..., str]) -> None:
    key = saved(a=1)
    new(key).delete()
    new(key).delete()
    assert not new().exists(key)


def test_flush_ends_the_session_and_begins_another(new: New, saved: Callable[..., str]) -> None:
    key = saved(a=1)
    session = new(key)
    session.load()
    session.flush()
    assert (session.session_key, session.modified, session.accessed) == (None, True, True)
    assert not session.exists(key)
    assert list(session.items()) == []
    session.put("b", 2)
    session.save()
    assert session.session_key != key
    assert new(session.session_key).get("a") is None


@of_the_base_class
def test_flush_of_nothing(new: New) -> None:
    session = new()
    session.flush()
    assert session.session_key is None


def test_clear_keeps_the_key(new: New, saved: Callable[..., str]) -> None:
    key = saved(a=1)
    session = new(key)
    session.clear()
    session.save()
    again = new(key)
    assert again.get("a") is None
    assert again.session_key == key


def test_cycle_key_moves_the_data(new: New, saved: Callable[..., str]) -> None:
    key = saved(a=1)
    session = new(key)
    session.cycle_key()
    assert session.session_key != key
    assert session.get("a") == 1
    session.save()
    assert new(session.session_key).get("a") == 1
    assert not session.exists(key)
    assert new(key).get("a") is None


def test_cycle_key_twice(new: New, saved: Callable[..., str]) -> None:
    keys = [saved(a=1)]
    session = new(keys[0])
    for _ in range(2):
        session.cycle_key()
        keys.append(session.session_key)
    assert [session.exists(key) for key in keys] == [False, False, True]


def test_cycle_key_of_a_session_without_a_key(new: New) -> None:
    session = new()
    session.put("a", 1)
    session.cycle_key()
    session.save()
    assert new(session.session_key).get("a") == 1


@of_the_base_class
def test_reading_is_access_and_no_change(new: New, saved: Callable[..., str]) -> None:
    session = new(saved(a=1))
    assert session.get("a") == 1
    assert (session.accessed, session.modified) == (True, False)


@of_the_base_class
def test_writing_is_a_change(new: New, saved: Callable[..., str]) -> None:
    session = new(saved(a=1))
    session.put("a", 1)
    assert (session.accessed, session.modified) == (True, True)


@of_the_base_class
def test_pop_is_a_change_where_there_is_something(new: New, saved: Callable[..., str]) -> None:
    session = new(saved(a=1))
    assert session.pop("b", "absent") == "absent"
    assert not session.modified
    assert session.pop("a") == 1
    assert session.modified
    with pytest.raises(KeyError):
        session.pop("a")


@of_the_base_class
def test_setdefault(new: New, saved: Callable[..., str]) -> None:
    session = new(saved(a=1))
    assert session.setdefault("a", 2) == 1
    assert not session.modified
    assert session.setdefault("b", 3) == 3
    assert session.modified


@of_the_base_class
def test_update_and_views(new: New, saved: Callable[..., str]) -> None:
    key = saved(a=1)
    session = new(key)
    session.update({"b": 2})
    session.save()
    again = new(key)
    names = {name for name in again.keys() if not name.startswith("_")}  # noqa: SIM118  (one engine adds its own)
    assert names == {"a", "b"}
    assert {1, 2} <= set(again.values())
    assert {("a", 1), ("b", 2)} <= set(again.items())
    assert again.has("b")
    assert not again.has("c")


@of_the_base_class
def test_test_cookie(new: New) -> None:
    session = new()
    session.set_test_cookie()
    session.save()
    again = new(session.session_key)
    assert again.test_cookie_worked()
    again.delete_test_cookie()
    assert not again.test_cookie_worked()


@of_the_base_class
def test_is_empty_tells_by_key_and_data(new: New, saved: Callable[..., str]) -> None:
    session = new(saved(a=1))
    assert not session.is_empty()
    session.flush()
    assert session.is_empty()
    other = new()
    other.put("a", 1)
    assert not other.is_empty()


@of_the_base_class
def test_expires_with_the_cookie_by_default(new: New) -> None:
    session = new()
    session.put("a", 1)
    assert session.get_expiry_age() == settings.SESSION_COOKIE_AGE
    assert not session.get_expire_at_browser_close()


@of_the_base_class
def test_expiry_in_seconds(new: New) -> None:
    session = new()
    session.set_expiry(300)
    session.save()
    again = new(session.session_key)
    assert again.get_expiry_age() == 300
    assert again.modified is False


def test_expiry_at_a_moment(new: New) -> None:
    moment = timezone.now().replace(microsecond=0) + dt.timedelta(hours=3)
    session = new()
    session.set_expiry(moment)
    session.save()
    again = new(session.session_key)
    assert again.get_expiry_date() == moment
    assert 3 * 3600 - 60 < again.get_expiry_age() <= 3 * 3600


@of_the_base_class
def test_expiry_after_a_timedelta(new: New) -> None:
    session = new()
    session.set_expiry(dt.timedelta(hours=2))
    session.save()
    assert 7000 < new(session.session_key).get_expiry_age() <= 7200


@of_the_base_class
def test_expiry_at_the_browsers_close(new: New) -> None:
    session = new()
    session.set_expiry(0)
    session.save()
    again = new(session.session_key)
    assert again.get_expire_at_browser_close()
    assert again.get_expiry_age() == settings.SESSION_COOKIE_AGE


def test_expiry_taken_back(new: New, saved: Callable[..., str]) -> None:
    key = saved(a=1)
    session = new(key)
    session.set_expiry(300)
    session.save()
    session = new(key)
    session.set_expiry(None)
    session.save()
    assert new(key).get_expiry_age() == settings.SESSION_COOKIE_AGE
    assert new(key).get("a") == 1


def test_an_expired_session_is_no_more(new: New, saved: Callable[..., str]) -> None:
    key = saved(a=1)
    session = new(key)
    session.set_expiry(timezone.now() - dt.timedelta(hours=1))
    session.save()
    again = new(key)
    assert again.get("a") is None
    again.put("b", 1)
    again.save()
    assert again.session_key != key


def test_clear_expired_spares_the_living(new: New, saved: Callable[..., str]) -> None:
    living, dead = saved(a=1), saved(a=2)
    session = new(dead)
    session.set_expiry(timezone.now() - dt.timedelta(hours=1))
    session.save()
    session.clear_expired()
    assert new(living).get("a") == 1
    assert not new().exists(dead)


def test_two_sessions_do_not_know_each_other(new: New, saved: Callable[..., str]) -> None:
    one, other = saved(a=1), saved(a=2)
    session = new(one)
    session.put("a", 3)
    session.save()
    assert (new(one).get("a"), new(other).get("a")) == (3, 2)


def test_the_last_of_two_requests_wins(new: New, saved: Callable[..., str]) -> None:
    key = saved(a=0)
    first, second = new(key), new(key)
    first.put("a", 1)
    second.put("a", 2)
    second.save()
    first.save()
    assert new(key).get("a") == 1


def test_a_long_session(new: New, saved: Callable[..., str]) -> None:
    key = saved(a=[{"number": number, "text": "ä" * 40} for number in range(500)])
    assert new(key).get("a")[499] == {"number": 499, "text": "ä" * 40}


@of_the_base_class
def test_signs_as_django_does(new: New) -> None:
    from django.contrib.sessions.backends.db import SessionStore

    session = new()
    assert SessionStore().decode(session.encode({"a": 1})) == {"a": 1}
    assert session.decode(SessionStore().encode({"a": 1})) == {"a": 1}


def test_caches_are_the_ones_that_were_cleared(new: New) -> None:
    """So that no test finds what another left."""
    assert caches["redis"].get("django.contrib.sessions.cache") is None
