"""Mistakes in a transition's setting: refused when the cache is used, and reported by `manage.py check` before that."""

from __future__ import annotations

import subprocess
import sys
from io import StringIO
from typing import Any

import pytest
from django.core.cache import caches
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.test import override_settings

import migrator.caches
from tests.caches.transition.conftest import Make
from tests.caches.transition.places import BACKEND, PLAIN, Now, settings_of, transition

REDIS = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://127.0.0.1:1/1"}
CLIENT = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": "redis://127.0.0.1:1/2"}
DUMMY = {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}
LOCAL = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
RIGHT = {"BACKEND": BACKEND, "OLD": REDIS, "NEW": CLIENT, "PHASE": "old"}


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in RIGHT.items() if name != key}


def messages(entry: dict[str, Any], *, deploy: bool = False) -> list[tuple[str, str, str | None]]:
    with override_settings(CACHES={"default": entry, "other": LOCAL, "moving": RIGHT}):
        tags = ["migrator"]
        return [
            (str(found.id), found.msg, found.hint)
            for found in run_checks(tags=tags, include_deployment_checks=deploy)
            if "moving" not in found.msg
        ]


WRONG = [
    ("E020", without("OLD"), "CACHES['default'] has no OLD."),
    ("E020", without("NEW"), "CACHES['default'] has no NEW."),
    ("E021", {**RIGHT, "LOCATION": "redis://"}, "CACHES['default'] has a LOCATION."),
    ("E022", {**RIGHT, "OLD": "nobody"}, "CACHES['default']['OLD'] is 'nobody', which is not an alias in CACHES."),
    ("E022", {**RIGHT, "NEW": {"LOCATION": "x"}}, "CACHES['default']['NEW'] is not a cache setting."),
    ("E022", {**RIGHT, "NEW": 5}, "CACHES['default']['NEW'] is not a cache setting."),
    (
        "E022",
        {**RIGHT, "NEW": {"BACKEND": "nowhere.Cache"}},
        "CACHES['default']['NEW'] has the BACKEND 'nowhere.Cache', which cannot be imported: "
        "No module named 'nowhere'.",
    ),
    ("E023", {**RIGHT, "NEW": "moving"}, "CACHES['default']['NEW'] is a transition itself."),
    ("E023", {**RIGHT, "NEW": RIGHT}, "CACHES['default']['NEW'] is a transition itself."),
    ("E023", {**RIGHT, "OLD": DUMMY}, "CACHES['default']['OLD'] is a DummyCache, which keeps nothing."),
    ("E024", {**RIGHT, "NEW": REDIS}, "OLD and NEW of CACHES['default'] are the same store."),
    (
        "E024",
        {**RIGHT, "NEW": {**CLIENT, "LOCATION": REDIS["LOCATION"]}},
        "OLD and NEW of CACHES['default'] are the same store.",
    ),
    ("E025", {**RIGHT, "Phase": "old"}, "CACHES['default'] has the unknown key 'Phase'."),
    ("E025", {**RIGHT, "OPTIONS": {"X": 1}}, "CACHES['default']['OPTIONS'] has the unknown key 'X'."),
    (
        "E025",
        {**RIGHT, "OPTIONS": {"OLD_DOWN": "ignore"}},
        "CACHES['default']['OPTIONS']['OLD_DOWN'] is 'ignore'.",
    ),
    ("E025", {**RIGHT, "OPTIONS": ["OLD_DOWN"]}, "CACHES['default']['OPTIONS'] is ['OLD_DOWN']."),
    (
        "E022",
        {**RIGHT, "NEW": {**CLIENT, "KEY_FUNCTION": "nowhere.key"}},
        "CACHES['default']['NEW'] has a KEY_FUNCTION that cannot be imported: No module named 'nowhere'.",
    ),
    ("E026", without("PHASE"), "CACHES['default'] has no PHASE."),
    (
        "E026",
        {**RIGHT, "PHASE": "dual"},
        "CACHES['default']['PHASE'] is 'dual', which is not a phase; the phases are old, dual_old, dual_new, new.",
    ),
]


@pytest.mark.parametrize(
    ("number", "entry", "message"), WRONG, ids=[f"{number}-{n}" for n, (number, *_) in enumerate(WRONG)]
)
def test_a_mistake_is_reported_and_refused(number: str, entry: dict[str, Any], message: str) -> None:
    [(text, hint)] = [(text, hint) for found, text, hint in messages(entry) if found == f"migrator.{number}"]
    assert text == message
    assert hint
    with override_settings(CACHES={"default": entry, "other": LOCAL, "moving": RIGHT}):
        for _ in range(2):
            with pytest.raises(ImproperlyConfigured) as caught:
                caches["default"].get("key")
            assert str(caught.value) == f"{message} {hint}"
        caches["default"].close()


def test_plain_check_reports_mistakes_and_does_not_fail() -> None:
    """Django's own checks open every cache, before or after ours."""
    entry = {**without("PHASE"), "PHAES": "old"}
    with override_settings(CACHES={"default": entry}):
        found = [str(message.id) for message in run_checks() if "default" in message.msg]
    assert sorted(found) == ["migrator.E025", "migrator.E026"]


