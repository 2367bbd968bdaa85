"""Compare session copies with hand-written ones, in rounds, and print the ratios.

    python -m tests.servers -- python -m bench.sessions --sessions 100000 --rounds 3

The servers of the tests do not wait for the disk, which favours methods with many small transactions. Name your own
server in MIGRATOR_TEST_POSTGRESQL to measure one that waits. The output includes what each waits for.

Each method runs in its own process. Slow methods move some of the sessions, and their rate is reported. Every round
runs all methods in turn, so that a busy machine slows all of them down; the medians of the rounds are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import random
import resource
import secrets
import statistics
import string
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from bench.figures import save
from bench.figures import sessions as figures_of_sessions
from bench.machine import facts

ALPHABET = string.ascii_lowercase + string.digits
DATABASES = ("postgresql_a", "mysql_a", "sqlite_a")
WAITS = {
    "postgresql": ("SHOW fsync", "SHOW synchronous_commit"),
    "mysql": ("SELECT @@innodb_flush_log_at_trx_commit",),
    "sqlite": ("PRAGMA journal_mode", "PRAGMA synchronous"),
}
OTHER_KEYS_FOR_EACH_SESSION = 0.4
BY_HAND = 3_000
PREFIX = "django.contrib.sessions.cache"


def batched(items: Iterable[Any], size: int) -> Iterator[tuple[Any, ...]]:
    """Yield tuples of up to ``size`` items, as itertools.batched() of Python 3.12 does."""
    source = iter(items)
    while part := tuple(islice(source, size)):
        yield part


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--databases", nargs="*", default=DATABASES)
    parser.add_argument("--json", action="store_true", help="print the medians as JSON")
    parser.add_argument("--figures", action="store_true", help="write them where the documentation reads them")
    parser.add_argument("--one", nargs=3, metavar=("WAY", "DATABASE", "SESSIONS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(_run_one(*options.one[:2], int(options.one[2]))))
        return
    with _own_databases():
        _fill(options.sessions)
        waits = {name: _waits(name) for name in options.databases}
        machine = facts(options.databases, ())
        medians = {name: _measured(name, options) for name in options.databases}
    print(json.dumps(medians, indent=2) if options.json else _table(medians, waits, options.sessions))
    if options.figures:
        save("sessions", *figures_of_sessions(medians[options.databases[0]]), machine)


# The rounds


def _measured(database: str, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    found: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    for number in range(options.rounds):
        for name in WAYS:
            print(f"round {number + 1} of {options.rounds}: {database}, {name}", file=sys.stderr)
            command = [sys.executable, "-m", "bench.sessions", "--one", name, database, str(options.sessions)]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
            found[name].append(json.loads(done.stdout))
    return {
        name: {key: statistics.median(run[key] for run in runs) for key in ("rate", "mebibytes")}
        for name, runs in found.items()
    }


def _run_one(name: str, database: str, sessions: int) -> dict[str, float]:
    _set_up()
    seconds, moved = WAYS[name](database, sessions)
    peak = max(
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    )
    return {"rate": moved / seconds, "mebibytes": peak / 1024}


def _waits(database: str) -> str:
    """Describe how a database waits for the disk at a commit."""
    from django.db import connections

    found = []
    for question in WAITS[connections[database].vendor]:
        with connections[database].cursor() as cursor:
            cursor.execute(question)
            found.append(f"{question.split()[-1].strip('@')} {cursor.fetchone()[0]}")
    connections[database].close()
    return ", ".join(found)


def _table(medians: dict[str, dict[str, dict[str, float]]], waits: dict[str, str], sessions: int) -> str:
    lines = [f"{sessions:,} sessions; sessions per second, ratio to the first method of its group, peak memory"]
    for database, ways in medians.items():
        lines.append(f"\n{database} ({waits[database]})")
        base = 0.0
        for name, found in ways.items():
            base = found["rate"] if name in FIRST_WAYS else base
            rate, memory = found["rate"], found["mebibytes"]
            lines.append(f"  {name:<44}{rate:>10,.0f}/s {rate / base:>7.1f} x {memory:>7.0f} MiB")
    return "\n".join(lines)


# The stores


def _set_up() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "settings.test"
    import django
    from django.conf import settings

    for alias in ("redis_a", "redis_b"):
        settings.CACHES[alias]["BACKEND"] = "django.core.cache.backends.redis.RedisCache"
    django.setup()


@contextmanager
def _own_databases() -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="migrator-bench-") as directory:
        os.environ["MIGRATOR_TEST_DIRECTORY"] = directory
        _set_up()
        from django.db import connections

        from tests.servers.databases import FreshDatabases

        databases = FreshDatabases()
        try:
            databases.fresh("default", *DATABASES)
            yield
        finally:
            connections.close_all()
            databases.drop()


def _redis(alias: str) -> Any:
    from django.core.cache import caches

    return caches[alias]._cache.get_client(None, write=True)  # type: ignore[attr-defined]


def _fill(count: int) -> None:
    """Fill the source cache: sessions of about 500 bytes with different expiries, and other keys."""
    client = _redis("redis_a")
    client.flushdb()
    _redis("redis_b").flushdb()
    numbers = random.Random(1)  # noqa: S311  (only lengths and rates matter)
    moment = int(time.time() * 1000)
    for part in batched(range(count), 5_000):
        pipeline = client.pipeline(transaction=False)
        for number in part:
            key = "".join(numbers.choices(ALPHABET, k=32))
            expires = moment + numbers.randrange(3_600_000, 1_209_600_000)
            pipeline.set(f":1:{PREFIX}{key}", pickle.dumps(_data(number), 5), pxat=expires)
            if numbers.random() < OTHER_KEYS_FOR_EACH_SESSION:
                pipeline.set(f":1:page:{key}", b"x" * 100, px=3_600_000)
        pipeline.execute()


def _data(number: int) -> dict[str, Any]:
    return {
        "_auth_user_id": str(number),
        "_auth_user_backend": "django.contrib.auth.backends.ModelBackend",
        "_auth_user_hash": secrets.token_hex(32),
        "cart": [{"sku": secrets.token_hex(5), "quantity": 1} for _ in range(4)],
        "csrf": secrets.token_hex(16),
        "language": "en",
        "note": secrets.token_urlsafe(60),
    }


def _empty_table(database: str) -> None:
    from django.db import connections

    with connections[database].cursor() as cursor:
        for statement in connections[database].ops.sql_flush(_style(), ["django_session"]):
            cursor.execute(statement)


def _style() -> Any:
    from django.core.management.color import no_style

    return no_style()


def _timed(work: Callable[[], int]) -> tuple[float, int]:
    started = time.perf_counter()
    moved = work()
    return time.perf_counter() - started, moved


# What people write: cache to database


def by_hand_to_database(database: str, sessions: int) -> tuple[float, int]:
    """Scan, get and save, one session at a time."""
    from django.contrib.sessions.backends.db import SessionStore
    from django.contrib.sessions.models import Session
    from django.core.cache import caches
    from django.db import transaction

    _empty_table(database)
    cache = caches["redis_a"]

    def work() -> int:
        store = SessionStore()
        keys = islice(_redis("redis_a").scan_iter(match=f":1:{PREFIX}*"), BY_HAND)
        moved = 0
        for raw in keys:
            key = raw.decode().removeprefix(":1:")
            data = cache.get(key)
            row = Session(
                session_key=key.removeprefix(PREFIX),
                session_data=store.encode(data),
                expire_date=store.get_expiry_date(),
            )
            with transaction.atomic(using=database):
                row.save(using=database)
            moved += 1
        return moved

    return _timed(work)


def in_bulk_to_database(database: str, sessions: int) -> tuple[float, int]:
    """Pipelines, Django's encoder, bulk_create."""
    import datetime as dt

    from django.contrib.sessions.backends.db import SessionStore
    from django.contrib.sessions.models import Session

    _empty_table(database)
    client = _redis("redis_a")

    def work() -> int:
        store, moved = SessionStore(), 0
        for keys in batched(client.scan_iter(match=f":1:{PREFIX}*", count=2000), 2000):
            pipeline = client.pipeline(transaction=False)
            for key in keys:
                pipeline.get(key)
                pipeline.pttl(key)
            found = pipeline.execute()
            moment = dt.datetime.now(dt.UTC)
            rows = [
                Session(
                    session_key=key.decode().removeprefix(f":1:{PREFIX}"),
                    session_data=store.encode(pickle.loads(value)),  # noqa: S301  (what they do)
                    expire_date=moment + dt.timedelta(milliseconds=left),
                )
                for key, value, left in zip(keys, found[::2], found[1::2], strict=True)
            ]
            Session.objects.using(database).bulk_create(rows, ignore_conflicts=True)
            moved += len(rows)
        return moved

    return _timed(work)


