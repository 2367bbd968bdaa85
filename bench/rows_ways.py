"""The methods by which `bench.rows` moves a shop: migrator, what people write, and other tools."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from bench.processes import Command, Cost, run
from bench.rows_data import shop_models
from bench.rows_limits import LIMITS
from tests.servers.databases import engine_of

ALL_MODELS = ("shop.Label", "shop.Customer", "shop.Order")


@dataclass(frozen=True)
class Way:
    """One method to move a shop from one alias to another.

    ``is_slow``: it moves the small shop, and its rate is reported. ``makes_tables``: the destination has no tables
    before. ``has_start``: its time includes the start of its process.
    """

    name: str
    role: str
    move: Callable[[str, str], Cost]
    sources: tuple[str, ...] = ("sqlite", "postgresql", "mysql")
    dests: tuple[str, ...] = ("sqlite", "postgresql", "mysql")
    is_slow: bool = False
    makes_tables: bool = False
    program: str | None = None
    has_start: bool = True

    def fits(self, source: str, dest: str) -> bool:
        return source in self.sources and dest in self.dests

    def is_there(self) -> bool:
        """Whether the program that it needs is installed."""
        return self.program is None or shutil.which(self.program) is not None


def ways(jobs: int, *, with_peers: bool) -> list[Way]:
    """List the methods; all others are compared with the first."""
    found = [Way("migrator", "ours", ours)]
    if jobs > 1:
        found.append(Way(f"migrator --jobs {jobs}", "ours", lambda s, d: ours(s, d, "--jobs", str(jobs))))
    found.append(Way("migrator, INSERT", "ours", lambda s, d: ours(s, d.replace("_b", "_inserts")), dests=("mysql",)))
    found.append(Way("limit: ready file, indexes recreated", "limit", _inside("limit"), has_start=False))
    return found + _peers() if with_peers else found


def _peers() -> list[Way]:
    only: Any = {"sources": ("postgresql",), "dests": ("postgresql",), "makes_tables": True, "program": "pg_restore"}
    loader: Any = {
        "sources": ("sqlite", "mysql"),
        "dests": ("postgresql",),
        "makes_tables": True,
        "program": "pgloader",
    }
    return [
        Way("loop of iterator() and save()", "naive", _inside("naive"), is_slow=True, has_start=False),
        Way("bulk_create by 5,000", "peer", _inside("bulk"), is_slow=True, has_start=False),
        Way("dumpdata, loaddata", "slow peer", _inside("fixture"), is_slow=True, has_start=False),
        *(Way(name, "peer", move, **only) for name, move in _DUMPS.items()),
        *(Way(f"{name}{FAIR}", "peer", _analyzed_and_counted(move), **only) for name, move in _DUMPS.items()),
        Way("pgloader", "peer", _pgloader(), **loader),
        Way("pgloader, prefetch rows = 10000", "peer", _pgloader("prefetch rows = 10000"), **loader),
    ]


# -- migrator -------------------------------------------------------------------------------------------------------


def ours(source: str, dest: str, *options: str, labels: tuple[str, ...] = ("shop",), verify: str = "count") -> Cost:
    """Run the command as a user does, in its own process, timed from its start to its end."""
    command = [*_manage("batch_migrate", *labels), "--source", source, "--dest", dest, "--no-input", "--verify", verify]
    cost, out = run([*command, "--format", "json", "--no-progress", "--verbosity", "0", *options])
    return cost._replace(own_seconds=json.loads(out)["seconds"])


def check(source: str, dest: str) -> Cost:
    """Compare the values of all rows; a difference is an error."""
    command = _manage("verify_counts", "shop", "--source", source, "--dest", dest, "--mode", "full")
    return run([*command, "--format", "json", "--no-progress", "--verbosity", "0"])[0]


CHECK = Way("verify_counts --mode full", "check", check)


def _manage(*arguments: str) -> list[str]:
    return [sys.executable, "manage.py", *arguments]


# -- what people write ------------------------------------------------------------------------------------------------


def _inside(name: str) -> Callable[[str, str], Cost]:
    """Run one of :data:`INSIDE` in its own process, which reports the time of the work without its start."""

    def move(source: str, dest: str) -> Cost:
        cost, out = run([sys.executable, "-m", "bench.rows", "--one", name, source, dest])
        return cost._replace(seconds=json.loads(out)["seconds"])

    return move


def naive(source: str, dest: str) -> float:
    started = time.perf_counter()
    for model in shop_models():
        for row in model.objects.using(source).iterator():
            row.save(using=dest)
    return time.perf_counter() - started


def bulk(source: str, dest: str) -> float:
    started = time.perf_counter()
    for model in shop_models():
        batch: list[Any] = []
        for row in model.objects.using(source).iterator():
            batch.append(row)
            if len(batch) == 5_000:
                model.objects.using(dest).bulk_create(batch)
                batch.clear()
        model.objects.using(dest).bulk_create(batch)
    return time.perf_counter() - started


def fixture(source: str, dest: str) -> float:
    from django.core.management import call_command

    with tempfile.TemporaryDirectory(prefix="migrator-bench-") as directory:
        file = f"{directory}/shop.json"
        started = time.perf_counter()
        call_command("dumpdata", *ALL_MODELS, database=source, output=file, verbosity=0)
        call_command("loaddata", file, database=dest, verbosity=0)
        return time.perf_counter() - started


def limit(source: str, dest: str) -> float:
    with tempfile.TemporaryDirectory(prefix="migrator-bench-") as directory:
        return LIMITS[engine_of(dest)](dest, Path(directory))


INSIDE = {"naive": naive, "bulk": bulk, "fixture": fixture, "limit": limit}


# -- tools ------------------------------------------------------------------------------------------------------------


def address(alias: str) -> tuple[str, str, str, str, str]:
    """Return user, password, host, port and name of a server's database."""
    from django.db import connections

    given = urlsplit(os.environ[f"MIGRATOR_TEST_{engine_of(alias).upper()}"])
    name = str(connections[alias].settings_dict["NAME"])
    return given.username or "", given.password or "", given.hostname or "", str(given.port or ""), name


