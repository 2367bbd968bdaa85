"""Count what visitors lose in a rolling deploy to another session store: by a copy and a switch, or by a transition.

    python -m tests.servers -- python -m bench.rolling

Two workers, each a process with its own settings, serve visitors who visit, log out and log in again; each request goes
to a worker chosen at random. Sessions move from Redis to PostgreSQL. Every deploy restarts one worker after the other,
and visitors are served in between. A visitor who is logged out without having asked for it has lost a login. After each
restart and at the end, the cookies of all who logged out are tried once more: one that is accepted is a logout undone.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.figures import save
from bench.machine import facts

ENGINES = "django.contrib.sessions.backends"
WORKERS = 2
OLD = {"ENGINE": f"{ENGINES}.cache", "CACHE": "redis_a"}
NEW = {"ENGINE": f"{ENGINES}.db", "DATABASE": "postgresql_a"}
PLAIN_OLD: dict[str, Any] = {"SESSION_ENGINE": OLD["ENGINE"], "SESSION_CACHE_ALIAS": OLD["CACHE"], "MIGRATOR": {}}
PLAIN_NEW: dict[str, Any] = {"SESSION_ENGINE": NEW["ENGINE"], "MIGRATOR": {"SESSION_DATABASE": NEW["DATABASE"]}}
ROUTERS = ["migrator.sessions.router.SessionRouter"]
# What is counted, and how tables call it.
COLUMNS = {
    "requests": "requests",
    "lost": "logins lost",
    "logouts": "logouts",
    "undone": "undone for a time",
    "still_undone": "undone at the end",
}
# What a visitor does next, and how often.
ACTS = {"visit": 90, "log out": 10}


def phase(name: str) -> dict[str, Any]:
    """Return the settings of a worker in a phase of the transition."""
    sessions = {"OLD": OLD, "NEW": NEW, "PHASE": name}
    return {"SESSION_ENGINE": "migrator.sessions.transition", "MIGRATOR": {"SESSIONS": sessions}}


# The worker


def serve() -> None:
    """Answer requests, one per line, until the input ends."""
    import django

    django.setup()
    from django.conf import settings
    from django.test import Client

    for name, value in json.loads(os.environ["BENCH_SETTINGS"]).items():
        setattr(settings, name, value)
    settings.ROOT_URLCONF, settings.ALLOWED_HOSTS, settings.DATABASE_ROUTERS = "tests.sessions.site", ["*"], ROUTERS
    for line in sys.stdin:
        path, cookie = json.loads(line)
        client = Client()
        if cookie:
            client.cookies["sessionid"] = cookie
        found = client.get(path).json()
        left = client.cookies.get("sessionid")
        print(json.dumps([found["user"], left.value if left else ""]), flush=True)


class Worker:
    """A process with its own settings."""

    def __init__(self, settings: dict[str, Any]) -> None:
        environment = os.environ | {"DJANGO_SETTINGS_MODULE": "settings.test", "BENCH_SETTINGS": json.dumps(settings)}
        pipe = subprocess.PIPE
        words = [sys.executable, "-m", "bench.rolling", "--serve"]
        self._process = subprocess.Popen(words, env=environment, stdin=pipe, stdout=pipe, text=True)

    def get(self, path: str, cookie: str = "") -> tuple[str, str]:
        """Return the name of the user that the answer is for, and the cookie that the browser has now."""
        assert self._process.stdin is not None  # noqa: S101
        assert self._process.stdout is not None  # noqa: S101
        self._process.stdin.write(json.dumps([path, cookie]) + "\n")
        self._process.stdin.flush()
        user, left = json.loads(self._process.stdout.readline())
        return user, left

    def stop(self) -> None:
        """Let the worker end, with its last counts stored."""
        self._process.communicate()


# The visitors


class Site:
    """The workers behind a balancer, and the visitors."""

    def __init__(self, visitors: int, requests: int, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311
        self.requests = requests
        self.found: Counter[str] = Counter()
        self.workers = [Worker(PLAIN_OLD) for _ in range(WORKERS)]
        self.cookies = [""] * visitors
        self.ended: list[str] = []
        self.undone: set[str] = set()
        for number in range(visitors):
            self._log_in(number)

    def get(self, path: str, cookie: str = "") -> tuple[str, str]:
        """Send a request to any worker."""
        self.found["requests"] += 1
        return self.random.choice(self.workers).get(path, cookie)

    def _log_in(self, number: int) -> None:
        _, self.cookies[number] = self.get("/login/visitor", self.cookies[number])

    def serve(self) -> None:
        """Let visitors use the site for some requests."""
        for _ in range(self.requests):
            number = self.random.randrange(len(self.cookies))
            act = self.random.choices(list(ACTS), list(ACTS.values()))[0]
            if not self.cookies[number]:
                self._log_in(number)
            elif act == "visit":
                self._visit(number)
            else:
                self.ended.append(self.cookies[number])
                self.get("/logout", self.cookies[number])
                self.cookies[number] = ""

    def _visit(self, number: int) -> None:
        user, left = self.get("/who", self.cookies[number])
        if not user:
            self.found["lost"] += 1
        self.cookies[number] = left if user else ""

    def deploy(self, settings: dict[str, Any]) -> None:
        """Restart one worker after the other, and serve visitors in between and afterwards."""
        for number in range(WORKERS):
            self.workers[number].stop()
            self.workers[number] = Worker(settings)
            self.serve()
            self._try_ended()

    def _try_ended(self) -> int:
        """Come back with the cookies of everyone who logged out; return how many are accepted."""
        accepted = {cookie for cookie in self.ended if self.get("/who", cookie)[0]}
        self.undone |= accepted
        return len(accepted)

    def close(self) -> Counter[str]:
        """Check every cookie once more, and stop the workers."""
        for number, cookie in enumerate(self.cookies):
            if cookie:
                self._visit(number)
        self.found["still_undone"] = self._try_ended()
        self.found["logouts"], self.found["undone"] = len(self.ended), len(self.undone)
        for worker in self.workers:
            worker.stop()
        return self.found


# The two ways


def copy(**options: Any) -> None:
    """Copy the sessions of Redis to PostgreSQL."""
    from migrator.sessions import CopyOptions, End, copy_sessions_cache_to_db

    source, dest = End("cache", OLD["CACHE"], OLD["ENGINE"]), End("db", NEW["DATABASE"], NEW["ENGINE"])
    copy_sessions_cache_to_db(source=source, dest=dest, options=CopyOptions(**options))


def copy_and_switch(site: Site, directory: Path) -> None:
    """Copy, deploy the other engine, and copy once more what the first copy missed."""
    manifest = directory / "moved"
    site.serve()
    copy(manifest=manifest, catch_up=5)
    site.deploy(PLAIN_NEW)
    copy(manifest=manifest, after_switch=True, end_missed=True)
    site.serve()


def transition(site: Site, directory: Path) -> None:
    """Deploy each phase, and copy in ``dual_old``."""
    site.serve()
    site.deploy(phase("old"))
    site.deploy(phase("dual_old"))
    copy(overwrite_older=True)
    for name in ("dual_new", "new"):
        site.deploy(phase(name))
    site.deploy(PLAIN_NEW)


WAYS = {"copy and switch": copy_and_switch, "transition": transition}


@contextmanager
def _databases() -> Iterator[None]:
    import django

    os.environ["DJANGO_SETTINGS_MODULE"] = "settings.test"
    django.setup()
    from django.contrib.auth import get_user_model
    from django.core.cache import caches
    from django.db import connections
    from django.test import override_settings

    from settings.test import RUN_DIRECTORY
    from tests.servers.databases import FreshDatabases

    RUN_DIRECTORY.mkdir(exist_ok=True)
    databases = FreshDatabases()
    try:
        databases.fresh("default", "postgresql_a")
        caches["redis_a"].clear()
        get_user_model().objects.create_user("visitor")
        with override_settings(DATABASE_ROUTERS=ROUTERS):
            yield
    finally:
        connections.close_all()
        databases.drop()
        shutil.rmtree(RUN_DIRECTORY)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--visitors", type=int, default=200)
    parser.add_argument("--requests", type=int, default=500, help="requests after each restart of a worker")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print the counts as JSON")
    parser.add_argument("--figures", action="store_true", help="write them where the documentation reads them")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
        return
    found, machine = {}, {}
    for name, way in WAYS.items():
        with _databases(), tempfile.TemporaryDirectory() as directory:
            site = Site(options.visitors, options.requests, options.seed)
            way(site, Path(directory))
            found[name] = site.close()
            machine = facts([NEW["DATABASE"]], ())
    print(json.dumps(found, indent=2) if options.json else table(found))
    if options.figures:
        rows = [[name, *(counts[column] for column in COLUMNS)] for name, counts in found.items()]
        save("rolling", ["way", *COLUMNS.values()], rows, machine)


def table(found: dict[str, Counter[str]]) -> str:
    """Format the counts for people."""
    lines = ["".join([f"{'':<16}", *(f"{title:>19}" for title in COLUMNS.values())])]
    for name, counts in found.items():
        lines.append("".join([f"{name:<16}", *(f"{counts[column]:>19,}" for column in COLUMNS)]))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
