"""What a copy of a cache leaves where it is, and what it can carry."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import caches
from django.test import override_settings

from migrator.caches.transition.markers import Marks
from migrator.stores.key_space import is_bookkeeping
from tests.management.running import execute, run
from tests.scenarios.faults.oracle import assert_ended
from tests.sessions.places import CACHE, Place

pytestmark = pytest.mark.redis
OTHER = Place("cache", "redis_other", "cache")
TO_OTHER = ("copy_cache", "--source", "redis", "--dest", "redis_other", "--no-input")


def as_it_is(key: str, prefix: str, version: int) -> str:
    return key


@pytest.mark.parametrize("how", ["plain", "raw keys", "given"])
def test_keys_that_migrator_keeps_for_itself_stay(how: str, ready: Callable[..., None], tmp_path: Any) -> None:
    ready(CACHE, OTHER)
    source: Any = caches["redis"]
    marks = Marks(old=caches["redis_other"], new=source)
    marks.set_fence()
    marks.distrust(["shop"], None)
    ours = [":".join(key.decode().split(":")[2:]) for key in source._cache.get_client().keys("*")]
    ours += ["migrator.tally.cache.dual_new.hit_old", "migrator.tally.cache.new.miss.1790000000000000.number"]
    ours += [f"migrator.transition.probe.{'0' * 32}"]
    source.set_many(dict.fromkeys(ours, 1), None)
    theirs = {"shop": 1, "migrator.transition.plans": 2, "about:migrator.tally": 3}
    source.set_many(theirs, 600)
    assert len(ours) == 5
    given = {**caches.settings, "raw": {**caches.settings["redis"], "KEY_FUNCTION": f"{__name__}.as_it_is"}}
    (tmp_path / "keys").write_text("\n".join([*ours, *theirs]))
    with override_settings(CACHES=given):
        words = (*TO_OTHER[:2], "raw", *TO_OTHER[3:]) if how == "raw keys" else TO_OTHER
        words = (*words, "--keys-from", str(tmp_path / "keys")) if how == "given" else words
        finished = run(*words, "--format", "json")
    assert_ended(finished, 0)
    assert json.loads(finished.out)["counts"]["written"] == len(theirs)
    if how != "given":
        assert "5 keys of migrator's own in the source were not copied." in finished.err
    held = [key.decode() for key in caches["redis_other"]._cache.get_client().keys("*")]  # type: ignore[attr-defined]
    head = ":1::1:" if how == "raw keys" else ":1:"
    assert sorted(held) == sorted(head + key for key in theirs)


def test_a_cache_without_keys_is_no_success(ready: Callable[..., None], tmp_path: Any) -> None:
    ready(CACHE, OTHER)
    for words in (TO_OTHER, (*TO_OTHER, "--dry-run")):
        assert_ended(
            run(*words), 3, "No key was found in cache 'redis' (", "keys :1:…", "KEY_PREFIX, VERSION and KEY_F"
        )
    caches["redis"].set("migrator.transition.fence", 1, None)
    assert is_bookkeeping("migrator.transition.fence")
    assert_ended(run(*TO_OTHER, "--match", "migrator"), 3, "--match")
    (tmp_path / "keys").write_text("absent\n")
    words = (*TO_OTHER, "--keys-from", str(tmp_path / "keys"))
    assert_ended(run(*words), 3, "None of the given keys was found in cache 'redis'")


def test_values_of_one_serializer_change_their_compressor(ready: Callable[..., None]) -> None:
    source, dest = Place("cache", "client_json", "cache"), Place("cache", "json_lzma", "cache")
    entry: dict[str, Any] = caches.settings["client_json"]
    options = {**entry["OPTIONS"], "COMPRESSOR": "django_redis.compressors.lzma.LzmaCompressor"}
    given = {**caches.settings, "json_lzma": {**entry, "LOCATION": entry["LOCATION"][:-1] + "14", "OPTIONS": options}}
    values = {"number": -7, "short": {"a": [1, None]}, "long": {"text": "é" * 900}, "word": "12", "flag": True}
    with override_settings(CACHES=given):
        ready(source, dest, OTHER)
        caches["client_json"].set_many(values, 600)
        assert_ended(run("copy_cache", "--source", "client_json", "--dest", "json_lzma", "--no-input"), 0)
        assert caches["json_lzma"].get_many(values) == values
        words = ("copy_cache", "--source", "client_json", "--dest", "redis_other", "--no-input")
        assert_ended(run(*words), 1, "Give both caches the same serializer", "TransitionCache")
        assert caches["redis_other"].get_many(values) == {}


@pytest.mark.memcached
def test_keys_that_the_client_of_memcached_changes_are_those_of_its_cache(ready: Callable[..., None]) -> None:
    ready(CACHE, OTHER)
    plain = caches.settings["memcached"]
    prefixed = {**plain, "OPTIONS": {**plain.get("OPTIONS", {}), "key_prefix": b"shop."}}
    with override_settings(CACHES={**caches.settings, "prefixed": prefixed}):
        caches["memcached"].clear()
        caches["redis"].set("who", "ann", 600)
        for source, dest in (("redis", "prefixed"), ("prefixed", "redis_other"), ("prefixed", "memcached")):
            assert_ended(run("copy_cache", "--source", source, "--dest", dest, "--no-input"), 0)
            assert caches[dest].get("who") == "ann"


def test_keys_that_are_no_text_go_over_as_they_are(ready: Callable[..., None]) -> None:
    ready(CACHE, OTHER)
    there, here = (caches[alias]._cache.get_client() for alias in ("redis", "redis_other"))  # type: ignore[attr-defined]
    there.set(b":1:\xff\xfe", b"1", ex=600)
    assert_ended(run(*TO_OTHER), 0)
    assert here.get(b":1:\xff\xfe") == b"1"


def test_a_key_that_a_table_refuses_keeps_no_other_back(ready: Callable[..., None]) -> None:
    ready(CACHE)
    table: Any = caches["table"]
    table.clear()
    execute("default", f"CREATE UNIQUE INDEX twins ON {table._table} (cache_key COLLATE NOCASE)")
    try:
        caches["redis"].set_many({"who": 1, "WHO": 2, "what": 3}, 600)
        for _ in range(2):
            finished = run("copy_cache", "--source", "redis", "--dest", "table", "--no-input", "--format", "json")
            assert_ended(finished, 4)
            (problem,) = json.loads(finished.out)["problems"]
            assert problem["what"] == "the table rejects its row (IntegrityError)"
        assert (table.get("what"), {table.get("who"), table.get("WHO")} - {None}) in ((3, {1}), (3, {2}))
    finally:
        execute("default", "DROP INDEX twins")
