"""`cache_transition` shows the phase of a cache's transition and the counts of all workers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import caches
from django.test import override_settings

from tests.management.running import run

LOCMEM = "django.core.cache.backends.locmem.LocMemCache"


def transition(phase: Any, name: str = "a") -> dict[str, Any]:
    sides = {side: {"BACKEND": LOCMEM, "LOCATION": f"{name} {side}"} for side in ("OLD", "NEW")}
    return {"BACKEND": "migrator.caches.TransitionCache", **sides, "PHASE": phase}


@pytest.fixture
def moving() -> Iterator[Any]:
    with override_settings(CACHES={"default": transition("dual_new"), "other": {"BACKEND": LOCMEM}}):
        yield caches["default"]
        caches["default"].NEW.clear()


def test_shows_the_phase_and_the_counts(moving: Any) -> None:
    moving.OLD.set("a", 1, 100)
    assert [moving.get("a"), moving.get("a"), moving.get("b")] == [1, 1, None]
    moving.tally().flush()
    shown = run("cache_transition", "--skip-checks")
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.startswith("DUAL_NEW  'default': NEW answers, and takes over values of OLD that it lacks")
    assert "last counted in dual_new " in shown.out
    counted = {words[0]: words[1] for line in shown.out.splitlines() if len(words := line.split()) == 2}
    assert (counted["fallback"], counted["hit_new"], counted["miss"]) == ("1", "1", "1")
    assert len(shown.out.splitlines()) <= 20
    document = json.loads(run("cache_transition", "--skip-checks", "--cache", "default", "--format", "json").out)
    assert (document["schema"], document["phase"]) == ("migrator/cache-transition@1", "dual_new")
    numbers = {one["event"]: one["number"] for one in document["counts"] if one["number"]}
    assert (numbers["fallback"], numbers["hit_new"], numbers["miss"]) == (1, 1, 1)


@pytest.mark.parametrize(
    ("phase", "step"),
    [
        ("old", "when every worker has old: PHASE 'dual_old' in CACHES['default']"),
        (
            "dual_old",
            "when every worker has dual_old, NEW is filled, and shadow_error does not grow: PHASE 'dual_new' in "
            "CACHES['default']",
        ),
        (
            "dual_new",
            "when every worker has dual_new, and neither fallback nor shadow_error grows: PHASE 'new' in "
            "CACHES['default']",
        ),
        ("new", "when every worker has new: the setting of NEW as CACHES['default']"),
    ],
)
def test_names_the_next_step_and_what_to_wait_for(phase: str, step: str) -> None:
    with override_settings(CACHES={"default": transition(phase)}):
        assert run("cache_transition", "--skip-checks").out.splitlines()[-1] == f"Next: {step}"


def test_nothing_is_counted_yet(moving: Any) -> None:
    shown = run("cache_transition", "--skip-checks")
    assert "nothing is counted yet" in shown.out
    assert "Counts" not in shown.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--cache", "defalt"], "CACHES has no alias 'defalt'. Did you mean 'default'? Transitions are: default."),
        (["--cache", "other"], "The cache 'other' is not a TransitionCache. Transitions are: default."),
    ],
)
def test_refuses_what_is_not_a_transition(moving: Any, words: list[str], message: str) -> None:
    shown = run("cache_transition", "--skip-checks", *words)
    assert (shown.code, shown.err) == (2, f"CommandError: {message}\n")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"default": {"BACKEND": LOCMEM}},
            "CACHES has no transition. To begin one, give an entry of CACHES the BACKEND "
            "'migrator.caches.TransitionCache', with OLD, NEW and PHASE.",
        ),
        (
            {"default": transition("old"), "b": transition("new", "b")},
            "Transitions are: b, default. Name the cache with --cache.",
        ),
    ],
)
def test_asks_for_the_name_unless_there_is_one(settings: Any, message: str) -> None:
    with override_settings(CACHES=settings):
        shown = run("cache_transition", "--skip-checks")
    assert (shown.code, shown.err) == (2, f"CommandError: {message}\n")


def test_a_store_that_does_not_answer_is_named_without_its_address() -> None:
    redis = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://:s3cret@127.0.0.1:1/0"}
    with override_settings(CACHES={"default": {**transition("dual_old"), "NEW": redis}}):
        shown = run("cache_transition", "--skip-checks")
    assert shown.code == 1
    assert shown.err.endswith(" The counts in NEW of 'default' cannot be read (redis.exceptions.ConnectionError).\n")
