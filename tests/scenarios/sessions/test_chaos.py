"""Stores changed under live workers, to and fro, with copies and an outage: nobody is logged out, nothing is stale.

MIGRATOR_TEST_SEED repeats what the workers choose to do.
"""

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import caches
from django.test import override_settings

from migrator.clock import now
from migrator.sessions.copying.run import copy_sessions
from migrator.sessions.endpoints import SessionEndpoint
from migrator.sessions.records import CopyOptions
from migrator.sessions.transition.configuration import transition
from migrator.sessions.transition.session_metrics import session_metrics
from migrator.stores.base import Record, digest
from migrator.transitions.phases import Phase
from settings.base import ROOT
from tests.servers.process import ask, find_program, free_port
from tests.sessions.chaos.worker import BROWSERS
from tests.sessions.places import HOUR, new_key

SERVER = find_program("redis-server", "valkey-server")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.redis,
    pytest.mark.skipif(SERVER is None, reason="no redis-server and no valkey-server to stop and start"),
]
WORKERS = 3
IDLE = 2500
BACKENDS = "django.contrib.sessions.backends"
PRIVATE = {"ENGINE": f"{BACKENDS}.cache", "CACHE": "private"}
CACHED = {"ENGINE": f"{BACKENDS}.cached_db", "DATABASE": "sqlite_a", "CACHE": "redis_other"}


def table(alias: str) -> dict[str, str]:
    return {"ENGINE": f"{BACKENDS}.db", "DATABASE": alias}


FORTH_AND_BACK = ["dual_new", "dual_old", "dual_new", "new", "dual_new", "new"]
BEGIN = ["dual_old", "old", "dual_old"]
# NEW is a Redis that loses everything before the copy.
OUTAGE_OF_NEW = [*BEGIN, "stop", "start", "copy", *FORTH_AND_BACK]
# OLD is one that loses everything once NEW decides, and is filled again for the way back.
OUTAGE_OF_OLD = [*BEGIN, "copy", "dual_new", "stop", "start", "copy back", "dual_old", *FORTH_AND_BACK]
NO_OUTAGE = [*BEGIN, "copy", *FORTH_AND_BACK]
PAIRS = [
    pytest.param(PRIVATE, table("postgresql_a"), OUTAGE_OF_OLD, id="redis-to-postgresql", marks=pytest.mark.postgresql),
    pytest.param(table("postgresql_a"), PRIVATE, OUTAGE_OF_NEW, id="postgresql-to-redis", marks=pytest.mark.postgresql),
    pytest.param(
        table("mysql_a"),
        table("postgresql_a"),
        NO_OUTAGE,
        id="mysql-to-postgresql",
        marks=[pytest.mark.mysql, pytest.mark.postgresql],
    ),
    pytest.param(PRIVATE, CACHED, OUTAGE_OF_OLD, id="redis-to-cached_db"),
]


