"""Workers in processes of their own while the phase changes under them, one after the other, there and back again."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.test import override_settings

from migrator.caches.copying import copy_cache
from tests.servers.process import ask, find_program, free_port

SERVER = find_program("redis-server", "valkey-server")
pytestmark = [
    pytest.mark.skipif(SERVER is None, reason="no redis-server and no valkey-server to stop and start"),
    pytest.mark.slow,
]
WORKERS = 3
LAG = 0.15
STAY = 0.4
DOWN = 1.5


class Town:
    """Two servers and some workers between them."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.directory, self.seed = directory, seed
        self.ports = {"old": free_port()}
        self.servers = {"old": self._start("old")}
        self.ports["new"] = free_port()
        self.servers["new"] = self._start("new")
        self.workers: list[subprocess.Popen[str]] = []

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        port = self.ports[name]
        command = [str(SERVER), "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(self.directory)]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        until = time.monotonic() + 20
        while not ask(port, b"PING\r\n").startswith(b"+PONG"):
            assert time.monotonic() < until, "the server does not answer"
            time.sleep(0.02)
        return server

    def settings(self) -> dict[str, Any]:
        backend = "django.core.cache.backends.redis.RedisCache"
        sides = {
            name: {"BACKEND": backend, "LOCATION": f"redis://127.0.0.1:{port}/0", "TIMEOUT": 1000}
            for name, port in self.ports.items()
        }
        transition = {"BACKEND": "migrator.caches.TransitionCache", "OLD": "old", "NEW": "new", "PHASE": "dual_new"}
        return {"default": transition, **sides}

    def begin(self, phase: str) -> None:
        for index in range(WORKERS):
            self._tell(index, phase)
            ports = [str(self.ports[name]) for name in ("old", "new")]
            words = [str(self.directory), *ports, str(index), str(WORKERS), str(self.seed)]
            command = [sys.executable, "-m", "tests.caches.transition.chaos", *words]
            self.workers.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        until = time.monotonic() + 60
        while not all((self.directory / f"begun-{index}").exists() for index in range(WORKERS)):
            assert time.monotonic() < until, "the workers do not begin"
            time.sleep(0.02)
        time.sleep(STAY)

    def go_to(self, phase: str) -> None:
        """Let one worker after the other be in a phase, and all of them stay there for a while."""
        for index in random.Random(self.seed).sample(range(WORKERS), WORKERS):  # noqa: S311
            self._tell(index, phase)
            self._wait_for(index, phase)
            time.sleep(LAG)
        time.sleep(STAY)

    def _wait_for(self, index: int, phase: str) -> None:
        """Wait until a worker has ended what it had begun in an earlier phase: each must, before the next change."""
        arrived, until = self.directory / f"arrived-{index}", time.monotonic() + 60
        while not arrived.exists() or arrived.read_text() != phase:
            assert time.monotonic() < until, f"worker {index} does not come to {phase}"
            time.sleep(0.005)

    def _tell(self, index: int, phase: str) -> None:
        new = self.directory / f"new-{index}"
        new.write_text(phase)
        new.rename(self.directory / f"phase-{index}")

    @contextmanager
    def down(self, name: str) -> Iterator[None]:
        """Let a server answer nobody, and then go on as it was."""
        self.servers[name].send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.servers[name].send_signal(signal.SIGCONT)

    def end(self) -> list[dict[str, Any]]:
        (self.directory / "stop").touch()
        return [json.loads(worker.communicate(timeout=60)[0]) for worker in self.workers]

    def close(self) -> None:
        for worker in self.workers:
            worker.kill()
            worker.wait()
            if worker.stdout:
                worker.stdout.close()
        for server in self.servers.values():
            server.kill()
            server.wait()


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    seed = int(os.environ.get("MIGRATOR_TEST_SEED") or random.SystemRandom().randrange(1_000_000))
    town = Town(tmp_path, seed)
    try:
        with override_settings(CACHES=town.settings()):
            yield town
            for name in ("old", "new"):
                for pool in caches[name]._cache._pools.values():  # type: ignore[attr-defined]
                    pool.disconnect()
    finally:
        town.close()


def judge(town: Town, decider: str) -> list[dict[str, Any]]:
    """End the workers, and compare what they found, and what there is, with what must be."""
    reports = town.end()
    wrong = [line for report in reports for line in report["wrong"]]
    expected = {key: value for report in reports for key, value in report["expected"].items()}
    found = caches[decider].get_many(expected)
    wrong += [
        f"at the end {key} is {found.get(key)}, not {value}"
        for key, value in expected.items()
        if found.get(key) != value
    ]
    actions = sum(report["actions"] for report in reports)
    forgiven = [line for report in reports for line in report["forgiven"]]
    assert wrong == [], f"seed {town.seed}, {actions} actions, tolerated: {forgiven}"
    assert actions > 100
    # A deleted value may be seen while somebody who was promoting it has not taken it back yet, and hardly ever is.
    assert sum(report["moments"] for report in reports) <= actions / 100
    return reports


def test_there(town: Town) -> None:
    caches["old"].set("shared", 0, 1000)
    town.begin("old")
    (town.directory / "count").touch()
    town.go_to("dual_old")
    with town.down("new"):
        time.sleep(DOWN)
    time.sleep(STAY)
    town.go_to("dual_new")
    town.go_to("dual_old")
    town.go_to("dual_new")
    copy_cache(source="old", dest="new")
    # What two count in the very moment in which OLD goes down may be in NEW once too often: nobody can ask OLD then.
    (town.directory / "count").unlink()
    time.sleep(STAY)
    with town.down("old"):
        (town.directory / "count").touch()
        time.sleep(DOWN)
    time.sleep(STAY)
    town.go_to("new")

    reports = judge(town, "new")
    assert caches["new"].get("shared") == sum(report["counted"] for report in reports), f"seed {town.seed}"


def test_and_back_again(town: Town) -> None:
    town.begin("dual_old")
    town.go_to("dual_new")
    copy_cache(source="old", dest="new")
    town.go_to("new")
    town.go_to("dual_new")
    caches["default"].empty_old()  # type: ignore[attr-defined]
    for _ in range(2):
        copy_cache(source="new", dest="old")
    town.go_to("dual_old")
    town.go_to("old")
    town.go_to("dual_old")
    caches["new"].clear()
    town.go_to("dual_new")

    judge(town, "old")
