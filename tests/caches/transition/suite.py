"""What every cache of Django's does: one suite, for plain backends and for transitions, called and awaited."""

from __future__ import annotations

import time
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.cache.backends.base import BaseCache


class Called:
    """A cache as it is called."""

    def __init__(self, cache: BaseCache) -> None:
        self.cache = cache

    def __getattr__(self, name: str) -> Any:
        return getattr(self.cache, name)

    def __contains__(self, key: str) -> bool:
        return key in self.cache


class Awaited(Called):
    """The same methods, through their asynchronous twins."""

    def __getattr__(self, name: str) -> Any:
        return async_to_sync(getattr(self.cache, f"a{name}"))

    def __contains__(self, key: str) -> bool:
        return bool(self.has_key(key))


def eventually(condition: Any, seconds: float = 8.0) -> bool:
    """Wait until something holds, for as long as a slow machine may need."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.05)
    return False


class CacheSuite:
    """Behaviours that need no waiting; a subclass gives the cache."""

    @pytest.fixture
    def cache(self) -> Any:
        raise NotImplementedError

    # get and set

    def test_gives_what_was_set(self, cache: Any) -> None:
        cache.set("key", "value")
        assert cache.get("key") == "value"

    def test_gives_none_for_what_is_not_there(self, cache: Any) -> None:
        assert cache.get("absent") is None

    def test_gives_the_default_for_what_is_not_there(self, cache: Any) -> None:
        assert cache.get("absent", "default") == "default"

    def test_does_not_give_the_default_for_what_is_there(self, cache: Any) -> None:
        cache.set("key", "")
        assert cache.get("key", "default") == ""

    def test_tells_none_from_nothing(self, cache: Any) -> None:
        cache.set("none", None)
        assert cache.get("none", "default") is None

    def test_keeps_values_as_they_are(self, cache: Any) -> None:
        values = ["text", "é 漢", b"\x00\xff", 7, -3, 1.5, True, [1, [2]], {"a": {"b": 1}}, (1, 2), {1, 2}]
        for number, value in enumerate(values):
            cache.set(f"value{number}", value)
        found = [cache.get(f"value{number}") for number, _ in enumerate(values)]
        assert [(value, type(value)) for value in found] == [(value, type(value)) for value in values]

    def test_sets_over(self, cache: Any) -> None:
        cache.set("key", 1)
        cache.set("key", 2)
        assert cache.get("key") == 2

    def test_does_not_share_what_it_holds(self, cache: Any) -> None:
        value = [1]
        cache.set("list", value)
        value.append(2)
        cache.get("list").append(3)
        assert cache.get("list") == [1]

    def test_keeps_for_ever_with_a_timeout_of_none(self, cache: Any) -> None:
        cache.set("key", "value", None)
        assert cache.get("key") == "value"

    def test_keeps_until_then(self, cache: Any) -> None:
        cache.set("key", "value", 1000)
        assert cache.get("key") == "value"

    @pytest.mark.parametrize("timeout", [0, -1])
    def test_sets_nothing_with_a_timeout_that_is_over(self, cache: Any, timeout: int) -> None:
        cache.set("key", "value", timeout)
        assert cache.get("key") is None

    @pytest.mark.parametrize("timeout", [0, -1])
    def test_drops_what_is_there_with_a_timeout_that_is_over(self, cache: Any, timeout: int) -> None:
        cache.set("key", "first")
        cache.set("key", "second", timeout)
        assert cache.get("key") is None

    def test_takes_arguments_by_name(self, cache: Any) -> None:
        cache.set(key="key", value="value", timeout=100, version=2)
        assert cache.get(key="key", default=None, version=2) == "value"

    def test_takes_a_month_and_more(self, cache: Any) -> None:
        cache.set("key", "value", 60 * 60 * 24 * 30 + 1)
        assert cache.get("key") == "value"

    def test_takes_keys_of_all_languages(self, cache: Any) -> None:
        cache.set("ключ", "value")
        assert cache.get("ключ") == "value"

    # has_key

    def test_has_what_was_set(self, cache: Any) -> None:
        cache.set("key", "value")
        assert cache.has_key("key") is True
        assert cache.has_key("absent") is False

    def test_has_a_none(self, cache: Any) -> None:
        cache.set("none", None)
        assert cache.has_key("none") is True

    def test_contains_what_was_set(self, cache: Any) -> None:
        cache.set("key", "value")
        assert "key" in cache
        assert "absent" not in cache

    # add

    def test_adds_what_is_not_there(self, cache: Any) -> None:
        assert cache.add("key", "first") is True
        assert cache.get("key") == "first"

    def test_adds_nothing_to_what_is_there(self, cache: Any) -> None:
        cache.set("key", "first")
        assert cache.add("key", "second") is False
        assert cache.get("key") == "first"

    def test_adds_after_a_delete(self, cache: Any) -> None:
        cache.add("key", "first")
        cache.delete("key")
        assert cache.add("key", "second") is True
        assert cache.get("key") == "second"

    def test_adds_nothing_over_a_none(self, cache: Any) -> None:
        cache.set("none", None)
        assert cache.add("none", "value") is False
        assert cache.get("none", "default") is None

    # delete

    def test_deletes(self, cache: Any) -> None:
        cache.set("key", "value")
        assert cache.delete("key") is True
        assert cache.get("key") is None

    def test_tells_that_there_was_nothing_to_delete(self, cache: Any) -> None:
        assert cache.delete("absent") is False

    def test_deletes_a_none(self, cache: Any) -> None:
        cache.set("none", None)
        assert cache.delete("none") is True
        assert cache.has_key("none") is False

    def test_deletes_one_key_alone(self, cache: Any) -> None:
        cache.set_many({"a": 1, "b": 2})
        cache.delete("a")
        assert cache.get("b") == 2

    # touch

    def test_touches_what_is_there_alone(self, cache: Any) -> None:
        cache.set("key", "value", 100)
        assert cache.touch("key", 200) is True
        assert cache.touch("absent") is False

    def test_touches_for_ever(self, cache: Any) -> None:
        cache.set("key", "value", 1000)
        assert cache.touch("key", None) is True
        assert cache.get("key") == "value"

    @pytest.mark.parametrize("timeout", [0, -1])
    def test_touches_to_the_end(self, cache: Any, timeout: int) -> None:
        cache.set("key", "value", 1000)
        assert cache.touch("key", timeout) is True
        assert eventually(lambda: cache.get("key") is None)

    def test_keeps_the_value_that_is_touched(self, cache: Any) -> None:
        cache.set("key", {"a": 1}, 100)
        cache.touch("key")
        assert cache.get("key") == {"a": 1}

    # incr and decr

    def test_counts_up_and_down(self, cache: Any) -> None:
        cache.set("number", 10)
        assert cache.incr("number") == 11
        assert cache.incr("number", 10) == 21
        assert cache.decr("number") == 20
        assert cache.decr("number", 5) == 15
        assert cache.get("number") == 15

    def test_counts_with_a_negative_step(self, cache: Any) -> None:
        cache.set("number", 10)
        assert cache.incr("number", -3) == 7
        assert cache.decr("number", -3) == 10

    @pytest.mark.parametrize("name", ["incr", "decr"])
    def test_counts_nothing_that_is_not_there(self, cache: Any, name: str) -> None:
        with pytest.raises(ValueError, match="not found"):
            getattr(cache, name)("absent")
        assert cache.get("absent") is None

    def test_counts_on_from_what_was_added(self, cache: Any) -> None:
        cache.add("number", 0, 100)
        for expected in (1, 2, 3):
            assert cache.incr("number") == expected

    def test_counts_versions_apart(self, cache: Any) -> None:
        cache.set("number", 1, version=2)
        cache.set("number", 10, version=3)
        assert cache.incr("number", version=2) == 2
        assert cache.get("number", version=3) == 10

    # many

    def test_gets_many(self, cache: Any) -> None:
        for number, key in enumerate("abc"):
            cache.set(key, number)
        assert cache.get_many(["a", "c", "absent"]) == {"a": 0, "c": 2}

    def test_gets_many_of_an_iterator(self, cache: Any) -> None:
        cache.set("a", 1)
        assert cache.get_many(iter(["a", "b"])) == {"a": 1}

    def test_gets_none_of_many(self, cache: Any) -> None:
        assert cache.get_many(["a", "b"]) == {}

    def test_gets_a_none_among_many(self, cache: Any) -> None:
        cache.set("none", None)
        assert cache.get_many(["none", "absent"]) == {"none": None}

    def test_sets_many(self, cache: Any) -> None:
        assert cache.set_many({"a": 1, "b": "two"}) == []
        assert (cache.get("a"), cache.get("b")) == (1, "two")

    def test_sets_many_for_ever(self, cache: Any) -> None:
        cache.set_many({"a": 1, "b": 2}, None)
        assert cache.get_many(["a", "b"]) == {"a": 1, "b": 2}

    def test_sets_many_of_a_version(self, cache: Any) -> None:
        cache.set_many({"a": 1}, version=2)
        assert (cache.get("a"), cache.get("a", version=2)) == (None, 1)

    def test_deletes_many(self, cache: Any) -> None:
        cache.set_many({"a": 1, "b": 2, "c": 3})
        cache.delete_many(["a", "b", "absent"])
        assert cache.get_many(["a", "b", "c"]) == {"c": 3}

    def test_deletes_many_of_an_iterator(self, cache: Any) -> None:
        cache.set_many({"a": 1, "b": 2})
        cache.delete_many(iter(["a", "b"]))
        assert cache.get_many(["a", "b"]) == {}

    # get_or_set

    def test_gets_or_sets(self, cache: Any) -> None:
        assert cache.get_or_set("key", "first") == "first"
        assert cache.get_or_set("key", "second") == "first"

    def test_gets_or_calls(self, cache: Any) -> None:
        assert cache.get_or_set("key", lambda: "made") == "made"
        assert cache.get("key") == "made"

    def test_gets_or_sets_a_none(self, cache: Any) -> None:
        assert cache.get_or_set("none", None) is None
        assert cache.get("none", "default") is None

    def test_calls_nothing_for_what_is_there(self, cache: Any) -> None:
        cache.set("key", None)
        assert cache.get_or_set("key", lambda: pytest.fail("called")) is None

    # versions

    def test_keeps_versions_apart(self, cache: Any) -> None:
        cache.set("key", "one")
        cache.set("key", "two", version=2)
        assert (cache.get("key"), cache.get("key", version=1), cache.get("key", version=2)) == ("one", "one", "two")

    def test_deletes_a_version_alone(self, cache: Any) -> None:
        cache.set("key", "one")
        cache.set("key", "two", version=2)
        cache.delete("key")
        assert (cache.get("key"), cache.get("key", version=2)) == (None, "two")

    def test_adds_and_touches_a_version_alone(self, cache: Any) -> None:
        cache.set("key", "one")
        assert cache.add("key", "two", version=2) is True
        assert cache.touch("key", 100, version=3) is False
        assert cache.has_key("key", version=2) is True

    def test_moves_to_another_version(self, cache: Any) -> None:
        cache.set("key", "value")
        assert cache.incr_version("key") == 2
        assert (cache.get("key"), cache.get("key", version=2)) == (None, "value")

    def test_moves_back_to_another_version(self, cache: Any) -> None:
        cache.set("key", "value", version=2)
        assert cache.decr_version("key", version=2) == 1
        assert (cache.get("key"), cache.get("key", version=2)) == ("value", None)

    @pytest.mark.parametrize("name", ["incr_version", "decr_version"])
    def test_moves_nothing_that_is_not_there(self, cache: Any, name: str) -> None:
        with pytest.raises(ValueError, match="not found"):
            getattr(cache, name)("absent")

    # the whole

    def test_clears(self, cache: Any) -> None:
        cache.set_many({"a": 1, "b": 2})
        cache.clear()
        assert cache.get_many(["a", "b"]) == {}
        assert cache.add("a", 3) is True

    def test_can_be_closed_and_used_again(self, cache: Any) -> None:
        cache.set("key", "value")
        cache.close(signal="any", sender=None)
        assert cache.get("key") == "value"

    def test_takes_a_value_of_some_size(self, cache: Any) -> None:
        cache.set("large", "x" * 100_000)
        assert len(cache.get("large")) == 100_000


class TimedSuite:
    """Behaviours that only time shows."""

    @pytest.fixture
    def cache(self) -> Any:
        raise NotImplementedError

    def test_forgets_in_time(self, cache: Any) -> None:
        cache.set("key", "value", 1)
        assert eventually(lambda: cache.get("key") is None)

    def test_adds_what_has_expired(self, cache: Any) -> None:
        cache.set("key", "first", 1)
        assert eventually(lambda: cache.add("key", "second", 100))
        assert cache.get("key") == "second"

    def test_adds_for_a_time(self, cache: Any) -> None:
        cache.add("key", "value", 1)
        assert eventually(lambda: cache.get("key") is None)

    def test_touches_to_an_end_that_is_nearer(self, cache: Any) -> None:
        cache.set("key", "value", 1000)
        assert cache.touch("key", 1) is True
        assert eventually(lambda: cache.get("key") is None)

    def test_touches_to_an_end_that_is_further(self, cache: Any) -> None:
        cache.set("key", "value", 2)
        assert cache.touch("key", 1000) is True
        time.sleep(3.1)
        assert cache.get("key") == "value"

    def test_sets_many_for_a_time(self, cache: Any) -> None:
        cache.set_many({"a": 1, "b": 2}, 1)
        assert eventually(lambda: cache.get_many(["a", "b"]) == {})
