"""What happens between two steps of a worker: another one acts there, and the outcome is the same as in some order."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.cache import caches
from django.db import transaction

from tests.caches.transition.conftest import Hook, Make, MemoryTally, in_phase
from tests.caches.transition.places import Now

pytestmark = [pytest.mark.redis]


OTHERS = ["dual_old", "dual_new", "new"]


@pytest.mark.parametrize("phase", OTHERS)
@pytest.mark.parametrize("step", [("old", "get", "after"), ("new", "add", "before"), ("new", "add", "after")], ids=str)
def test_a_value_that_is_deleted_while_it_is_promoted_stays_deleted(
    make: Make, between: Hook, phase: str, step: tuple[str, str, str]
) -> None:
    cache = make()
    caches["old"].set("key", "logged in", 1000)
    alias, name, when = step
    hook = between(alias, name, in_phase(phase, lambda: cache.delete("key")), when)

    cache.get("key")

    assert hook.done
    assert cache.get("key") is None
    assert caches["new"].get("key") is None


@pytest.mark.parametrize("phase", OTHERS)
@pytest.mark.parametrize("step", [("old", "get", "after"), ("new", "add", "before"), ("new", "add", "after")], ids=str)
def test_a_value_that_is_set_while_it_is_promoted_is_the_later_one(
    make: Make, between: Hook, phase: str, step: tuple[str, str, str]
) -> None:
    cache = make()
    caches["old"].set("key", 1, 1000)
    alias, name, when = step
    hook = between(alias, name, in_phase(phase, lambda: cache.set("key", 2, 1000)), when)

    cache.get("key")

    assert hook.done
    assert cache.get("key") == 2
    assert caches["new"].get("key") in (2, None) if phase == "dual_old" else caches["new"].get("key") == 2


@pytest.mark.parametrize("phase", ["dual_old", "dual_new"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_value_that_is_touched_while_it_is_promoted_ends_when_it_was_told_to(
    make: Make, between: Hook, phase: str, when: str
) -> None:
    cache = make()
    caches["old"].set("key", 1, 1000)
    hook = between("new", "add", in_phase(phase, lambda: cache.touch("key", 20)), when)

    cache.get("key")

    assert hook.done
    assert cache.get("key") == 1
    reader = cache._sides.new_reader
    assert reader.look(["key"], None)["key"].left <= 20


@pytest.mark.parametrize("phase", ["dual_old", "dual_new"])
def test_many_that_change_while_they_are_promoted(make: Make, between: Hook, phase: str) -> None:
    cache = make()
    caches["old"].set_many({"deleted": 1, "changed": 1, "same": 1}, 1000)

    def act() -> None:
        cache.delete("deleted")
        cache.set("changed", 2, 1000)

    between("new", "add", in_phase(phase, act))
    cache.get_many(["deleted", "changed", "same"])

    assert cache.get_many(["deleted", "changed", "same"]) == {"changed": 2, "same": 1}


STEPS = [("old", "set", "after"), ("new", "set", "before"), ("new", "set", "after")]


@pytest.mark.parametrize("phase", ["dual_old", "dual_new"])
@pytest.mark.parametrize("step", STEPS, ids=str)
def test_two_writers_leave_one_value_in_both(
    make: Make, between: Hook, phase: str, step: tuple[str, str, str], tally: MemoryTally
) -> None:
    cache = make()
    cache.set("key", 0, 1000)
    alias, name, when = step
    hook = between(alias, name, in_phase(phase, lambda: cache.set("key", 2, 1000)), when)

    cache.set("key", 1, 1000)

    assert hook.done
    answer = cache.get("key")
    assert answer in (1, 2)
    assert caches["old"].get("key") == caches["new"].get("key") == answer


@pytest.mark.parametrize("phase", ["dual_old", "dual_new"])
@pytest.mark.parametrize("step", STEPS, ids=str)
def test_a_writer_and_a_deleter_agree(make: Make, between: Hook, phase: str, step: tuple[str, str, str]) -> None:
    cache = make()
    cache.set("key", 0, 1000)
    alias, name, when = step
    between(alias, name, in_phase(phase, lambda: cache.delete("key")), when)

    cache.set("key", 1, 1000)

    # The deletion came last: nothing on either side, now or when one side forgets.
    assert (caches["old"].get("key"), caches["new"].get("key"), cache.get("key")) == (None, None, None)


@pytest.mark.parametrize("phase", ["dual_old", "dual_new"])
def test_many_writers_leave_one_value_in_both(make: Make, between: Hook, phase: str) -> None:
    cache = make()
    between("old", "set_many", in_phase(phase, lambda: cache.set_many({"a": 2, "b": 2}, 1000)))

    cache.set_many({"a": 1, "b": 1, "c": 1}, 1000)

    found = cache.get_many(["a", "b", "c"])
    assert found == {"a": 2, "b": 2, "c": 1}
    assert caches["old"].get_many(["a", "b", "c"]) == found


@pytest.mark.parametrize("phase", ["dual_old", "dual_new"])
@pytest.mark.parametrize(
    "step", [("old", "incr", "after"), ("new", "incr", "before"), ("new", "incr", "after")], ids=str
)
def test_no_count_is_lost(make: Make, between: Hook, phase: str, step: tuple[str, str, str]) -> None:
    cache = make()
    cache.set("key", 0, 1000)
    alias, name, when = step
    between(alias, name, in_phase(phase, lambda: cache.incr("key")), when)

    cache.incr("key")

    assert cache.get("key") == 2
    assert caches["old"].get("key") == 2


@pytest.mark.parametrize("phase", ["dual_old", "dual_new", "new"])
@pytest.mark.parametrize("step", [("old", "add", "after"), ("new", "add", "before"), ("new", "add", "after")], ids=str)
def test_one_of_two_gets_a_key(make: Make, between: Hook, phase: str, step: tuple[str, str, str]) -> None:
    cache = make()
    answers = []
    alias, name, when = step
    between(alias, name, in_phase(phase, lambda: answers.append(cache.add("key", "theirs", 1000))), when)

    answers.append(cache.add("key", "ours", 1000))

    assert sorted(answers) == [False, True]
    assert cache.get("key") == ("theirs" if answers[0] else "ours")


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_reader_that_promotes_what_is_being_added_takes_it_from_nobody(make: Make, between: Hook, when: str) -> None:
    cache = make()
    hook = between("new", "add", lambda: cache.get("key"), when)

    assert cache.add("key", "ours", 1000) is True
    assert hook.done
    assert cache.get("key") == caches["old"].get("key") == "ours"


def test_a_value_that_is_deleted_while_it_is_added_stays_deleted(make: Make, between: Hook) -> None:
    cache = make()
    between("old", "add", lambda: cache.delete("key"))

    assert cache.add("key", "value", 1000) is True
    assert (caches["old"].get("key"), caches["new"].get("key")) == (None, None)


@pytest.mark.parametrize("many", [False, True])
def test_a_value_that_a_copy_puts_back_into_old_is_deleted_there_as_well(make: Make, between: Hook, many: bool) -> None:
    cache = make()
    cache.set("key", "value", 1000)
    between("old", "delete_many" if many else "delete", lambda: caches["old"].set("key", "value", 1000))

    if many:
        cache.delete_many(["key", "other"])
    else:
        assert cache.delete("key") is True

    assert (caches["old"].get("key"), caches["new"].get("key")) == (None, None)


@pytest.mark.parametrize("phase", ["dual_old", "dual_new"])
@pytest.mark.parametrize("step", [("old", "delete", "after"), ("new", "delete", "after")], ids=str)
def test_a_value_that_is_set_while_another_is_deleted_is_in_both_or_in_none(
    make: Make, between: Hook, phase: str, step: tuple[str, str, str]
) -> None:
    cache = make()
    cache.set("key", 1, 1000)
    alias, name, when = step
    between(alias, name, in_phase(phase, lambda: cache.set("key", 2, 1000)), when)

    cache.delete("key")

    answer = cache.get("key")
    assert answer in (2, None)
    assert caches["old"].get("key") == answer


def test_a_key_that_is_given_back_to_new_alone_is_not_promoted_again(make: Make, between: Hook) -> None:
    cache = make()
    caches["old"].set("key", "value", 1000)
    between("new", "add", in_phase("new", lambda: cache.delete("key")), "before")

    cache.get("key")

    assert caches["new"].get("key") is None
    assert cache.get("key") is None


def test_a_promotion_is_taken_back_where_old_goes_down_before_the_second_look(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = make()
    caches["old"].set("key", "value", 1000)
    plain, looks = cache._sides.reader.look, []

    def look(*args: Any) -> Any:
        looks.append(args)
        if len(looks) > 1:
            raise OSError("down")
        return plain(*args)

    monkeypatch.setattr(cache._sides.reader, "look", look)

    assert cache.get("key") == "value"
    assert caches["new"].get("key") is None


def test_a_number_stays_where_old_goes_down_while_new_follows_it(
    make: Make, between: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = make()
    cache.set("key", 5, 1000)

    def look(*args: Any) -> Any:
        raise OSError("down")

    between("old", "incr", lambda: caches["old"].incr("key"))
    monkeypatch.setattr(cache._sides.reader, "look", look)
    caches["old"].incr("key")

    cache.incr("key")

    assert caches["new"].get("key") == 6


class Plain:
    """Equal to nothing but itself, and stored as it is."""

    def __init__(self, number: int) -> None:
        self.number = number


def test_values_that_know_no_equality_are_kept(make: Make, tally: MemoryTally) -> None:
    cache = make()
    cache.set("key", Plain(5), 1000)
    assert caches["new"].get("key").number == 5
    assert tally.events["repaired"] == 0


@pytest.mark.postgresql
@pytest.mark.parametrize("phase", ["dual_old", "dual_new"])
def test_what_a_transaction_deletes_does_not_come_back_by_those_who_did_not_see_it(make: Make, phase: str) -> None:
    cache = make("postgresql", "redis", phase)
    caches["old"].set("key", "value", 1000)
    with transaction.atomic(using="postgresql_a"):
        cache.delete("key")
        # Another worker reads the row as it was, and promotes it.
        caches["new"].set("key", "value", 1000)
    Now.phase = "dual_new"
    assert cache.get("key") is None
