"""Measure what workers of Celery cost and bring: moves of the shop by processes of the command, and by workers.

    python -m tests.servers -- python -m bench.executors --rows 1000000

Between PostgreSQL and MariaDB or MySQL, in each direction. Two ways have two processes for the rows: `--jobs 2`, and
one process of the command with one worker, which is Celery's with one process. Only the command's own recreate indexes.
For each way, the median seconds of several moves in turn, without those of starting the worker, and the ratio to
`--jobs 2`. All run on this machine, so only the overhead is to be seen, not what more hosts bring.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

from bench.rows_places import own_places

ENGINES = ("postgresql", "mysql")
ROUTES = [(f"{source}_a", f"{dest}_b") for source in ENGINES for dest in ENGINES]
QUEUE = "bench"
WAYS = {"--jobs 1": ["--jobs", "1"], "--jobs 2": ["--jobs", "2"], "1 process, 1 worker": ["--executor", "celery"]}
COMPARED_WITH = "--jobs 2"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    app = "tests.databases.executors.celery_app"
    os.environ["MIGRATOR_TEST_EXECUTOR"] = json.dumps({"celery": {"APP": f"{app}.app", "QUEUE": QUEUE}})
    print("route                          way                   seconds   ratio")
    with own_places() as places, _worker(app):
        places.fill(ENGINES, options.rows, 100)
        for source, dest in ROUTES:
            seconds: dict[str, list[float]] = {way: [] for way in WAYS}
            for _ in range(options.rounds):
                for way, words in WAYS.items():
                    places.empty(dest)
                    seconds[way].append(_move(source, dest, *words))
            for way in WAYS:
                ratio = median(seconds[way]) / median(seconds[COMPARED_WITH])
                print(f"{f'{source} to {dest}':<30} {way:<20} {median(seconds[way]):>8.1f}  {ratio:>6.2f}", flush=True)


@contextmanager
def _worker(app: str) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, "-m", app, QUEUE, "bench", "--concurrency", "1", "--prefetch-multiplier", "1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(5)  # it connects to its broker
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _move(source: str, dest: str, *words: str) -> float:
    command = [sys.executable, "manage.py", "batch_migrate", "shop", "--source", source, "--dest", dest, "--no-input"]
    done = subprocess.run([*command, "--format", "json", *words], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return float(json.loads(done.stdout)["seconds"])


if __name__ == "__main__":
    main()