# What people write: database to cache


def by_hand_to_cache(database: str, sessions: int) -> tuple[float, int]:
    """get_decoded and cache.set, one session at a time."""
    from django.contrib.sessions.models import Session
    from django.core.cache import caches

    _redis("redis_b").flushdb()
    cache = caches["redis_b"]

    def work() -> int:
        rows = Session.objects.using(database).all()[: BY_HAND * 3]
        moved = 0
        for row in rows:
            left = row.expire_date.timestamp() - time.time()
            cache.set(PREFIX + row.session_key, row.get_decoded(), left)
            moved += 1
        return moved

    return _timed(work)


def in_bulk_to_cache(database: str, sessions: int) -> tuple[float, int]:
    """Django's decoder and pipelines."""
    from django.contrib.sessions.models import Session

    client = _redis("redis_b")
    client.flushdb()

    def work() -> int:
        moved = 0
        for rows in batched(Session.objects.using(database).iterator(2000), 2000):
            pipeline = client.pipeline(transaction=False)
            for row in rows:
                left = int((row.expire_date.timestamp() - time.time()) * 1000)
                pipeline.set(f":1:{PREFIX}{row.session_key}", pickle.dumps(row.get_decoded(), 5), px=left)
            pipeline.execute()
            moved += len(rows)
        return moved

    return _timed(work)


