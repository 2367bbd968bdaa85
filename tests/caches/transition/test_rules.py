"""What a change of caches promises: nothing lost, nothing stale, and what has ended stays ended."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import caches
from django.core.cache.backends.base import InvalidCacheKey

from migrator.caches.transition.markers import FENCE
from migrator.caches.transition.sides import Sides
from migrator.stores.value_reader import ValueReader
from migrator.transitions.metrics import metrics_for_cache
from tests.caches.transition.conftest import Make, MemoryTally
from tests.caches.transition.places import Now

pytestmark = [pytest.mark.redis]
TELLING = [
    pytest.param("redis"),
    pytest.param("client"),
    pytest.param("herd"),
    pytest.param("memcached", marks=pytest.mark.memcached),
    pytest.param("postgresql", marks=pytest.mark.postgresql),
    pytest.param("mysql", marks=pytest.mark.mysql),
    pytest.param("sqlite"),
    pytest.param("files"),
    pytest.param("locmem"),
]


def left(alias: str, key: str = "key") -> Any:
    """Return how long a side keeps a key yet, `gone` where it does not have it."""
    seen = ValueReader(caches[alias]).look([key], None).get(key)
    return "gone" if seen is None else seen.left


def both(key: str = "key") -> tuple[Any, Any]:
    return caches["old"].get(key), caches["new"].get(key)


# What is in OLD alone


@pytest.mark.parametrize("old", TELLING)
def test_takes_over_a_value_for_the_time_that_it_has_left(make: Make, old: str) -> None:
    cache = make(old, "redis_b")
    caches["old"].set("key", {"a": 1}, 100_000)

    assert cache.get("key") == {"a": 1}
    assert caches["new"].get("key") == {"a": 1}
    assert 99_900 < left("new") <= 100_000


@pytest.mark.parametrize("old", TELLING)
def test_takes_over_for_ever_what_is_kept_for_ever(make: Make, old: str) -> None:
    cache = make(old, "redis_b")
    caches["old"].set("key", "value", None)

    assert cache.get("key") == "value"
    assert left("new") is None


def test_takes_over_none(make: Make) -> None:
    cache = make()
    caches["old"].set("key", None, 1000)

    assert cache.get("key", "default") is None
    assert caches["new"].get("key", "default") is None


def test_serves_without_taking_over_what_does_not_tell_its_end(
    make: Make, monkeypatch: pytest.MonkeyPatch, tally: MemoryTally
) -> None:
    from migrator.stores import value_reader

    monkeypatch.setattr(value_reader, "LIVE_STORES", {})
    cache = make("redis", "redis_b")
    caches["old"].set_many({"key": "value", "number": 1}, 1000)

    assert cache.get_many(["key", "absent"]) == {"key": "value"}
    assert cache.get("key") == "value"
    assert cache.incr("number") == 2
    assert (cache.get("number"), caches["new"].get("key")) == (2, None)
    assert tally.events == {"fallback": 3, "miss": 1, "repaired": 1}


@pytest.mark.parametrize("phase", ["dual_old", "dual_new"])
def test_counts_on_and_keeps_the_end_of_a_number_in_old_alone(make: Make, phase: str) -> None:
    cache = make("redis", "client", phase)
    caches["old"].set("key", 5, 1000)

    assert [cache.incr("key"), cache.decr("key", 3)] == [6, 3]
    assert caches["old"].get("key") == 3
    assert 900 < left("old") <= 1000
    if phase == "dual_new":
        assert caches["new"].get("key") == 3
        assert 900 < left("new") <= 1000


@pytest.mark.parametrize("new", ["files", "sqlite", "locmem", "redis_b"])
def test_keeps_the_end_of_a_number_where_the_backend_alone_would_not(make: Make, new: str) -> None:
    cache = make("redis", new)
    cache.set("key", 5, 1000)

    assert cache.incr("key") == 6
    assert caches["new"].get("key") == 6
    assert 900 < left("new") <= 1000


def test_adds_nothing_over_what_is_in_old_alone(make: Make) -> None:
    cache = make()
    caches["old"].set("key", "first", 1000)

    assert cache.add("key", "second", 5) is False
    assert both() == ("first", "first")
    assert 900 < left("new") <= 1000


def test_touches_what_is_in_old_alone(make: Make) -> None:
    cache = make()
    caches["old"].set("key", "value", 10)

    assert cache.touch("key", 5000) is True
    assert 4900 < left("old") <= 5000
    assert 4900 < left("new") <= 5000


def test_deletes_what_is_in_old_alone(make: Make) -> None:
    cache = make()
    caches["old"].set("key", "value", 1000)

    assert cache.delete("key") is True
    assert both() == (None, None)


def test_moves_the_version_of_what_is_in_old_alone(make: Make) -> None:
    cache = make()
    caches["old"].set("key", "value", 1000)

    assert cache.incr_version("key") == 2
    assert (caches["old"].get("key", version=2), caches["new"].get("key", version=2)) == ("value", "value")
    assert both() == (None, None)
    assert 900 < ValueReader(caches["new"]).look(["key"], 2)["key"].left <= 1000  # type: ignore[operator]


# Both sides


@pytest.mark.parametrize("phase", ["dual_old", "dual_new"])
def test_nothing_earlier_comes_back_when_a_later_value_ends(make: Make, phase: str) -> None:
    cache = make("redis", "client", phase)
    for alias in ("old", "new"):
        caches[alias].set("key", "first", 1000)

    cache.set("key", "second", 100)
    for alias in ("old", "new"):
        if caches[alias].get("key") == "second":
            caches[alias].delete("key")

    for Now.phase in ("dual_old", "dual_new"):
        assert cache.get("key") is None


@pytest.mark.parametrize("write", ["set", "delete", "incr", "touch", "set_many", "delete_many", "incr_version"])
def test_dual_old_leaves_nothing_in_new_that_it_has_changed(make: Make, write: str) -> None:
    cache = make("redis", "client", "dual_old")
    for alias in ("old", "new"):
        caches[alias].set("key", 1, 1000)
    calls: dict[str, Callable[[], Any]] = {
        "set": lambda: cache.set("key", 2),
        "delete": lambda: cache.delete("key"),
        "incr": lambda: cache.incr("key"),
        "touch": lambda: cache.touch("key", 5),
        "set_many": lambda: cache.set_many({"key": 2, "other": 3}),
        "delete_many": lambda: cache.delete_many(["key", "other"]),
        "incr_version": lambda: cache.incr_version("key"),
    }

    calls[write]()

    assert caches["new"].get("key") is None
    answer = cache.get("key")
    Now.phase = "dual_new"
    assert cache.get("key") == answer


def test_dual_new_writes_both(make: Make) -> None:
    cache = make()
    cache.set("set", 1, 1000)
    cache.add("added", 2, 1000)
    cache.set_many({"many": 3}, 1000)
    cache.get_or_set("got", 4, 1000)
    cache.incr("set")

    for alias in ("old", "new"):
        assert caches[alias].get_many(["set", "added", "many", "got"]) == {"set": 2, "added": 2, "many": 3, "got": 4}
        assert all(900 < left(alias, key) <= 1000 for key in ("set", "added", "many", "got"))


def test_both_sides_keep_a_value_as_long_as_new_would(make: Make) -> None:
    cache = make("redis", "client")
    caches["new"].default_timeout = 5000
    cache.set("key", "value")

    assert 4900 < left("old") <= 5000
    assert 4900 < left("new") <= 5000


def test_each_side_spells_keys_in_its_own_way(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.caches.transition import places

    monkeypatch.setitem(places.PLAIN, "redis", {**places.PLAIN["redis"], "KEY_PREFIX": "old", "VERSION": 3})
    monkeypatch.setitem(places.PLAIN, "client", {**places.PLAIN["client"], "KEY_PREFIX": "new"})
    cache = make("redis", "client")
    caches["old"].set("key", "value", 1000)

    assert cache.get("key") == "value"
    assert (cache.make_key("key"), cache.version, cache.key_prefix) == ("new:1:key", 1, "new")
    Now.phase = "dual_old"
    assert (cache.make_key("key"), cache.version, cache.key_prefix) == ("old:3:key", 3, "old")
    assert both() == ("value", "value")


def test_outer_settings_are_the_defaults_of_both_sides(make: Make) -> None:
    from tests.caches.transition.places import PLAIN, transition

    make()
    entry = transition(PLAIN["redis"], {**PLAIN["client"], "TIMEOUT": 70}, TIMEOUT=50, KEY_PREFIX="p", VERSION=4)
    caches.settings["default"] = entry
    del caches["default"]
    cache: Any = caches["default"]

    assert (cache.OLD.default_timeout, cache.NEW.default_timeout) == (50, 70)
    assert cache.OLD.make_key("key") == cache.NEW.make_key("key") == "p:4:key"
    cache.set("key", 1)
    assert cache.OLD.get("key") == 1


@pytest.mark.memcached
def test_says_what_a_backend_says_of_a_key(make: Make) -> None:
    cache = make("redis", "memcached", "dual_new")
    with pytest.raises(InvalidCacheKey):
        cache.get("key with spaces")


@pytest.mark.parametrize(
    ("phase", "hit", "absent"),
    [
        ("dual_old", {"old": ["get_many"]}, {"old": ["get_many"]}),
        ("dual_new", {"new": ["get_many"]}, {"new": ["get_many"], "old": ["get_many"]}),
    ],
)
def test_asks_each_side_once_for_many(
    make: Make, monkeypatch: pytest.MonkeyPatch, phase: str, hit: Any, absent: Any
) -> None:
    cache = make("redis", "client", phase)
    keys = [f"key{number}" for number in range(100)]
    cache.set_many(dict.fromkeys(keys, 1))
    cache.get_many(keys)  # in dual_old NEW has none
    asked: dict[str, list[str]] = {}
    _record(monkeypatch, cache, asked)

    cache.get_many(keys)
    assert asked == hit
    asked.clear()
    cache.get_many([f"absent{number}" for number in range(100)])
    assert asked == absent


@pytest.mark.parametrize("phase", ["dual_old", "dual_new"])
def test_writes_to_each_side_once_for_many(make: Make, monkeypatch: pytest.MonkeyPatch, phase: str) -> None:
    cache = make("redis", "client", phase)
    cache.set("warm", 1)
    asked: dict[str, list[str]] = {}
    _record(monkeypatch, cache, asked)
    cache.set_many({f"key{number}": number for number in range(100)})
    cache.delete_many([f"key{number}" for number in range(100)])

    if phase == "dual_old":
        assert asked == {"old": ["set_many", "delete_many"], "new": ["delete_many", "delete_many"]}
    else:  # and a look at OLD
        assert asked == {"old": ["set_many", "delete_many", "get_many"], "new": ["set_many", "delete_many"]}


def _record(monkeypatch: pytest.MonkeyPatch, cache: Any, asked: dict[str, list[str]]) -> None:
    for alias in ("old", "new"):
        for name in ("get", "set", "delete", "get_many", "set_many", "delete_many", "add", "has_key"):
            plain = getattr(caches[alias], name)

            def call(*args: Any, plain: Any = plain, alias: str = alias, name: str = name, **kwargs: Any) -> Any:
                asked.setdefault(alias, []).append(name)
                return plain(*args, **kwargs)

            monkeypatch.setattr(caches[alias], name, call)


# clear


def test_clear_spares_old_and_lets_nothing_of_it_back(make: Make) -> None:
    cache = make()
    caches["old"].set_many({"key": 1, "number": 1}, 1000)

    cache.clear()

    assert caches["old"].get("key") == 1
    assert cache.get("key") is None
    assert cache.get_many(["key"]) == {}
    assert cache.has_key("key") is False
    assert cache.touch("key", 100) is False
    assert cache.add("key", 2, 100) is True
    with pytest.raises(ValueError, match="not found"):
        cache.incr("number")
    assert cache.delete("number") is False
    cache.set("key", 3)
    assert cache.incr("key") == 4
    assert cache.get("key") == 4


def test_clear_empties_old_when_asked_to(make: Make) -> None:
    cache = make(OPTIONS={"CLEAR_OLD": True})
    for alias in ("old", "new"):
        caches[alias].set("key", 1, 1000)

    cache.clear()

    assert both() == (None, None)
    assert caches["new"].get(FENCE) is None


def test_clear_in_dual_old_empties_both(make: Make) -> None:
    cache = make("redis", "client", "dual_old")
    for alias in ("old", "new"):
        caches[alias].set("key", 1, 1000)

    cache.clear()

    assert both() == (None, None)


# Workers a phase apart


def test_old_alone_and_new_alone_touch_nothing_else(make: Make) -> None:
    cache = make("redis", "client", "old")
    cache.set("key", "value")
    cache.clear()
    cache.set("key", "value")
    assert both() == ("value", None)
    Now.phase = "new"
    assert cache.get("key") is None
    cache.set("key", "newer")
    cache.delete("key")
    assert both() == ("value", None)


def test_what_new_alone_deletes_does_not_come_back_in_dual_new(make: Make) -> None:
    cache = make()
    cache.set("key", "value", 1000)
    caches["old"].set("untouched", "value", 1000)

    Now.phase = "new"
    cache.delete("key")
    cache.delete("untouched")

    Now.phase = "dual_new"
    assert (cache.get("key"), cache.get("untouched")) == (None, None)
    assert cache.add("key", "again", 1000) is True
    assert cache.get("key") == "again"


def test_what_new_alone_clears_does_not_come_back_in_dual_new(make: Make) -> None:
    cache = make()
    caches["old"].set("key", "value", 1000)
    Now.phase = "new"
    cache.set("other", 1)
    cache.clear()
    Now.phase = "dual_new"
    assert cache.get("key") is None


def test_what_new_alone_counts_is_believed_in_dual_new(make: Make) -> None:
    cache = make()
    cache.set("key", 5, 1000)
    Now.phase = "new"
    cache.incr("key")
    Now.phase = "dual_new"
    assert cache.incr("key") == 7
    assert cache.get("key") == 7


@pytest.mark.parametrize(("one", "other"), [("old", "dual_old"), ("dual_old", "dual_new"), ("dual_new", "new")])
def test_neighbours_see_what_each_other_writes(make: Make, one: str, other: str) -> None:
    cache = make()
    for writer, reader in ((one, other), (other, one), (one, other)):
        steps: list[tuple[Callable[[], Any], Any]] = [
            (lambda writer=writer: cache.set("key", f"{writer} 1", 1000), f"{writer} 1"),
            (lambda writer=writer: cache.set_many({"key": f"{writer} 2"}, 1000), f"{writer} 2"),
            (lambda: cache.delete("key"), None),
            (lambda writer=writer: cache.add("key", f"{writer} 3", 1000), f"{writer} 3"),
            (lambda: cache.delete_many(["key"]), None),
            (lambda: cache.set("key", 5, 1000), 5),
            (lambda: cache.incr("key"), 6),
            (lambda: cache.touch("key", 0), None),
        ]
        for number, (write, expected) in enumerate(steps):
            Now.phase = writer
            write()
            for Now.phase in (reader, writer, reader):
                assert cache.get("key") == expected, (writer, reader, number)


@pytest.mark.parametrize("is_constant", [False, True], ids=["own value", "one value for all"])
@pytest.mark.parametrize("first", ["dual_old", "dual_new", "new"])
def test_one_of_two_neighbours_gets_a_lock(make: Make, first: str, is_constant: bool) -> None:
    cache = make()
    neighbours = {"dual_old": ["old", "dual_new"], "dual_new": ["dual_old", "new"], "new": ["dual_new"]}
    for second in neighbours[first]:
        one, other = (1, 1) if is_constant else (first, second)
        Now.phase = first
        assert cache.add("lock", one, 1000) is True
        Now.phase = second
        assert cache.add("lock", other, 1000) is False
        assert cache.add("lock", other, 1000) is False
        assert cache.delete("lock") is True
        assert cache.add("lock", other, 1000) is True
        Now.phase = first
        assert cache.add("lock", one, 1000) is False
        cache.delete("lock")


# One side down


class Down(Exception):
    pass


def break_down(alias: str) -> pytest.MonkeyPatch:
    """Make every method of a side fail; what undoes it is given back."""
    patch = pytest.MonkeyPatch()

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise Down("secret:key=value")

    one = ("get", "set", "add", "delete", "touch", "incr", "decr", "has_key", "incr_version")
    for name in (*one, "get_many", "set_many", "delete_many", "clear", "close"):
        patch.setattr(caches[alias], name, fail)
    sides = caches["default"]._sides  # type: ignore[attr-defined]
    reader = sides.reader if alias == "old" else sides.new_reader
    for name in ("look", "load", "read"):
        patch.setattr(reader, name, fail)
    return patch


def test_an_old_that_is_down_breaks_nothing_in_dual_new(
    make: Make, tally: MemoryTally, caplog: pytest.LogCaptureFixture
) -> None:
    cache = make()
    cache.set_many({"changed": 1, "deleted": 1, "touched": 1, "counted": 1}, 1000)
    patch = break_down("old")
    with caplog.at_level(logging.WARNING):
        cache.set("changed", 2, 1000)
        assert cache.delete("deleted") is True
        assert cache.touch("touched", 500) is True
        assert cache.incr("counted") == 2
        assert cache.add("added", 1) is True
        assert cache.set_many({"many": 1}) == []
        cache.delete_many(["many"])
        assert cache.get("absent", "default") == "default"
        assert cache.get_many(["changed", "absent"]) == {"changed": 2}
        assert cache.has_key("absent") is False
        with pytest.raises(ValueError, match="not found"):
            cache.incr("absent")
        cache.close()
    patch.undo()

    assert tally.events["shadow_error"] == 12
    assert "secret" not in caplog.text
    assert "changed" not in caplog.text
    assert caplog.records[0].name == "migrator.caches.transition"
    assert caplog.records[0].getMessage() == (
        "OLD of the cache 'default' failed to set in phase dual_new (tests.caches.transition.test_rules.Down)."
    )
    # OLD is back with what it missed; NEW forgets, and nothing earlier comes back.
    assert caches["old"].get_many(["changed", "deleted", "counted"]) == {"changed": 1, "deleted": 1, "counted": 1}
    caches["new"].delete_many(["changed", "touched", "counted"])
    assert cache.get_many(["changed", "deleted", "touched", "counted"]) == {}
    assert cache.add("deleted", 2) is True


def test_an_old_that_is_down_can_be_an_error_for_reads(make: Make) -> None:
    cache = make(OPTIONS={"OLD_DOWN": "raise"})
    cache.set("key", 1)
    patch = break_down("old")
    try:
        assert cache.get("key") == 1
        with pytest.raises(Down):
            cache.get("absent")
        cache.set("key", 2)
    finally:
        patch.undo()


def test_a_new_that_is_down_breaks_nothing_in_dual_old_and_keeps_nothing_stale(make: Make, tally: MemoryTally) -> None:
    cache = make("redis", "client", "dual_old")
    for alias in ("old", "new"):
        caches[alias].set_many({"changed": 1, "deleted": 1}, 1000)
    patch = break_down("new")
    cache.set("changed", 2, 1000)
    assert cache.delete("deleted") is True
    assert cache.get("changed") == 2
    patch.undo()
    assert tally.events["shadow_error"] == 2

    cache.set("other", 1)  # the next write makes up for it

    Now.phase = "dual_new"
    assert (cache.get("changed"), cache.get("deleted")) == (2, None)


@pytest.mark.parametrize("phase", ["dual_old", "dual_new", "new"])
def test_a_new_that_was_down_is_made_up_for_by_a_read_as_well(make: Make, phase: str) -> None:
    cache = make("redis", "client", "dual_old")
    caches["new"].set("key", 1, 1000)
    patch = break_down("new")
    cache.delete("key")
    assert cache.get("other") is None
    patch.undo()
    cache._sides.worker.owed.retry_at = 0.0  # a second later

    Now.phase = phase
    cache.get("other")

    assert caches["new"].get("key") is None


@pytest.mark.parametrize(("phase", "authority"), [("dual_old", "old"), ("dual_new", "new")])
@pytest.mark.parametrize("name", ["get", "set", "add", "delete", "touch", "incr", "has_key", "clear"])
def test_errors_of_the_side_that_decides_are_raised(make: Make, phase: str, authority: str, name: str) -> None:
    cache = make("redis", "client", phase)
    cache.set("key", 1)
    patch = break_down(authority)
    arguments = {"set": ["key", 1], "add": ["key", 1], "clear": []}
    try:
        with pytest.raises(Down):
            getattr(cache, name)(*arguments.get(name, ["key"]))
    finally:
        patch.undo()


# Extras, closing, counting


def test_offers_what_both_backends_offer(make: Make) -> None:
    from tests.caches.transition import places

    cache = make("client", "redis")
    assert not hasattr(cache, "ttl")  # NEW has none
    caches.settings["new"] = {**places.PLAIN["client"], "KEY_PREFIX": "b"}
    for alias in ("new", "default"):
        del caches[alias]
    cache = caches["default"]
    caches["old"].set("old only", 1, 1000)
    cache.set("both", 2, 1000)
    assert 900 < cache.ttl("old only") <= 1000
    assert cache.ttl("absent") == 0
    assert sorted(cache.keys("*")) == ["both", "old only"]
    assert sorted(cache.iter_keys("b*")) == ["both"]
    assert cache.expire("both", 10) is True
    assert max(left("old", "both"), left("new", "both")) <= 10
    assert cache.persist("both") is True
    assert (left("old", "both"), left("new", "both")) == (None, None)
    with cache.lock("lock", timeout=10):
        assert cache.lock("lock", timeout=10).acquire(blocking=False) is False
        assert caches["old"].lock("lock").acquire(blocking=False) is False  # type: ignore[attr-defined]
        assert caches["new"].lock("lock").acquire(blocking=False) is False  # type: ignore[attr-defined]
    assert cache.lock("lock", timeout=10).acquire(blocking=False) is True
    assert cache.delete_pattern("*o*") >= 2
    assert (caches["old"].get("both"), caches["new"].get("both")) == (None, None)


def test_tells_the_truth_of_what_it_does_not_offer(make: Make) -> None:
    cache = make("client", "redis")
    for Now.phase in ("dual_old", "dual_new"):
        assert not hasattr(cache, "get_client")
        assert not hasattr(cache, "client")
        with pytest.raises(AttributeError, match=r"^'client' is an attribute of one of the two caches\. In phase"):
            _ = cache.client
        with pytest.raises(AttributeError, match=r"^'nonsense' is not an attribute of either cache"):
            _ = cache.nonsense
    Now.phase = "old"
    assert cache.client is caches["old"].client
    Now.phase = "new"
    assert not hasattr(cache, "client")


def test_closes_both(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = make()
    closed = []
    for alias in ("old", "new"):
        monkeypatch.setattr(caches[alias], "close", lambda alias=alias, **kwargs: closed.append((alias, kwargs)))
    cache.close(signal="s")
    asyncio.run(cache.aclose(signal="s"))
    assert closed == [("old", {"signal": "s"}), ("new", {"signal": "s"})] * 2


def test_counts_where_values_were_found(make: Make, tally: MemoryTally) -> None:
    cache = make()
    caches["old"].set("key", 1, 1000)
    cache.get("key")
    cache.get("key")
    cache.get("absent")
    cache.get_many(["key", "absent"])
    assert tally.events == {"fallback": 1, "promoted": 1, "hit_new": 2, "miss": 2}
    tally.events.clear()
    Now.phase = "dual_old"
    cache.get_many(["key", "absent"])
    cache.get("key")
    assert tally.events == {"hit_old": 2, "miss": 1}


def test_counts_of_all_workers_are_added_up_in_new(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("migrator.caches.transition.cache.metrics_for_cache", metrics_for_cache)
    cache = make()
    caches["old"].set("key", 1, 1000)
    for key in ("key", "key", "absent"):
        cache.get(key)

    cache.tally().flush()

    counts = metrics_for_cache("cache.default", caches["new"]).read().counts
    found = {event: count.number for (phase, event), count in counts.items() if phase == cache.phase and count.number}
    assert found == {"fallback": 1, "promoted": 1, "hit_new": 1, "miss": 1}


def test_a_key_is_told_apart_by_its_version_where_old_has_missed_a_write(make: Make) -> None:
    cache = make()
    cache.set("key", 1, 1000)
    cache.set("key", 1, 1000, version=2)
    patch = break_down("old")
    cache.delete("key", version=1)
    patch.undo()
    caches["new"].delete("key", version=2)

    assert (cache.get("key"), cache.get("key", version=2)) == (None, 1)


def test_follows_the_phase_at_every_call(make: Make) -> None:
    cache = make("redis", "client", "old")
    cache.set("key", "value", 1000)
    seen = []
    for Now.phase in ("dual_old", "dual_new", "new", "dual_new", "dual_old", "old"):
        seen.append((str(cache.phase), cache.get("key")))
    assert [value for _, value in seen] == ["value"] * 6


def test_looks_once_in_a_process_whether_the_sides_are_two(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr("migrator.caches.transition.sides.same_by_server", lambda old, new: asked.append(1))
    cache = make("redis", "herd")
    cache.get("key")
    del caches["default"]
    caches["default"].get("key")
    assert isinstance(cache._sides, Sides)
    assert asked == [1]
