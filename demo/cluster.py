"""Move the shop with three Celery workers, and kill one of them in the middle (``python -m demo.cluster``).

``make demo-cluster`` starts the servers; their addresses are in the environment.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import django

WORKERS = 3
LAST_JOINED = f"{WORKERS} workers joined"
MOVE = (
    "batch_migrate", "--source", "default", "--dest", "new", "--migrate", "--executor", "celery", "--chunk-size", "500",
    "--verify", "full", "--no-input",
)  # fmt: skip
WORKER = ("-A", "demo.celery", "worker", "-Q", "migrator", "--concurrency", "1", "--prefetch-multiplier", "1")


def main() -> int:
    """Make the demonstration, with another number of orders if it is given; the exit code is that of the move."""
    orders = int(sys.argv[1]) if len(sys.argv) > 1 else 19_000
    os.environ["DJANGO_SETTINGS_MODULE"] = "settings.cluster"
    os.environ["DEMO_POSTGRESQL"] = os.environ["MIGRATOR_TEST_POSTGRESQL"]
    os.environ["DEMO_REDIS"] = f"{os.environ['MIGRATOR_TEST_REDIS'].rstrip('/')}/9"
    django.setup()

    from django.core.management import call_command

    from .data import fill

    with _databases():
        print(f"A shop with {orders:,} orders is filled …")
        call_command("migrate", database="default", verbosity=0)
        fill("default", orders=orders)
        print(f"{WORKERS} workers start: celery {' '.join(WORKER)}")
        with _workers() as workers:
            print(f"\n$ python manage.py {' '.join(MOVE)}")
            return _move(workers)


@contextmanager
def _databases() -> Iterator[None]:
    """Create both databases, and drop them at the end."""
    from django.db import connections

    names = [connections.databases[alias]["NAME"] for alias in ("default", "new")]
    server = connections["default"].copy()
    server.settings_dict = {**server.settings_dict, "NAME": "postgres"}

    def administer(statement: str) -> None:
        with server.cursor() as cursor:
            for name in names:
                cursor.execute(statement.format(name))

    administer("DROP DATABASE IF EXISTS {}")
    administer("CREATE DATABASE {}")
    try:
        yield
    finally:
        connections.close_all()
        administer("DROP DATABASE IF EXISTS {} WITH (FORCE)")
        server.close()


@contextmanager
def _workers() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Start the workers, each with its processes in a group of its own."""
    from .celery import app

    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "celery", *WORKER, "--hostname", f"worker{number}@%h"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for number in range(1, WORKERS + 1)
    ]
    try:
        while len(app.control.ping(timeout=1.0)) < WORKERS:
            if any(worker.poll() is not None for worker in workers):
                raise RuntimeError("A worker has ended.")
        yield workers
    finally:
        for worker in workers:
            if worker.poll() is None:
                _kill(worker)


def _kill(worker: subprocess.Popen[bytes]) -> None:
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()


def _move(workers: list[subprocess.Popen[bytes]]) -> int:
    """Move the shop, show what the command prints, and kill a worker when all have joined."""
    with subprocess.Popen(
        [sys.executable, "manage.py", *MOVE], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as move:
        for line in move.stdout or ():
            print(line, end="", flush=True)
            if LAST_JOINED in line:
                _kill(workers[0])
                print("  *** kill -9: worker 1 and its process ***", flush=True)
    return move.returncode


if __name__ == "__main__":
    sys.exit(main())