def test_settings_that_would_do_nothing() -> None:
    entry = {**RIGHT, "OLD": "other", "NEW": "new", "KEY_PREFIX": "p"}
    with override_settings(CACHES={"default": entry, "other": LOCAL, "new": REDIS}):
        [found] = [found for found in run_checks(tags=["migrator"]) if found.id != "migrator.W021"]
    assert (found.id, found.msg) == ("migrator.E027", "CACHES['default'] has KEY_PREFIX, and both sides are aliases.")


def test_is_content_with_a_right_setting() -> None:
    assert messages(RIGHT) == []
    assert messages({**RIGHT, "PHASE": lambda: "old"}) == []
    assert messages({**RIGHT, "NEW": {**REDIS, "OPTIONS": {"db": 5}}}) == []
    assert messages({**RIGHT, "OPTIONS": {"OLD_DOWN": "raise", "CLEAR_OLD": True}, "TIMEOUT": 5}) == []


@pytest.mark.parametrize(
    ("number", "entry", "message"),
    [
        ("W021", {**RIGHT, "OLD": LOCAL}, "CACHES['default']['OLD'] is a separate cache in each process."),
        (
            "W022",
            {**RIGHT, "OLD": {"BACKEND": "tests.caches.transition.test_configuration.Strange"}},
            "CACHES['default']['OLD'] is a tests.caches.transition.test_configuration.Strange, which does not "
            "report the time to live of a value.",
        ),
        (
            "W023",
            {**RIGHT, "NEW": {**CLIENT, "OPTIONS": {"IGNORE_EXCEPTIONS": True}}},
            "CACHES['default']['NEW'] has IGNORE_EXCEPTIONS, which hides failed writes.",
        ),
        (
            "W025",
            {**RIGHT, "NEW": {**REDIS, "VERSION": 2}},
            "OLD and NEW of CACHES['default'] differ only in VERSION: calls that pass a version fail.",
        ),
        (
            "W026",
            {**RIGHT, "NEW": {**REDIS, "KEY_PREFIX": "new"}},
            "OLD and NEW of CACHES['default'] share a store, so clear() empties both.",
        ),
    ],
)
def test_a_doubt_is_told(number: str, entry: dict[str, Any], message: str) -> None:
    [(text, hint)] = [(text, hint) for found, text, hint in messages(entry) if found == f"migrator.{number}"]
    assert text == message
    assert hint


class Strange:
    def __init__(self, location: str, params: dict[str, Any]) -> None:
        """Stand for a cache that nobody knows."""


def test_servers_that_do_not_answer_are_told_before_a_deploy() -> None:
    assert messages(RIGHT, deploy=True) == [
        (
            "migrator.W020",
            "OLD or NEW of CACHES['default'] does not answer (ConnectionError).",
            "Check its LOCATION and its server.",
        )
    ]


@pytest.mark.redis
def test_one_place_by_two_names_is_found_by_the_servers(make: Make) -> None:
    same = {**PLAIN["client"], "LOCATION": PLAIN["redis"]["LOCATION"].replace("127.0.0.1", "localhost")}
    entry = transition(PLAIN["redis"], same)
    assert [found for found, *_ in messages(entry, deploy=True)] == ["migrator.E028"]
    make()
    for phase in ("dual_old", "dual_new"):
        with (
            override_settings(CACHES={"default": {**entry, "PHASE": phase}}),
            pytest.raises(ImproperlyConfigured, match=r"^OLD and NEW of the cache 'default' are the same store"),
        ):
            caches["default"].set("key", 1)


@pytest.mark.redis
def test_an_alias_is_the_cache_that_everybody_gets(make: Make) -> None:
    cache = make()
    assert (caches["old"], caches["new"]) == (cache.OLD, cache.NEW)


@pytest.mark.redis
def test_caches_are_copied_by_the_aliases_of_the_sides(make: Make) -> None:
    cache = make("redis", "redis_b", "dual_old")
    cache.set_many({"a": 1, "b": 2}, 1000)

    call_command("copy_cache", source="old", dest="new", no_input=True, stdout=StringIO(), stderr=StringIO())

    assert caches["new"].get_many(["a", "b"]) == {"a": 1, "b": 2}
    cache.set("a", 3)
    Now.phase = "dual_new"
    assert cache.get_many(["a", "b"]) == {"a": 3, "b": 2}


@pytest.mark.redis
def test_a_transition_is_no_cache_to_copy(make: Make) -> None:
    make()
    with pytest.raises(CommandError) as caught:
        call_command("copy_cache", source="default", dest="new", no_input=True, stdout=StringIO(), stderr=StringIO())
    assert str(caught.value) == (
        "The cache 'default' cannot be copied: it is two caches. "
        "Name one of them by its alias; OLD and NEW may be aliases."
    )


def test_the_backend_is_imported_by_those_who_use_it_alone() -> None:
    code = "import sys, migrator.caches; sys.exit('migrator.caches.transition' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    with pytest.raises(AttributeError):
        _ = migrator.caches.Transition
    assert settings_of("redis", "client")["default"]["BACKEND"] == "migrator.caches.TransitionCache"
