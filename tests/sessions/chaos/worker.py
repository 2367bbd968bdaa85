"""A worker: people log in, use their sessions and log out, and each answer is held against what it must be.

One person's requests are one after the other, whichever worker has them, but for those of the first browsers: these
also save beside each other.
"""

import fcntl
import json
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.sessions.backends.base import UpdateError
from django.core.signals import request_finished

from migrator.sessions.transition import SessionStore
from migrator.stores.base import digest

BROWSERS = 45
RACED = 5


class Wrong(Exception):
    """An answer that a person would be right to complain of."""


class Worker:
    def __init__(self, run: Path, number: int, seed: int) -> None:
        self.run, self.number = run, number
        self.random = random.Random(f"{seed}.{number}")  # noqa: S311
        self.done: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.dead: list[str] = []

    def work(self) -> None:
        progress, count = self.run / f"progress.{self.number}", 0
        while not (self.run / "stop").exists():
            self.request()
            count += 1
            progress.write_text(str(count))
            time.sleep(self.random.random() * 0.004)
        found = {"done": self.done, "wrong": self.wrong, "dead": self.dead}
        (self.run / f"result.{self.number}").write_text(json.dumps(found))

    def request(self) -> None:
        number = self.random.randrange(BROWSERS if self.random.random() < 0.7 else RACED)
        path = self.run / f"browser.{number}"
        if number < RACED and self.random.random() < 0.5:
            return self.attempt("race", lambda: self.race(json.loads(path.read_text() or "{}")))
        with locked(path) as file:
            if file is None:
                return None
            person = json.loads(file.read() or "{}")
            action = self.chosen(person)
            if not self.attempt(action.__name__, lambda: action(person, number < RACED)):
                person = {}
            file.seek(0)
            file.truncate()
            file.write(json.dumps(person))
            file.flush()
        return None

    def chosen(self, person: dict[str, Any]) -> Any:
        if not person.get("key"):
            return self.log_in
        weights = {self.load: 30, self.save: 40, self.cycle: 8, self.log_out: 12, self.haunt: 10}
        return self.random.choices(list(weights), list(weights.values()))[0]

    def attempt(self, name: str, action: Any) -> bool:
        phase = (self.run / f"phase.{self.number}").read_text()
        try:
            action()
        except Exception as error:
            text = str(error) if isinstance(error, Wrong) else f"{type(error).__name__}: {error}"
            self.wrong.append(f"{time.time():.3f} {phase} {name}: {text[:300]}")
            return False
        finally:
            request_finished.send(sender=type(self))
        self.done[name] += 1
        return True

    # What people do

    def log_in(self, person: dict[str, Any], is_raced: bool) -> None:
        session = SessionStore()
        session["n"] = 1
        if self.random.random() < 0.5:
            session.create()
        session.save()
        person |= {"key": session.session_key, "n": 1, "raced": is_raced}

    def opened(self, person: dict[str, Any]) -> SessionStore:
        session = SessionStore(person["key"])
        found = session.get("n")
        name = digest(person["key"])
        if found is None:
            raise Wrong(f"session {name} is logged out at {person['n']}")
        if found != person["n"] and not person["raced"]:
            raise Wrong(f"session {name} is stale: {found} in place of {person['n']}")
        return session

    def load(self, person: dict[str, Any], is_raced: bool) -> None:
        self.opened(person)

    def save(self, person: dict[str, Any], is_raced: bool) -> None:
        session = self.opened(person)
        session["n"] = person["n"] + 1
        session.save()
        person["n"] += 1

    def cycle(self, person: dict[str, Any], is_raced: bool) -> None:
        session = self.opened(person)
        session.cycle_key()
        session.save()
        self.dead.append(person["key"])
        person["key"] = session.session_key

    def log_out(self, person: dict[str, Any], is_raced: bool) -> None:
        self.opened(person).flush()
        self.dead.append(person.pop("key"))

    def haunt(self, person: dict[str, Any], is_raced: bool) -> None:
        """Come back with a cookie from before the logout, or with a request that began before it."""
        if not self.dead:
            return
        key = self.random.choice(self.dead[-20:])
        if self.random.random() < 0.5:
            if SessionStore(key).load() != {}:
                raise Wrong(f"session {digest(key)} is back")
            return
        session = SessionStore(key)
        session._session_cache = {"n": -1}
        try:
            session.save()
        except UpdateError:
            return
        raise Wrong(f"session {digest(key)} was saved after its end")

    def race(self, person: dict[str, Any]) -> None:
        """Save a session beside whatever another request does with it."""
        if not person.get("key"):
            return
        session = SessionStore(person["key"])
        if session.get("n") is None:
            return  # it has just ended
        session["beside"] = self.random.random()
        try:
            session.save()
        except UpdateError:
            return


@contextmanager
def locked(path: Path) -> Iterator[Any]:
    """Open a browser's file for ourselves alone; give None where another worker has it."""
    with path.open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        yield file


def main(seed: int) -> None:
    Worker(settings.RUN, settings.WORKER, seed).work()
