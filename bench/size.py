"""Measure what grows with the number of tables, of round trips and of chunks, and how long a resumed run takes.

    python -m tests.servers -- python -m bench.size

- `tables`: processor seconds of `manage.py check` and of a dry run, and the lines that a run writes, for 400 and
  1,200 tables.
- `trips`: round trips of a dry run and of a run with 90 small tables, whose destination, or source, is 20 ms away.
- `chunks`: seconds until a resumed run copies again, and its memory, for many chunks that are not copied yet.
- `resume`: how long a run takes that was killed at 90 % of its rows, and its re-check alone, by how long a whole one
  takes: with one process and with two, to PostgreSQL from every engine.

The others are from PostgreSQL to PostgreSQL, and `trips` also to MariaDB or MySQL. Each is measured in a process of its
own.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from bench.processes import run
from bench.rows_places import Places, own_places
from bench.rows_ways import ours

SOURCE, DEST = "postgresql_a", "postgresql_b"
TABLES = (400, 1200)
FEW_TABLES, ROWS_OF_FEW, SECONDS_AWAY = 90, 4, 0.01
FAR = [(DEST, "destination"), ("mysql_b", "destination"), (DEST, "source")]
TRIPS: dict[str, dict[str, Any]] = {"dry run": {"dry_run": True}, "run": {}, "run of 2 processes": {"jobs": 2}}
CHUNKS = (100_000, 1_000_000)
RESUMED_ROWS, RESUMED_SHARE = 2_000_000, 0.9
RESUMED_FROM = ("postgresql_a", "sqlite_a", "mysql_a")

Result = dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", help=f"what to measure, of {', '.join(MEASURED)}; all without it")
    parser.add_argument("--number", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := set(options.what) - MEASURED.keys():
        parser.error(f"unknown: {', '.join(unknown)}")
    if options.number is not None:
        print(json.dumps(MEASURED[options.what[0]][0](options.number)))
        return
    for what in options.what or MEASURED:
        for number in MEASURED[what][1]:
            print(f"{what} {number:,}: {_text(_measured(what, number))}", flush=True)


def _measured(what: str, number: int) -> Result:
    command = [sys.executable, "-m", "bench.size", what, "--number", str(number)]
    tables = str(number if what in ("tables", "trips") else 0)
    done = subprocess.run(
        command, env=os.environ | {"MIGRATOR_BENCH_TABLES": tables}, stdout=subprocess.PIPE, text=True, check=True
    )
    found: Result = json.loads(done.stdout.splitlines()[-1])
    return found


def _text(found: Result) -> str:
    return ", ".join(f"{name} {value:,.1f}" if value < 100 else f"{name} {value:,.0f}" for name, value in found.items())


# -- tables -----------------------------------------------------------------------------------------------------------


def _tables(number: int) -> Result:
    with own_places() as places:
        for alias in (SOURCE, DEST):
            places.empty(alias)
        _fill_tables(number, rows=1)
        check, _ = run([sys.executable, "manage.py", "check"])
        dry_run, _ = run([*_command(), "--dry-run"])
        began = time.perf_counter()
        done = subprocess.run([*_command(), "--replace", DEST], capture_output=True, text=True, check=True)
        seconds = time.perf_counter() - began
    return {
        "check, processor s": check.cpu_seconds,
        "dry run, processor s": dry_run.cpu_seconds,
        "dry run, MiB": dry_run.mebibytes,
        "run, s": seconds,
        "lines of a run": len(done.stdout.splitlines()) + len(done.stderr.splitlines()),
    }


def _fill_tables(number: int, rows: int) -> None:
    from django.apps import apps
    from django.db import connections

    with connections[SOURCE].cursor() as cursor:
        for position in range(number):
            table = apps.get_model("many", f"Table{position}")._meta.db_table
            cursor.execute(f"INSERT INTO {table} (name) SELECT 'row ' || n FROM generate_series(1, {rows}) n")
    connections[SOURCE].close()


def _command(*more: str, source: str = SOURCE) -> list[str]:
    return [
        sys.executable, "manage.py", "batch_migrate", "--source", source, "--dest", DEST, "--no-input", *more,
    ]  # fmt: skip


# -- round trips ------------------------------------------------------------------------------------------------------


def _trips(number: int) -> Result:
    found: Result = {}
    with own_places() as places:
        places.empty(SOURCE)
        _fill_tables(number, ROWS_OF_FEW)
        for dest, far in FAR:
            for title, options in TRIPS.items():
                places.empty(dest)
                found |= _trips_of(dest, far, f"{title} to {dest.partition('_')[0]}, far {far}", options)
    return found


def _trips_of(dest: str, far: str, title: str, options: dict[str, Any]) -> Result:
    from bench.far import far_away
    from migrator.databases import batch_migrate

    with far_away(dest if far == "destination" else SOURCE, SECONDS_AWAY) as server:
        began = time.perf_counter()
        batch_migrate(source=SOURCE, dest=dest, labels=["many"], **options)
        return {f"{title}, round trips": server.round_trips, f"{title}, s": time.perf_counter() - began}


# -- chunks -----------------------------------------------------------------------------------------------------------


def _chunks(number: int) -> Result:
    """Cut a table into that many chunks of one row, kill the run, and resume it until it has copied a few."""
    with own_places() as places:
        for alias in (SOURCE, DEST):
            places.empty(alias)
        _fill_labels(number)
        command = _command("shop.Label", "--chunk-size", "1", "--replace", DEST)
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            _wait_until_copied(1)
            process.kill()
        done = _copied()
        began = time.perf_counter()
        resumed = [*_command("shop.Label", "--chunk-size", "1"), "--resume", "--trust-done"]
        with subprocess.Popen(resumed, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            _wait_until_copied(done + 1)
            seconds = time.perf_counter() - began
            peak = _peak(process.pid)
            process.send_signal(signal.SIGKILL)
    return {"until it copies, s": seconds, "MiB": peak}


def _fill_labels(rows: int) -> None:
    from django.db import connections

    with connections[SOURCE].cursor() as cursor:
        cursor.execute(f"INSERT INTO shop_label (id, name) SELECT n, 'label ' || n FROM generate_series(1, {rows}) n")
        cursor.execute("ANALYZE shop_label")
    connections[SOURCE].close()


def _copied(what: str = "count(*)") -> int:
    from django.db import connections

    with connections[DEST].cursor() as cursor:
        cursor.execute("SELECT to_regclass('migrator_chunk') IS NOT NULL")
        if not cursor.fetchone()[0]:
            return 0
        cursor.execute(f"SELECT {what} FROM migrator_chunk WHERE state = 'done'")
        return int(cursor.fetchone()[0] or 0)


def _wait_until_copied(least: int, what: str = "count(*)") -> None:
    while _copied(what) < least:
        time.sleep(0.1)


def _peak(pid: int) -> float:
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


# -- resumed ----------------------------------------------------------------------------------------------------------


def _resume(rows: int) -> Result:
    found: Result = {}
    with own_places() as places:
        for alias in RESUMED_FROM:
            places.empty(alias)
        _fill_labels(rows)
        for source in RESUMED_FROM:
            if source != SOURCE:
                ours(SOURCE, source)
            for jobs in ("1", "2"):
                measured = _resumed(places, rows, source, "shop.Label", "--jobs", jobs)
                found |= {f"\n  {source}, {jobs} jobs: {name}": value for name, value in measured.items()}
    return found


def _resumed(places: Places, rows: int, source: str, *options: str) -> Result:
    places.empty(DEST)
    whole, _ = run(_command(*options, "--replace", DEST, source=source))
    places.empty(DEST)
    began = time.perf_counter()
    command, unseen = _command(*options, "--replace", DEST, source=source), subprocess.DEVNULL
    with subprocess.Popen(command, stdout=unseen, stderr=unseen) as process:
        _wait_until_copied(int(rows * RESUMED_SHARE), "sum(rows_written)")
        process.kill()
    killed = time.perf_counter() - began
    resumed, output = run(_command(*options, "--resume", "--format", "json", source=source))
    timings = json.loads(output)["timings"]
    return {
        "whole, s": whole.seconds,
        "until it was killed, s": killed,
        "resumed, s": resumed.seconds,
        "re-check, s": next(timing["seconds"] for timing in timings if timing["phase"] == "re-check"),
    }


MEASURED: dict[str, tuple[Callable[[int], Any], tuple[int, ...]]] = {
    "tables": (_tables, TABLES),
    "trips": (_trips, (FEW_TABLES,)),
    "chunks": (_chunks, CHUNKS),
    "resume": (_resume, (RESUMED_ROWS,)),
}


if __name__ == "__main__":
    main()