class PrivateRedis:
    """A server that keeps nothing when it is stopped."""

    def __init__(self, directory: Path) -> None:
        self.port, self._directory = free_port(), directory
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def cache(self) -> dict[str, str]:
        return {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": f"redis://127.0.0.1:{self.port}"}

    def start(self) -> None:
        words = ["--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--dir", str(self._directory)]
        self._process = subprocess.Popen([str(SERVER), *words], stdout=subprocess.DEVNULL)
        for _ in range(400):
            if b"+PONG" in ask(self.port, b"PING\r\n"):
                return
            time.sleep(0.05)
        pytest.fail("the private server does not answer")

    def stop(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[PrivateRedis]:
    server = PrivateRedis(tmp_path)
    server.start()
    try:
        yield server
    finally:
        server.stop()


class Run:
    """The workers, and the phases that are deployed to them."""

    def __init__(self, directory: Path, redis: PrivateRedis, sides: dict[str, Any], seed: int) -> None:
        self.directory, self.redis, self.sides, self.seed = directory, redis, sides, seed
        self.random = random.Random(seed)  # noqa: S311
        self.steps: list[str] = []
        for number in range(BROWSERS):
            (directory / f"browser.{number}").write_text("")
        for number in range(WORKERS):
            self._tell(number, "old")

    def _tell(self, worker: int, phase: str) -> None:
        path = self.directory / f"phase.{worker}.new"
        path.write_text(phase)
        path.rename(self.directory / f"phase.{worker}")

    @contextmanager
    def workers(self) -> Iterator[None]:
        """Let the workers loose, and wait for their end."""
        self._processes = processes = [self._start(number) for number in range(WORKERS)]
        try:
            self._let_work(15)
            yield
        finally:
            (self.directory / "stop").write_text("")
            ended = [(process.communicate(timeout=60)[1], process.returncode) for process in processes]
        assert [code for _, code in ended] == [0] * WORKERS, ended
        self.said = [said for said, _ in ended]

    def _let_work(self, requests: int) -> None:
        """Wait until every worker has served some requests, or one has come to an early end."""
        before, deadline = self._served(), time.monotonic() + 60
        while min(now - then for now, then in zip(self._served(), before, strict=True)) < requests:
            if time.monotonic() > deadline or any(process.poll() is not None for process in self._processes):
                return
            time.sleep(0.02)

    def _served(self) -> list[int]:
        files = [self.directory / f"progress.{number}" for number in range(WORKERS)]
        return [int(file.read_text() or 0) if file.exists() else 0 for file in files]

    def _start(self, number: int) -> subprocess.Popen[str]:
        given = {"run": str(self.directory), "worker": number, "cache": self.redis.cache, "sides": self.sides}
        environment = {
            "DJANGO_SETTINGS_MODULE": "tests.sessions.chaos.settings",
            "MIGRATOR_TEST_CHAOS": json.dumps(given),
        }
        return subprocess.Popen(
            [sys.executable, "-m", "tests.sessions.chaos", str(self.seed)],
            cwd=ROOT,
            env=os.environ | environment,
            stderr=subprocess.PIPE,
            text=True,
        )

    def take(self, step: str) -> None:
        """Deploy a phase from worker to worker, or do what else the step says."""
        self.steps.append(f"{time.time():.3f} {step}")
        if step == "stop":
            self.redis.stop()
        elif step == "start":
            self.redis.start()
        elif step in ("copy", "copy back"):
            ends = [transition().old.end, transition().new.end]
            source, dest = ends if step == "copy" else reversed(ends)
            options = CopyOptions(chunk_size=200, rate=3000, overwrite_older=True)
            copy_sessions(source=source, dest=dest, options=options)
        else:
            for number in self.random.sample(range(WORKERS), WORKERS):
                self._tell(number, step)
                self._let_work(3)
        self._let_work(8)

    def results(self) -> list[dict[str, Any]]:
        return [json.loads((self.directory / f"result.{number}").read_text()) for number in range(WORKERS)]

    def people(self) -> list[dict[str, Any]]:
        found = [json.loads((self.directory / f"browser.{number}").read_text() or "{}") for number in range(BROWSERS)]
        return [person for person in found if person.get("key")]


def _fill(side: Any) -> set[str]:
    """Put idle sessions into a side; return their keys."""
    keys, moment = [new_key() for _ in range(IDLE)], now() + 300 * HOUR
    with closing(SessionEndpoint(side.end).open()) as store:
        payload = store.dump({"n": "idle"}, moment, 1)[0]
        store.add([Record(key, payload, moment) for key in keys])
    return set(keys)


def _held(side: Any) -> dict[str, Any]:
    with closing(SessionEndpoint(side.end, trust_pickle=True).open()) as store:
        return {session.key: store.load(session) for page in store.pages(1000) for session in page}


def _differences(run: Run, idle: set[str]) -> dict[str, list[str]]:
    """Hold what the stores have against what the workers did."""
    people = {person["key"]: person for person in run.people()}
    dead = {key for result in run.results() for key in result["dead"]}
    new, old = _held(transition().new), _held(transition().old)
    stale = [key for key, person in people.items() if not person["raced"] and new.get(key, person)["n"] != person["n"]]
    return {
        "lost": [digest(key) for key in (idle | people.keys()) - new.keys()],
        "resurrected": [digest(key) for key in dead & (new.keys() | old.keys())],
        "stale": [digest(key) for key in stale],
        "wrong answers": [text for result in run.results() for text in result["wrong"]],
    }


@pytest.fixture
def emptied(ready: Callable[..., None], databases: Any, redis: PrivateRedis) -> Iterator[Callable[..., None]]:
    """Give a function that empties the sides, and makes their databases."""

    def prepare(*sides: dict[str, str]) -> None:
        for side in sides:
            if alias := side.get("DATABASE"):
                databases.fresh(alias)
            if alias := side.get("CACHE"):
                caches[alias].clear()
        caches["redis_other"].clear()

    with override_settings(CACHES={**settings.CACHES, "private": redis.cache}):
        yield prepare
        caches.close_all()


@pytest.mark.parametrize(("old", "new", "steps"), PAIRS)
def test_nothing_is_lost_stale_or_back(
    old: dict[str, str],
    new: dict[str, str],
    steps: list[str],
    redis: PrivateRedis,
    emptied: Callable[..., None],
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    seed = int(os.environ.get("MIGRATOR_TEST_SEED", random.randrange(10**6)))  # noqa: S311
    emptied(old, new)
    sides = {"OLD": old, "NEW": new}
    with override_settings(MIGRATOR={"SESSIONS": {**sides, "PHASE": "old", "TALLY": "cache:redis_other"}}):
        run = Run(tmp_path, redis, sides, seed)
        idle = _fill(transition().old)
        with run.workers():
            for step in steps:
                run.take(step)
        differences = _differences(run, idle)
        record = session_metrics().read()
        done = sum((Counter(result["done"]) for result in run.results()), Counter())

    for name in ("lost", "resurrected", "stale"):
        record_property(f"sessions {name}", len(differences[name]))
    figures = {name: (len(found), found[:20]) for name, found in differences.items()}
    summary = f"seed {seed}, {dict(done)}, {json.dumps(figures, indent=1)}, {run.steps}"
    assert not any(differences.values()), summary
    assert min(done[name] for name in ("log_in", "load", "save", "cycle", "log_out", "haunt", "race")) > 5, summary
    seen = {phase.value: record.last_seen(phase) for phase in Phase}
    assert all(seen.values()), f"{seen}, {summary}, {run.said}"
    errors = sum(count.number for (_, event), count in record.counts.items() if event == "shadow_error")
    assert bool(errors) == ("stop" in steps), summary
