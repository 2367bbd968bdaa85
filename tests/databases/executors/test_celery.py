"""Workers of a real Celery copy chunks beside the command, and every row is there once, whatever dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from django.db import connections
from django.test import override_settings

from migrator.databases.engines.registry import engine_for
from migrator.databases.executors import dispatcher
from migrator.databases.executors.brokers import CeleryBroker
from migrator.databases.result import RunResult
from tests.databases.executors import celery_app
from tests.databases.executors.celery_app import BROKER, app
from tests.databases.side_by_side import Heard, assert_equal, fill, move, until
from tests.manage import run_manage, start_manage
from tests.servers.databases import PAIRS, Pair

BETWEEN_POSTGRESQL, FROM_MYSQL = PAIRS[4], PAIRS[7]
APP = f"{celery_app.__name__}.app"
QUEUE = f"migrator-{os.getpid()}"
EXECUTORS = {"celery": {"APP": APP, "QUEUE": QUEUE}}
ROWS = 200

pytestmark = [pytest.mark.slow, pytest.mark.redis]
between_postgresql = pytest.mark.parametrize("pair", [BETWEEN_POSTGRESQL], ids=str, indirect=True)
from_both = pytest.mark.parametrize("pair", [BETWEEN_POSTGRESQL, FROM_MYSQL], ids=str, indirect=True)


class Worker:
    """A worker of the app, with its processes."""

    def __init__(self, name: str, *options: str) -> None:
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-W",
                "ignore",
                "-m",
                celery_app.__name__,
                QUEUE,
                name,
                "--prefetch-multiplier",
                "1",
                *options,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def children(self) -> list[int]:
        """Return the processes of its pool."""
        path = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        with open(path, encoding="ascii") as children:
            return [int(number) for number in children.read().split()]

    def kill(self) -> None:
        """Kill it with all its processes."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def workers(count: int = 1, *options: str) -> Iterator[list[Worker]]:
    """Run workers until the end of the context."""
    started = [Worker(f"{number}", *(options or ("--concurrency", "2"))) for number in range(count)]
    try:
        assert until(lambda: (CeleryBroker(app, APP, QUEUE).processes() or 0) >= count, 60)
        yield started
    finally:
        for one in started:
            if one.process.poll() is None:
                one.kill()
        redis.Redis.from_url(BROKER).flushdb()


@pytest.fixture(autouse=True)
def executors(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(dispatcher, "LEASE_SECONDS", 3.0)
    with override_settings(MIGRATOR={"EXECUTORS": EXECUTORS}):
        yield


def move_by_celery(pair: Pair, heard: Heard, **options: Any) -> RunResult:
    return move(pair, heard, **{"executor": "celery", "jobs": 1, "chunk_size": 2, "verify": "full"} | options)


def after(heard: Heard, words: str, act: Callable[[], object]) -> threading.Thread:
    """Act once the command has said something."""

    def wait() -> None:
        until(lambda: bool(heard.with_words(words)), 60)
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


@from_both
def test_a_worker_is_killed_with_all_its_processes(pair: Pair) -> None:
    fill(pair.source, ROWS)
    heard = Heard()
    with workers(2, "--concurrency", "1") as started:
        thread = after(heard, "2 workers joined", started[0].kill)
        outcome = move_by_celery(pair, heard)
        thread.join()
    assert outcome.exit_code == 0, outcome.verification
    assert_equal(pair)
    assert not engine_for(connections[pair.dest]).workers()


@from_both
def test_the_processes_of_a_worker_are_killed(pair: Pair) -> None:
    fill(pair.source, ROWS)
    heard = Heard()
    with workers() as (worker,):
        thread = after(heard, "joined", lambda: os.kill(worker.children()[0], signal.SIGKILL))
        outcome = move_by_celery(pair, heard)
        thread.join()
    assert outcome.exit_code == 0, outcome.verification
    assert_equal(pair)


@between_postgresql
def test_the_broker_loses_all_messages(pair: Pair) -> None:
    fill(pair.source, ROWS)
    heard = Heard()
    broker = redis.Redis.from_url(BROKER)
    with workers():
        thread = after(heard, "joined", lambda: broker.delete(QUEUE, "unacked", "unacked_index"))
        outcome = move_by_celery(pair, heard)
        thread.join()
    assert outcome.exit_code == 0, outcome.verification
    assert_equal(pair)


@between_postgresql
def test_nothing_but_names_and_numbers_is_in_the_broker(pair: Pair) -> None:
    fill(pair.source, 20)
    broker = redis.Redis.from_url(BROKER)
    seen: list[bytes] = []

    def look() -> None:
        for key in broker.scan_iter():
            kind = broker.type(key)
            if kind == b"list":
                seen.extend(broker.lrange(key, 0, -1))
            elif kind == b"hash":
                seen.extend(broker.hvals(key))

    class Looking(Heard):
        def tick(self) -> None:
            look()

    broker.flushdb()
    assert move_by_celery(pair, Looking()).exit_code == 0  # no worker takes them
    broker.flushdb()
    assert_equal(pair)
    text = b" ".join(seen)
    assert b"testapp_" in text or b"body" in text
    for alias in (pair.source, pair.dest):
        settings = connections[alias].settings_dict
        for secret in (settings["PASSWORD"], settings["HOST"], settings["NAME"], "article 1"):
            assert str(secret).encode() not in _decoded(seen)


def _decoded(messages: list[bytes]) -> bytes:
    import base64

    found = b""
    for message in messages:
        document = json.loads(message)
        document = document if isinstance(document, dict) else document[0]
        found += message + base64.b64decode(document["body"])
    return found


@from_both
def test_the_command_is_killed_and_resumed_at_once(pair: Pair) -> None:
    fill(pair.source, ROWS)
    settings = {"MIGRATOR_TEST_EXECUTOR": json.dumps(EXECUTORS)}
    arguments = ("batch_migrate", "testapp.Tag", "testapp.Article", "testapp.TreeNode", "--source", pair.source,
                 "--dest", pair.dest, "--chunk-size", "2", "--executor", "celery", "--no-input")  # fmt: skip
    with workers():
        with start_manage(*arguments, env=settings) as command:
            dest = engine_for(connections[pair.dest])
            assert until(lambda: bool(dest.workers() - {0}), 60)
            command.kill()
            command.wait()
        assert until(lambda: not dest.workers() and not dest.is_locked(), 20)
        finished = run_manage(*arguments, "--resume", env=settings)
    assert finished.code == 0, finished.err
    assert_equal(pair)
