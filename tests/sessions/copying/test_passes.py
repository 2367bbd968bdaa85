"""Passes that follow the source, and the one after the switch that leaves the destination's own doings alone."""

import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches

from migrator.clock import now
from migrator.errors import Refused, UsageError
from migrator.sessions.copying.run import CopyResult, copy_sessions
from migrator.sessions.records import CopyOptions
from migrator.stores.base import Record
from tests.sessions.places import CACHE, HOUR, ROWS, Place, cache, data_of, held, opened, put, table

pytestmark = pytest.mark.redis
WAYS = [
    pytest.param(CACHE, table("postgresql_a").values[0], marks=pytest.mark.postgresql, id="redis-to-postgresql"),
    pytest.param(table("mysql_a").values[0], CACHE, marks=pytest.mark.mysql, id="mysql-to-redis"),
    pytest.param(ROWS, cache("memcached").values[0], marks=pytest.mark.memcached, id="sqlite-to-memcached"),
    pytest.param(CACHE, ROWS, id="redis-to-sqlite"),
]


def end(place: Place, key: str) -> None:
    """Log out."""
    with opened(place) as store:
        assert store.discard([held(place)[key]])


def save(place: Place, key: str, data: Any) -> None:
    with opened(place) as store:
        moment = now() + 2 * HOUR
        session = Record(key, store.dump(data, moment, now() // 1_000_000)[0], moment)
        assert store.replace([(held(place)[key], session)])


@pytest.mark.parametrize(("source", "dest"), WAYS)
def test_follows_the_source_from_pass_to_pass(
    source: Place, dest: Place, ready: Callable[..., None], tmp_path: Path
) -> None:
    ready(source, dest)

    def copy(**options: Any) -> CopyResult:
        return copy_sessions(
            source=source.end, dest=dest.end, options=CopyOptions(manifest=tmp_path / "manifest", **options)
        )

    same, changed, ended = (put(source, {"n": n}) for n in range(3))
    assert copy().total.written == 3
    save(source, changed, {"n": "changed"})
    end(source, ended)
    new = put(source, {"n": "new"})

    total = copy().total

    assert (total.written, total.refreshed, total.removed, total.unchanged) == (1, 1, 1, 1)
    assert data_of(dest) == {same: {"n": 0}, changed: {"n": "changed"}, new: {"n": "new"}}
    assert copy().total.changes == 0
    assert stat.S_IMODE((tmp_path / "manifest").stat().st_mode) == 0o600


@pytest.mark.parametrize(("source", "dest"), WAYS)
def test_touches_nothing_after_the_switch_that_happened_there(
    source: Place, dest: Place, ready: Callable[..., None], tmp_path: Path
) -> None:
    ready(source, dest)

    def copy(**options: Any) -> CopyResult:
        return copy_sessions(
            source=source.end, dest=dest.end, options=CopyOptions(manifest=tmp_path / "manifest", **options)
        )

    names = ("untouched", "saved before", "saved after", "ended before", "ended after", "saved before and after")
    keys = {name: put(source, {"is": name}) for name in names}
    copy()
    # the last moments of the source
    save(source, keys["saved before"], {"is": "new"})
    save(source, keys["saved before and after"], {"is": "old"})
    end(source, keys["ended before"])
    keys["late"] = put(source, {"is": "late"})
    # the switch, and the first moments of the destination
    save(dest, keys["saved after"], {"is": "newest"})
    save(dest, keys["saved before and after"], {"is": "newest"})
    end(dest, keys["ended after"])
    keys["born there"] = put(dest, {"is": "born there"})

    total = copy(after_switch=True).total

    assert (total.written, total.refreshed, total.removed, total.ended) == (1, 1, 1, 1)
    assert data_of(dest) == {
        keys["untouched"]: {"is": "untouched"},
        keys["saved before"]: {"is": "new"},
        keys["saved after"]: {"is": "newest"},
        keys["saved before and after"]: {"is": "newest"},
        keys["late"]: {"is": "late"},
        keys["born there"]: {"is": "born there"},
    }
    assert copy(after_switch=True).total.changes == 0


def test_brings_back_before_the_switch_what_the_destination_dropped(ready: Callable[..., None], tmp_path: Path) -> None:
    ready(ROWS, CACHE)
    key = put(ROWS, {"a": 1})
    options = CopyOptions(manifest=tmp_path / "manifest")
    copy_sessions(source=ROWS.end, dest=CACHE.end, options=options)
    caches["redis"].clear()

    assert copy_sessions(source=ROWS.end, dest=CACHE.end, options=options).total.written == 1
    assert data_of(CACHE) == {key: {"a": 1}}


def test_repeats_passes_until_one_finds_nothing_to_do(
    ready: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from migrator.sessions.copying.run import SessionPasses

    ready(ROWS, CACHE)
    put(ROWS, {})
    plain = SessionPasses.one

    def one_pass(run: SessionPasses, label: str, *, is_first: bool) -> Any:
        tally = plain(run, label, is_first=is_first)
        if label != "catch-up pass 2":
            put(ROWS, {"born during": label})
        return tally

    monkeypatch.setattr(SessionPasses, "one", one_pass)

    result = copy_sessions(source=ROWS.end, dest=CACHE.end, options=CopyOptions(catch_up=9))

    assert [tally.written for tally in result.passes] == [1, 1, 1, 0]
    assert len(held(CACHE)) == 3


def test_keeps_manifests_of_two_copies_apart(ready: Callable[..., None], tmp_path: Path) -> None:
    ready(ROWS, CACHE)
    put(ROWS, {})
    options = CopyOptions(manifest=tmp_path / "manifest")
    copy_sessions(source=ROWS.end, dest=CACHE.end, options=options)

    with pytest.raises(Refused, match="belongs to another copy"):
        copy_sessions(source=CACHE.end, dest=ROWS.end, options=options)


def test_follows_what_an_earlier_copy_without_a_manifest_wrote(ready: Callable[..., None], tmp_path: Path) -> None:
    ready(CACHE, ROWS)
    ended, saved, other = (put(CACHE, {"n": n}) for n in range(3))
    copy_sessions(source=CACHE.end, dest=ROWS.end)
    save(ROWS, other, {"n": "saved there"})
    options = CopyOptions(manifest=tmp_path / "manifest")
    copy_sessions(source=CACHE.end, dest=ROWS.end, options=options)
    end(CACHE, ended)
    end(CACHE, other)
    save(CACHE, saved, {"n": "saved later"})

    total = copy_sessions(source=CACHE.end, dest=ROWS.end, options=options).total

    assert (total.removed, total.refreshed) == (1, 1)
    assert data_of(ROWS) == {saved: {"n": "saved later"}, other: {"n": "saved there"}}


@pytest.mark.parametrize("dry_run", [False, True])
def test_refuses_a_manifest_before_it_asks(dry_run: bool, ready: Callable[..., None], tmp_path: Path) -> None:
    """And creates none for a copy that it refuses."""
    ready(ROWS, CACHE)
    put(ROWS, {})
    options = CopyOptions(manifest=tmp_path / "manifest", after_switch=True, dry_run=dry_run)
    shown: list[object] = []

    with pytest.raises(Refused, match="notes no completed pass"):
        copy_sessions(source=ROWS.end, dest=CACHE.end, options=options, show=shown.append)

    assert not shown
    assert not (tmp_path / "manifest").exists()


def test_adds_nothing_to_a_database_of_somebody_else(ready: Callable[..., None], tmp_path: Path) -> None:
    ready(ROWS, CACHE)
    put(ROWS, {})
    with closing(sqlite3.connect(tmp_path / "manifest")) as database:
        database.execute("CREATE TABLE orders (id integer)")

    with pytest.raises(UsageError, match="is not the manifest of a copy: it is a database with other tables"):
        copy_sessions(source=ROWS.end, dest=CACHE.end, options=CopyOptions(manifest=tmp_path / "manifest"))

    with closing(sqlite3.connect(tmp_path / "manifest")) as database:
        assert database.execute("SELECT name FROM sqlite_master").fetchall() == [("orders",)]


def test_keeps_no_key_and_no_data_in_the_manifest(ready: Callable[..., None], tmp_path: Path) -> None:
    ready(ROWS, CACHE)
    key = put(ROWS, {"canary": "canary"})
    copy_sessions(source=ROWS.end, dest=CACHE.end, options=CopyOptions(manifest=tmp_path / "manifest"))

    content = (tmp_path / "manifest").read_bytes()
    assert key.encode() not in content
    assert b"canary-" not in content


@pytest.mark.postgresql
@pytest.mark.parametrize("with_manifest", [False, True])
def test_shares_the_work_among_processes(with_manifest: bool, ready: Callable[..., None], tmp_path: Path) -> None:
    rows = Place("db", "postgresql_a", "db")
    ready(CACHE, rows)
    keys = {put(CACHE, {"n": n}) for n in range(60)}
    options = CopyOptions(jobs=3, chunk_size=7, manifest=tmp_path / "manifest" if with_manifest else None)

    there = copy_sessions(source=CACHE.end, dest=rows.end, options=options)
    CACHE.clear()
    back = copy_sessions(source=rows.end, dest=CACHE.end, options=CopyOptions(jobs=3, chunk_size=7))

    assert (there.total.written, back.total.written) == (60, 60)
    assert set(held(CACHE)) == keys
