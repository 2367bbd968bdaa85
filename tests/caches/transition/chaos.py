"""A worker of the chaos test, a process of its own: changes its keys and looks at everybody's while phases change.

    python -m tests.caches.transition.chaos DIRECTORY OLD_PORT NEW_PORT INDEX WORKERS SEED

What it found is printed as JSON when the file `stop` appears in the directory.
"""

from __future__ import annotations

import json
import logging
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

KEYS = 12


def configure(old: int, new: int, phase: Any) -> None:
    """Set Django up with a transition between two local servers, whose sides are the aliases `old` and `new`."""
    import django
    from django.conf import settings
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    # Long enough for a busy machine, and shorter than a server is down.
    impatient = {"socket_timeout": 0.7, "socket_connect_timeout": 0.7, "retry": Retry(NoBackoff(), 0)}
    backend = "django.core.cache.backends.redis.RedisCache"
    sides = {
        name: {"BACKEND": backend, "LOCATION": f"redis://127.0.0.1:{port}/0", "OPTIONS": impatient, "TIMEOUT": 1000}
        for name, port in (("old", old), ("new", new))
    }
    transition = {"BACKEND": "migrator.caches.TransitionCache", "OLD": "old", "NEW": "new", "PHASE": phase}
    settings.configure(CACHES={**sides, "default": transition}, SECRET_KEY="none", USE_TZ=True)
    django.setup()


class Worker:
    """Owns some keys, whose values only grow, and knows what each must be."""

    def __init__(self, cache: Any, index: int, workers: int, seed: int) -> None:
        self.cache, self.index, self.workers = cache, index, workers
        self.random = random.Random(f"{seed} {index}")  # noqa: S311
        self.expected: dict[str, int | None] = {f"{index}:{number}": None for number in range(KEYS)}
        self.last = dict.fromkeys(self.expected, 0)
        self.seen: dict[str, int] = {}
        self.steady: set[str] = set()
        self.wrong: list[str] = []
        self.actions = self.counted = self.moments = 0

    def act(self) -> None:
        """Change a key and look at it, then look at another one of ours and at somebody else's."""
        key = self.random.choice(list(self.expected))
        what = self.random.choices(["set", "many", "delete", "incr", "touch", "add", "end"], [40, 5, 15, 20, 10, 8, 2])[
            0
        ]
        try:
            getattr(self, what)(key)
            self.check(key, what)
            self.check(self.random.choice(list(self.expected)), "later")
            self.watch(f"{self.random.randrange(self.workers)}:{self.random.randrange(KEYS)}")
            self.cache.set(f"steady {self.index}", self.actions, 1000)
            self.find(f"steady {self.random.randrange(self.workers)}")
        except Exception as error:
            self.wrong.append(f"failed to {what} in {self.cache.phase}: {type(error).__name__}: {error}")
        self.actions += 1

    def check(self, key: str, what: str) -> None:
        found, expected = self.cache.get(key), self.expected[key]
        if found is not None and found != expected:
            found = self.look_again(key, lambda value: value == expected)
        if found != expected:
            kind = "lost" if found is None else "resurrected" if expected is None else "stale"
            self.wrong.append(f"{kind} after {what} in {self.cache.phase}: {key} is {found}, not {expected}")
            self.expected[key] = found  # told once

    def watch(self, key: str) -> None:
        found = self.cache.get(key)
        if found is not None:
            last = self.seen.get(key, 0)
            if found < last:
                found = self.look_again(key, lambda value: value is None or value >= last) or last
            if found < last:
                self.wrong.append(f"stale in {self.cache.phase}: {key} was {self.seen[key]} and is {found}")
            self.seen[key] = max(found, self.seen.get(key, 0))

    def find(self, key: str) -> None:
        """Look at a key that its worker sets again and again, and never deletes."""
        if self.cache.get(key) is not None:
            self.steady.add(key)
        elif key in self.steady:
            self.wrong.append(f"lost for others in {self.cache.phase}: {key}")

    def look_again(self, key: str, is_right: Callable[[Any], bool]) -> Any:
        """Give others the moment in which they take back what they have just promoted."""
        self.moments += 1
        until = time.monotonic() + 2.0
        while not is_right(found := self.cache.get(key)) and time.monotonic() < until:
            time.sleep(0.005)
        return found

    def next(self, key: str) -> int:
        self.last[key] += 1
        return self.last[key]

    def set(self, key: str) -> None:
        value = self.next(key)
        self.cache.set(key, value, 1000)
        self.expected[key] = value

    def many(self, key: str) -> None:
        values = {other: self.next(other) for other in self.random.sample(list(self.expected), 4)}
        self.cache.set_many(values, 1000)
        self.expected.update(values)

    def delete(self, key: str) -> None:
        self.cache.delete(key)
        self.expected[key] = None

    def incr(self, key: str) -> None:
        if self.expected[key] is not None:
            self.expected[key] = self.last[key] = self.cache.incr(key)

    def touch(self, key: str) -> None:
        if self.cache.touch(key, self.random.choice([500, 1000])) != (self.expected[key] is not None):
            self.wrong.append(f"touch of {key} in {self.cache.phase} was no answer to {self.expected[key]}")

    def add(self, key: str) -> None:
        value = self.next(key)
        if self.cache.add(key, value, 1000) != (self.expected[key] is None):
            self.wrong.append(f"add of {key} in {self.cache.phase} was no answer to {self.expected[key]}")
        if self.expected[key] is None:
            self.expected[key] = value

    def end(self, key: str) -> None:
        self.cache.touch(key, 0)
        self.expected[key] = None

    def count(self) -> None:
        """Count on the number that all workers count on."""
        try:
            self.cache.incr("shared")
            self.counted += 1
        except Exception as error:
            self.wrong.append(f"failed to count in {self.cache.phase}: {type(error).__name__}: {error}")


class Forgiven(logging.Handler):
    """Keeps what the cache says of errors that it tolerates: of a server that was too slow, for example."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def main() -> None:
    directory, (old, new, index, workers, seed) = Path(sys.argv[1]), map(int, sys.argv[2:])
    phase = directory / f"phase-{index}"
    configure(old, new, lambda: phase.read_text())
    from django.core.cache import caches

    worker, forgiven = Worker(caches["default"], index, workers, seed), Forgiven()
    logging.getLogger("migrator.caches.transition").addHandler(forgiven)
    (directory / f"begun-{index}").touch()
    arrived, reached = directory / f"arrived-{index}", ""
    while not (directory / "stop").exists():
        current = phase.read_text()
        worker.act()
        if (directory / "count").exists():
            worker.count()
        if current != reached:  # nothing that began in an earlier phase is still running
            arrived.write_text(current)
            reached = current
    names = ("actions", "wrong", "expected", "counted", "moments")
    found = {name: getattr(worker, name) for name in names}
    sys.stdout.write(json.dumps({**found, "forgiven": forgiven.messages}))


if __name__ == "__main__":
    main()