# migrator


def ours(*, to_cache: bool, jobs: int) -> Callable[[str, int], tuple[float, int]]:
    def run(database: str, sessions: int) -> tuple[float, int]:
        from migrator.sessions.copying.run import copy_sessions
        from migrator.sessions.records import CopyOptions, End

        if to_cache:
            _redis("redis_b").flushdb()
            ends = End("db", database), End("cache", "redis_b")
        else:
            _empty_table(database)
            ends = End("cache", "redis_a"), End("db", database)
        options = CopyOptions(jobs=jobs)
        seconds, moved = _timed(lambda: copy_sessions(source=ends[0], dest=ends[1], options=options).total.written)
        if moved != sessions:
            raise AssertionError(f"{moved} of {sessions} sessions were written")
        return seconds, moved

    return run


def compare(*, mode: str, jobs: int) -> Callable[[str, int], tuple[float, int]]:
    def run(database: str, sessions: int) -> tuple[float, int]:
        from migrator.sessions.comparison import VerifyOptions
        from migrator.sessions.records import End
        from migrator.sessions.verification import verify_sessions

        options = VerifyOptions(mode=mode, jobs=jobs)

        def work() -> int:
            ends = End("cache", "redis_a"), End("db", database)
            found = verify_sessions(source=ends[0], dest=ends[1], options=options).comparison
            if found.equal != sessions:
                raise AssertionError(f"{found.equal} of {sessions} sessions are equal")
            return found.equal

        return _timed(work)

    return run


WAYS: dict[str, Callable[[str, int], tuple[float, int]]] = {
    "cache to database, by hand": by_hand_to_database,
    "cache to database, bulk_create": in_bulk_to_database,
    "cache to database, migrator --jobs 2": ours(to_cache=False, jobs=2),
    "cache to database, migrator": ours(to_cache=False, jobs=1),
    "database to cache, by hand": by_hand_to_cache,
    "database to cache, pipelines": in_bulk_to_cache,
    "database to cache, migrator": ours(to_cache=True, jobs=1),
    "database to cache, migrator --jobs 2": ours(to_cache=True, jobs=2),
    "compare, quick": compare(mode="quick", jobs=1),
    "compare, full": compare(mode="full", jobs=1),
    "compare, full --jobs 2": compare(mode="full", jobs=2),
}
FIRST_WAYS = ("cache to database, by hand", "database to cache, by hand", "compare, quick")


if __name__ == "__main__":
    main()
