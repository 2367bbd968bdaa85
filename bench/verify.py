"""Compare the comparison of values with other methods, and count how many planted faults each finds.

    python -m tests.servers -- python -m bench.verify --rows 200000 --rounds 3

Four faults are planted: a missing row, an extra row, a changed text, and a number that became NULL. `by hand` reads
both tables through Django, in the order of their keys, and compares row by row. `reladiff` runs if the program is found
(`--reladiff PATH`); it has no driver for SQLite. Before the faults are planted, `batch_migrate --update`, the pass that
a site stops for, is measured as well. Every round runs all methods in turn; the medians of the rounds are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from bench.figures import save, verification
from bench.machine import facts

PAIRS = (
    ("postgresql_a", "postgresql_b"),
    ("postgresql_a", "mysql_b"),
    ("mysql_a", "mysql_b"),
    ("sqlite_a", "mysql_b"),
    ("sqlite_a", "sqlite_b"),
)
LABEL, TABLE, COLUMNS = "testapp.Defaulted", "testapp_defaulted", ("number", "word", "at")
PLANTED = 4


class Run(NamedTuple):
    """One run of a method: its time, how many differences it found, and its exit code."""

    seconds: float
    found: int
    code: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2, help="the processes of two more ways (2)")
    parser.add_argument("--reladiff", default=shutil.which("reladiff"), metavar="PATH")
    parser.add_argument("--json", action="store_true", help="print the medians as JSON")
    parser.add_argument("--figures", action="store_true", help="write them where the documentation reads them")
    options = parser.parse_args()
    results: dict[str, dict[str, dict[str, float]]] = {}
    with _own_databases():
        machine = facts({alias for pair in PAIRS for alias in pair}, ())
        for pair in PAIRS:
            _fill(*pair, options.rows)
            for name, count in (("clean", 0), ("planted", PLANTED)):
                if count:
                    _plant(pair[1], options.rows)
                results[f"{pair[0]} to {pair[1]}, {name}"] = _measured(pair, options, is_clean=not count)
    print(json.dumps(results, indent=2) if options.json else _table(results, options.rows))
    if options.figures:
        save("verification", *verification(results, PLANTED), machine)


def _measured(pair: tuple[str, str], options: argparse.Namespace, *, is_clean: bool) -> dict[str, dict[str, float]]:
    ways: dict[str, Callable[[str, str], Run | None]] = {
        "verify_counts --mode full": _ours,
        "verify_counts --mode full --jobs": partial(_ours, jobs=options.jobs),
        "batch_migrate --update": lambda source, dest: _update(source, dest) if is_clean else None,
        "batch_migrate --update --jobs": lambda s, d: _update(s, d, options.jobs) if is_clean else None,
        "by hand": _by_hand,
        "reladiff": lambda source, dest: _reladiff(options.reladiff, source, dest) if options.reladiff else None,
    }
    runs: dict[str, list[Run]] = {}
    for number in range(options.rounds):
        for name, way in ways.items():
            print(f"round {number + 1} of {options.rounds}: {' to '.join(pair)}, {name}", file=sys.stderr)
            run = way(*pair)
            if run is not None:
                runs.setdefault(name, []).append(run)
    return {
        name: {
            "rate": options.rows / statistics.median(run.seconds for run in found),
            "found": min(run.found for run in found),
            "code": found[0].code,
        }
        for name, found in runs.items()
    }


def _table(results: dict[str, dict[str, dict[str, float]]], rows: int) -> str:
    lines = [f"{rows:,} rows; rows per second, ratio to by hand, differing rows found, exit code"]
    for title, ways in results.items():
        lines.append(f"\n{title}")
        by_hand = ways["by hand"]["rate"]
        for name, found in ways.items():
            rate = found["rate"]
            lines.append(
                f"  {name:<34}{rate:>10,.0f}/s {rate / by_hand:>6.1f} x {found['found']:>6.0f} {found['code']:>4.0f}"
            )
    return "\n".join(lines)


# The methods


def _ours(source: str, dest: str, jobs: int = 1) -> Run:
    from migrator.databases.comparison import verify_counts

    started = time.perf_counter()
    comparison = verify_counts(source=source, dest=dest, labels=[LABEL], mode="full", jobs=jobs)
    seconds = time.perf_counter() - started
    return Run(seconds, sum(found.differing for found in comparison.verification.contents), comparison.exit_code)


def _update(source: str, dest: str, jobs: int = 1) -> Run:
    from migrator.databases.api import batch_migrate

    started = time.perf_counter()
    outcome = batch_migrate(source=source, dest=dest, labels=[LABEL], update=True, jobs=jobs)
    seconds = time.perf_counter() - started
    return Run(seconds, sum(update.changes for update in (outcome.updates or {}).values()), outcome.exit_code)


def _by_hand(source: str, dest: str) -> Run:
    started = time.perf_counter()
    found = 0
    here, there = _rows(source), _rows(dest)
    one, other = next(here, None), next(there, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one[0] < other[0]):
            found, one = found + 1, next(here, None)
        elif one is None or other[0] < one[0]:
            found, other = found + 1, next(there, None)
        else:
            found += one != other
            one, other = next(here, None), next(there, None)
    return Run(time.perf_counter() - started, found, 3 if found else 0)


def _rows(alias: str) -> Iterator[tuple[Any, ...]]:
    from tests.testapp.models import Defaulted

    query: Any = Defaulted._base_manager.using(alias).order_by("pk").values_list("pk", *COLUMNS)
    return iter(query.iterator(chunk_size=2000))


def _reladiff(program: str, source: str, dest: str) -> Run | None:
    if "sqlite" in source + dest:
        return None
    columns = [word for name in COLUMNS for word in ("-c", name)]
    command = [program, _address(source), TABLE, _address(dest), TABLE, "-k", "id", *columns, "--json"]
    started = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    seconds = time.perf_counter() - started
    keys = set(re.findall(r'^\s*\["[+-]",\s*\[?"?(-?\d+)', done.stdout, re.MULTILINE))
    return Run(seconds, len(keys), done.returncode)


def _address(alias: str) -> str:
    from django.db import connections

    engine = alias.partition("_")[0]
    given = urlsplit(os.environ[f"MIGRATOR_TEST_{engine.upper()}"])
    return f"{engine}://{given.netloc}/{connections[alias].settings_dict['NAME']}"


# The databases


@contextmanager
def _own_databases() -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="migrator-bench-") as directory:
        os.environ |= {"MIGRATOR_TEST_DIRECTORY": directory, "DJANGO_SETTINGS_MODULE": "settings.test"}
        import django

        django.setup()
        from django.db import connections

        from tests.servers.databases import FreshDatabases

        databases = FreshDatabases()
        try:
            databases.fresh("default", *{alias for pair in PAIRS for alias in pair})
            yield
        finally:
            connections.close_all()
            databases.drop()


def _fill(source: str, dest: str, rows: int) -> None:
    from migrator.databases.api import batch_migrate
    from tests.testapp.models import Defaulted

    first = datetime(2020, 1, 1, tzinfo=UTC)
    manager = Defaulted._base_manager.using(source)
    manager.all().delete()
    for start in range(0, rows, 10_000):
        manager.bulk_create(
            Defaulted(
                pk=n + 1, number=None if n % 7 == 0 else n, word=f"a word for {n}", at=first + timedelta(seconds=n)
            )
            for n in range(start, min(start + 10_000, rows))
        )
    batch_migrate(source=source, dest=dest, labels=[LABEL], replace=dest)


def _plant(dest: str, rows: int) -> None:
    from tests.testapp.models import Defaulted

    manager: Any = Defaulted._base_manager.using(dest)
    manager.filter(pk=rows // 5).delete()
    manager.create(pk=rows + 50, number=1, word="extra row", at=datetime(2020, 1, 1, tzinfo=UTC))
    manager.filter(pk=rows // 2).update(word="changed")
    changed = next(key for key in range(rows // 3, rows) if (key - 1) % 7)
    manager.filter(pk=changed).update(number=None)


if __name__ == "__main__":
    main()
