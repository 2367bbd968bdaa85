"""The way back from ``new``: OLD is emptied and filled by a copy from NEW while workers in ``dual_new`` write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured

from migrator.caches.copying import copy_cache
from migrator.caches.records import CacheOptions
from migrator.caches.transition.markers import FENCE
from migrator.stores.copying.page_copier import PageCopier
from tests.caches.transition.conftest import Hook, Make, in_phase
from tests.caches.transition.places import Now, markers_of

pytestmark = [pytest.mark.redis]
# What a worker does to a key that holds 38 for 1000 seconds, the method of each side that this calls first, and what
# the key holds then and for how many seconds at most.
CHANGES: dict[str, tuple[Callable[[Any], Any], str, int | None, int]] = {
    "set": (lambda cache: cache.set("key", 39, 900), "set", 39, 900),
    "set_many": (lambda cache: cache.set_many({"key": 39, "another": 1}, 900), "set_many", 39, 900),
    "incr": (lambda cache: cache.incr("key"), "incr", 39, 1000),
    "decr": (lambda cache: cache.decr("key"), "decr", 37, 1000),
    "touch": (lambda cache: cache.touch("key", 500), "touch", 38, 500),
    "touch to the end": (lambda cache: cache.touch("key", 0), "delete", None, 0),
    "delete": (lambda cache: cache.delete("key"), "delete", None, 0),
    "delete_many": (lambda cache: cache.delete_many(["key"]), "delete_many", None, 0),
    "add": (lambda cache: cache.add("key", 40, 900), "add", 38, 1000),
    "expire": (lambda cache: cache.expire("key", 500), "expire", 38, 500),
    "expire at once": (lambda cache: cache.expire("key", 0), "expire", None, 0),
}


def fill_old(*, overwrite: bool = False) -> None:
    copy_cache(source="new", dest="old", options=CacheOptions(overwrite=overwrite))


@pytest.fixture
def cache(make: Make) -> Any:
    """Give a transition that has come back to `dual_new`, with an OLD that was just emptied."""
    cache = make("client", "client_b", "dual_new")
    cache.set("key", 37, 1000)
    Now.phase = "new"
    cache.set("key", 38, 1000)
    Now.phase = "dual_new"
    cache.empty_old()
    assert (caches["old"].get("key"), cache.get("key")) == (None, 38)
    return cache


def check_both(what: str) -> None:
    """Assert that OLD and NEW hold what a change has left, for as long."""
    _, _, value, seconds = CHANGES[what]
    assert {name: caches[name].get("key") for name in ("old", "new")} == {"old": value, "new": value}
    if value is not None:
        left = [caches[name].pttl("key") / 1000 for name in ("old", "new")]
        assert seconds - 60 < min(left) <= max(left) <= seconds


@pytest.mark.parametrize("is_filled", [False, True], ids=["empty", "filled"])
@pytest.mark.parametrize("step", [("old", "after"), ("new", "before"), ("new", "after")], ids=str)
@pytest.mark.parametrize("what", CHANGES)
def test_a_copy_between_two_steps_of_a_change_leaves_the_change_in_both(
    cache: Any, between: Hook, what: str, step: tuple[str, str], is_filled: bool
) -> None:
    change, method, _, _ = CHANGES[what]
    if is_filled:
        fill_old()
    hook = between(step[0], method, fill_old, step[1])

    change(cache)
    fill_old()  # finds what the first copy has missed

    assert hook.done or (what == "add" and is_filled)  # which asks NEW for nothing but whether it has the key
    check_both(what)


@pytest.mark.parametrize(
    "old",
    [
        pytest.param(name, marks=[getattr(pytest.mark, marker) for marker in markers_of(name)])
        for name in ("memcached", "postgresql", "mysql", "sqlite", "files")
    ],
)
@pytest.mark.parametrize("what", ["set", "incr", "touch"])
def test_an_old_of_any_kind_gets_the_change(make: Make, between: Hook, old: str, what: str) -> None:
    change, method, value, seconds = CHANGES[what]
    cache = make(old, "client", "new")
    cache.set("key", 38, 1000)
    Now.phase = "dual_new"
    cache.empty_old()
    hook = between("old", method, fill_old)

    change(cache)

    assert hook.done
    assert {name: caches[name].get("key") for name in ("old", "new")} == {"old": value, "new": value}
    # Django's own incr() of tables and files sets the default timeout.
    assert 200 < cache._sides.reader.look(["key"], None)["key"].left <= seconds


@pytest.mark.parametrize("name", ["write", "compare_again"])
@pytest.mark.parametrize("what", CHANGES)
def test_a_change_between_two_steps_of_a_copy_is_left_in_both(
    cache: Any, monkeypatch: pytest.MonkeyPatch, what: str, name: str
) -> None:
    plain, done = getattr(PageCopier, name), list[str]()

    def call(copier: PageCopier, given: Any) -> Any:
        if not done:
            done.append(name)
            CHANGES[what][0](caches["default"])
        return plain(copier, given)

    monkeypatch.setattr(PageCopier, name, call)
    fill_old()

    assert done
    check_both(what)


@pytest.mark.parametrize("what", ["set", "set_many"])
def test_a_write_stays_in_both_though_a_copy_overwrites_it(cache: Any, between: Hook, what: str) -> None:
    fill_old()
    between("old", CHANGES[what][1], lambda: fill_old(overwrite=True))

    CHANGES[what][0](cache)

    check_both(what)


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_stays_though_old_is_emptied_between_its_steps(cache: Any, between: Hook, what: str) -> None:
    fill_old()
    between("old", CHANGES[what][1], cache.empty_old)

    CHANGES[what][0](cache)
    fill_old()

    check_both(what)


@pytest.mark.parametrize("step", [("old", "set", "after"), ("new", "set", "before"), ("new", "set", "after")], ids=str)
def test_two_writers_behind_the_fence_leave_one_value_in_both(
    cache: Any, between: Hook, step: tuple[str, str, str]
) -> None:
    alias, name, when = step
    between(alias, name, lambda: cache.set("key", 40, 1000), when)

    cache.set("key", 39, 1000)

    assert caches["old"].get("key") == caches["new"].get("key") in (39, 40)


@pytest.mark.parametrize(
    "step", [("old", "add", "before"), ("old", "add", "after"), ("new", "incr", "before")], ids=str
)
def test_what_is_deleted_while_it_is_counted_behind_the_fence_stays_deleted(
    cache: Any, between: Hook, step: tuple[str, str, str]
) -> None:
    alias, name, when = step
    hook = between(alias, name, lambda: cache.delete("key"), when)

    with pytest.raises(ValueError, match="not found"):
        cache.incr("key")

    assert hook.done
    assert (caches["old"].get("key"), caches["new"].get("key")) == (None, None)


def test_what_two_count_behind_the_fence_is_counted_twice_in_both(cache: Any, between: Hook) -> None:
    between("old", "add", lambda: cache.incr("key"), "before")

    assert cache.incr("key") == 40
    assert (caches["old"].get("key"), caches["new"].get("key")) == (40, 40)


def test_what_is_added_over_a_value_that_a_copy_brought_back_is_in_both(cache: Any) -> None:
    cache.delete("key")
    caches["old"].set("key", 38, 1000)  # until the copy compares again

    assert cache.add("key", 40, 1000) is True
    assert (caches["old"].get("key"), caches["new"].get("key")) == (40, 40)


def test_an_add_that_fails_leaves_the_value_in_both_though_a_copy_has_passed(cache: Any, between: Hook) -> None:
    between("old", "delete", fill_old, "before")

    assert cache.add("key", 40, 900) is False
    check_both("add")


def test_workers_that_have_come_to_dual_old_are_believed_in_dual_new(cache: Any) -> None:
    fill_old()
    Now.phase = "dual_old"
    cache.set("key", 39, 1000)
    assert cache.add("lock", "theirs", 1000) is True
    cache.set("gone", 1, 1000)
    cache.delete("gone")

    Now.phase = "dual_new"

    assert cache.get("key") == 39
    assert cache.add("lock", "ours", 1000) is False
    assert cache.get("gone") is None
    assert cache.incr("key") == 40


def test_a_worker_that_only_extends_a_value_in_dual_old_lifts_the_fence_as_well(cache: Any) -> None:
    fill_old()
    Now.phase = "dual_old"
    cache.expire("key", 500)
    assert caches["new"].get(FENCE) is None


def test_the_fence_stays_where_old_was_not_emptied(make: Make) -> None:
    cache = make("redis", "client", "dual_new")
    cache.set("key", "deleted later", 1000)
    Now.phase = "new"
    cache.delete("key")
    in_phase("dual_old", lambda: cache.set("other", 1, 1000))()

    Now.phase = "dual_new"
    assert cache.get("key") is None


def test_the_fence_is_closed_again_by_a_write_to_new_alone(cache: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_old()
    monkeypatch.setattr("migrator.caches.transition.cache._workers", {})
    caches.close_all()
    cache._sides.worker.fence_due = 0.0  # a minute later
    Now.phase = "new"
    cache.delete("key")
    in_phase("dual_old", lambda: cache.set("other", 1, 1000))()

    Now.phase = "dual_new"
    assert cache.get("key") is None


def test_what_is_written_in_dual_old_after_a_clear_is_there_in_dual_new(make: Make) -> None:
    cache = make("redis", "client", "dual_new")
    cache.clear()
    Now.phase = "dual_old"
    cache.set("key", "value", 1000)
    Now.phase = "dual_new"
    assert cache.get("key") == "value"


def test_old_is_emptied_behind_the_fence(make: Make, between: Hook) -> None:
    cache = make("redis", "client", "dual_new")
    fences: list[Any] = []
    between("old", "clear", lambda: fences.append(caches["new"].get(FENCE)), "before")

    cache.empty_old()

    assert fences[0] is not None


@pytest.mark.parametrize("phase", ["old", "dual_old", "new"])
def test_old_is_emptied_in_dual_new_alone(make: Make, phase: str) -> None:
    cache = make("redis", "client", phase)
    caches["old"].set("key", "value", 1000)

    with pytest.raises(ImproperlyConfigured) as caught:
        cache.empty_old()

    assert str(caught.value) == (
        f"OLD of the cache 'default' is not emptied in phase {phase}. Deploy dual_new first, in which NEW has every "
        "value and writes reach both caches."
    )
    assert caches["old"].get("key") == "value"
