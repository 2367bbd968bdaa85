"""Sessions copied while people save, log in and log out: none lost, none stale, none back from the dead."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.contrib.sessions.backends.cache import SessionStore as CacheEngine
from django.contrib.sessions.backends.db import SessionStore as RowEngine
from django.core.cache import caches
from django.db import connections
from django.test import override_settings

from migrator.clock import now
from migrator.console.progress import Progress
from migrator.sessions.copying.run import copy_sessions
from migrator.sessions.records import CopyOptions
from migrator.sessions.transition import SessionStore as BothEngine
from migrator.sessions.transition.configuration import transition
from migrator.stores.base import Record
from tests.sessions.places import CACHE, HOUR, Place, data_of, new_key, opened

SESSIONS = 12_000
PAGE = 1000
ACTIONS_A_PAGE = 3
PATIENCE_SECONDS = 120
WRITERS = 3
ROWS = Place("db", "postgresql_a", "db")
ENGINES = {"cache": CacheEngine, "db": RowEngine}
SIDES = {
    "cache": {"ENGINE": "django.contrib.sessions.backends.cache", "CACHE": "redis"},
    "db": {"ENGINE": "django.contrib.sessions.backends.db", "DATABASE": "postgresql_a"},
}
WAYS = [pytest.param(CACHE, ROWS, id="redis-to-postgresql"), pytest.param(ROWS, CACHE, id="postgresql-to-redis")]
pytestmark = [pytest.mark.redis, pytest.mark.postgresql, pytest.mark.slow]


class Writer(threading.Thread):
    """Saves, logs in and logs out with sessions of its own."""

    def __init__(self, keys: list[str], engine: type, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.random = random.Random(keys[0])  # noqa: S311
        self.keys, self.engine, self.stop = keys, engine, stop
        self.actions = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            while not self.stop.is_set():
                self.act(self.random.randrange(len(self.keys)))
                self.actions += 1
                time.sleep(0.001)  # lets the copy have its turn, for all of them share one interpreter
        except BaseException as error:
            self.error = error
        finally:
            if self.engine is BothEngine:
                transition().close()
            connections.close_all()
            for pool in caches["redis"]._cache._pools.values():
                pool.disconnect()

    def act(self, index: int) -> None:
        key, what = self.keys[index], self.random.random()
        if what < 0.85:
            self.save(key)
        elif what < 0.95:
            self.end(key)
            self.keys[index] = self.begin()
        else:
            self.keys[index] = self.begin()  # a new key first, then the old one's end, as a login does
            self.end(key)

    def begin(self) -> str:
        session = self.engine()
        session["n"] = self.actions
        session.create()
        session["n"] = self.actions
        session.save()
        return str(session.session_key)

    def save(self, key: str) -> None:
        session = self.engine(key)
        session["n"] = f"saved {self.actions}"
        session.save()

    def end(self, key: str) -> None:
        self.engine(key).delete(key)


class InStep(Progress):
    """Lets every writer act a few times between two pages of a copy, however slow the machine is."""

    def __init__(self, writers: list[Writer]) -> None:
        self._writers = writers

    @contextmanager
    def task(self, label: str, total: int | None, *, done: int = 0, unit: str = "rows") -> Iterator[Any]:
        yield self

    def advance(self, count: int) -> None:
        due = [writer.actions + ACTIONS_A_PAGE for writer in self._writers]
        deadline = time.monotonic() + PATIENCE_SECONDS
        while any(writer.actions < actions for writer, actions in zip(self._writers, due, strict=True)):
            assert all(writer.is_alive() for writer in self._writers), [writer.error for writer in self._writers]
            assert time.monotonic() < deadline, "the writers stand still"
            time.sleep(0.001)


@contextmanager
def traffic(source: Place, dest: Place, *, both: bool) -> Iterator[tuple[InStep, Callable[[], None]]]:
    """Let writers loose; give what keeps a copy in step with them, and a function that stops them."""
    keys = _fill(source)
    stop = threading.Event()
    engine = BothEngine if both else ENGINES[source.kind]
    writers = [Writer(keys[number::WRITERS], engine, stop) for number in range(WRITERS)]

    def end() -> None:
        stop.set()
        for writer in writers:
            writer.join()
            assert writer.error is None, writer.error
            assert writer.actions > ACTIONS_A_PAGE * SESSIONS / PAGE / 2

    sides = {"OLD": SIDES[source.kind], "NEW": SIDES[dest.kind], "PHASE": "dual_old", "TALLY": "cache:redis_other"}
    with override_settings(SESSION_CACHE_ALIAS="redis", SESSIONS_DB="postgresql_a", MIGRATOR={"SESSIONS": sides}):
        for writer in writers:
            writer.start()
        try:
            yield InStep(writers), end
        finally:
            stop.set()


def _fill(place: Place) -> list[str]:
    keys = [new_key() for _ in range(SESSIONS)]
    with opened(place) as store:
        moment = now() + 300 * HOUR
        payload = store.dump({"n": "old"}, moment, 1)[0]
        store.add([Record(key, payload, moment) for key in keys])
    return keys


def _differences(source: Place, dest: Place) -> dict[str, int]:
    ours, theirs = data_of(source), data_of(dest)
    return {
        "lost": len(ours.keys() - theirs.keys()),
        "resurrected": len(theirs.keys() - ours.keys()),
        "stale": sum(theirs[key] != data for key, data in ours.items() if key in theirs),
    }


@pytest.mark.parametrize(("source", "dest"), WAYS)
def test_is_right_in_one_pass_while_the_site_writes_to_both(
    source: Place, dest: Place, ready: Callable[..., None]
) -> None:
    ready(source, dest)
    with traffic(source, dest, both=True) as (progress, end):
        options = CopyOptions(chunk_size=PAGE)
        result = copy_sessions(source=source.end, dest=dest.end, options=options, progress=progress)
        end()

    assert result.total.written > SESSIONS / 2
    assert _differences(source, dest) == {"lost": 0, "resurrected": 0, "stale": 0}


@pytest.mark.parametrize(("source", "dest"), WAYS)
def test_is_right_after_the_last_pass_while_the_site_writes_to_the_source_alone(
    source: Place, dest: Place, ready: Callable[..., None], tmp_path: Path
) -> None:
    ready(source, dest)
    options = {"chunk_size": PAGE, "manifest": tmp_path / "manifest"}
    with traffic(source, dest, both=False) as (progress, end):
        passes = CopyOptions(catch_up=2, **options)
        copy_sessions(source=source.end, dest=dest.end, options=passes, progress=progress)
        end()

    result = copy_sessions(source=source.end, dest=dest.end, options=CopyOptions(after_switch=True, **options))

    assert _differences(source, dest) == {"lost": 0, "resurrected": 0, "stale": 0}
    assert result.total.failures == 0