def _reach(alias: str) -> tuple[list[str], dict[str, str]]:
    user, password, host, port, name = address(alias)
    return ["-h", host, "-p", port, "-U", user, "-d", name], {"PGPASSWORD": password}


# What a dump needs besides to be compared fairly.
FAIR = ", analyzed and counted"
TABLES = ["-t", "shop_*", "--no-owner"]


def _dump_piped(*options: str) -> Callable[[str, str], Cost]:
    def move(source: str, dest: str) -> Cost:
        (there, environment), (here, _) = _reach(source), _reach(dest)
        dump: Command = ["pg_dump", *there, "-Fc", *options, *TABLES]
        restore: Command = ["pg_restore", *here, "--no-owner", "--exit-on-error"]
        return run(dump, restore, environment=environment)[0]

    return move


def _dump_in_parallel(source: str, dest: str) -> Cost:
    (there, environment), (here, _) = _reach(source), _reach(dest)
    with tempfile.TemporaryDirectory(prefix="migrator-bench-") as directory:
        file = f"{directory}/dump"
        one, _ = run(["pg_dump", *there, "-Fd", "-j2", "-Z0", "-f", file, *TABLES], environment=environment)
        restore = ["pg_restore", *here, "-j2", "--no-owner", "--exit-on-error", file]
        other, _ = run(restore, environment=environment)
    seconds, cpu_seconds = one.seconds + other.seconds, one.cpu_seconds + other.cpu_seconds
    return Cost(seconds, cpu_seconds, max(one.mebibytes, other.mebibytes))


_DUMPS = {
    "pg_dump -Fc | pg_restore": _dump_piped(),
    "pg_dump -Fc -Z0 | pg_restore": _dump_piped("-Z0"),
    "pg_dump -Fd -j2 -Z0, pg_restore -j2": _dump_in_parallel,
}


def _analyzed_and_counted(move: Callable[[str, str], Cost]) -> Callable[[str, str], Cost]:
    """Leave the same state as migrator does, and prove as much: statistics, and the row counts of both sides."""

    def move_and_prove(source: str, dest: str) -> Cost:
        costs = [move(source, dest)]
        (there, environment), (here, _) = _reach(source), _reach(dest)
        costs.append(run(["vacuumdb", *here, "--analyze-only", "--quiet"], environment=environment)[0])
        counts = " UNION ALL ".join(f"SELECT COUNT(*) FROM {model._meta.db_table}" for model in shop_models())
        costs += (run(["psql", *ends, "-Atc", counts], environment=environment)[0] for ends in (there, here))
        seconds, cpu_seconds = (sum(getattr(cost, name) for cost in costs) for name in ("seconds", "cpu_seconds"))
        return Cost(seconds, cpu_seconds, max(cost.mebibytes for cost in costs))

    return move_and_prove


def _pgloader(*options: str) -> Callable[[str, str], Cost]:
    def move(source: str, dest: str) -> Cost:
        with tempfile.TemporaryDirectory(prefix="migrator-bench-") as directory:
            script = Path(directory) / "shop.load"
            script.write_text(_pgloader_script(source, dest, options))
            root = ["--root-dir", f"{directory}/log"]
            return run(["pgloader", *root, "--on-error-stop", script])[0]

    return move


def _pgloader_script(source: str, dest: str, options: tuple[str, ...]) -> str:
    ways = ", ".join(["include drop", "create tables", "create indexes", "reset sequences", *options])
    head = f"LOAD DATABASE FROM {_url(source)} INTO {_url(dest)} WITH {ways}"
    if engine_of(source) == "sqlite":
        return f"{head} INCLUDING ONLY TABLE NAMES LIKE 'shop_%';"
    schema = f"ALTER SCHEMA '{address(source)[4]}' RENAME TO 'public'"
    return f"{head} INCLUDING ONLY TABLE NAMES MATCHING ~/^shop_/ {schema};"


def _url(alias: str) -> str:
    from django.db import connections

    if engine_of(alias) == "sqlite":
        return f"sqlite://{connections[alias].settings_dict['NAME']}"
    user, password, host, port, name = address(alias)
    return f"{engine_of(alias)}://{user}:{quote(password)}@{host}:{port}/{name}"
