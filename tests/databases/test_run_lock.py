"""Two runs at once to one destination: the second is sent away at once, and the first does not notice."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from django.db.models import QuerySet

from tests.databases.snapshots import insert_rows
from tests.forking import Command
from tests.manage import Finished, start_code
from tests.management.running import error_in, run
from tests.servers.databases import Pair
from tests.testapp.models import Tag

TO_EACH_ENGINE = [Pair("postgresql_a", "sqlite_b"), Pair("sqlite_a", "postgresql_b"), Pair("postgresql_a", "mysql_b")]
to_each_engine = pytest.mark.parametrize("pair", TO_EACH_ENGINE, ids=str, indirect=True)
ROWS = 6

# Stops after its first chunk, says so, and goes on when it is told to.
PAUSING = """
import sys
from contextlib import contextmanager
import django
django.setup()
from migrator.databases.api import Console, batch_migrate
from migrator.console.progress import Progress

class Paused:
    def advance(self, count):
        print("paused", flush=True)
        sys.stdin.readline()

class Pausing(Progress):
    @contextmanager
    def task(self, label, total, *, done=0, unit="rows"):
        yield Paused()

source, dest = sys.argv[1:]
outcome = batch_migrate(
    source=source, dest=dest, labels=["testapp.Tag"], chunk_size=2, console=Console(progress=Pausing())
)
sys.exit(outcome.exit_code)
"""


@contextmanager
def paused_run(pair: Pair, directory: Path) -> Iterator[Command]:
    """Run a move in a process of its own that waits after its first chunk."""
    insert_rows(Tag, pair.source, [{"id": number, "name": f"tag {number}"} for number in range(1, ROWS + 1)])
    connections.close_all()
    with start_code(PAUSING, *pair, directory=directory) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "paused\n"
            yield process
        finally:
            process.kill()


def second(pair: Pair, *words: str) -> Finished:
    return run("batch_migrate", "--source", pair.source, "--dest", pair.dest, "testapp.Tag", "--no-input", *words)


def keys(alias: str) -> list[Any]:
    return list(QuerySet(Tag, using=alias).order_by("pk").values_list("pk", flat=True))


@to_each_engine
def test_sends_a_second_run_away_and_names_the_first(pair: Pair, tmp_path: Path) -> None:
    with paused_run(pair, tmp_path) as first:
        for words in ([], ["--replace", pair.dest], ["--resume"], ["--cleanup"]):
            started = time.monotonic()
            finished = second(pair, *words)
            assert time.monotonic() - started < 5
            assert finished.code == 1, words
            assert re.fullmatch(
                rf"CommandError: Another run is writing to '{pair.dest}' \(process {first.pid} on "
                rf"{re.escape(socket.gethostname())}, started \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d[^)]*\)\. "
                r"Wait for it, or stop it\.\n",
                error_in(finished),
            ), finished.err
        assert keys(pair.dest) == [1, 2]
        connections.close_all()
        assert run("verify_counts", "--source", pair.source, "--dest", pair.dest, "testapp.Tag").code == 3
        out, _ = first.communicate("\n" * ROWS, timeout=60)
        assert first.returncode == 0, out
    assert keys(pair.dest) == list(range(1, ROWS + 1))
    assert "migrator_run" not in connections[pair.dest].introspection.table_names()


@to_each_engine
def test_the_lock_is_free_after_the_first_was_killed(pair: Pair, tmp_path: Path) -> None:
    with paused_run(pair, tmp_path) as first:
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
    deadline = time.monotonic() + 10
    while "Another run" in (finished := second(pair)).err and time.monotonic() < deadline:
        time.sleep(0.05)
    assert finished.code == 1
    assert f"'{pair.dest}' holds an unfinished run (process {first.pid} on " in error_in(finished)
    assert keys(pair.dest) == [1, 2]
    connections.close_all()
    resumed = second(pair, "--resume", "--chunk-size", "2")
    assert resumed.code == 0, resumed.err
    assert keys(pair.dest) == list(range(1, ROWS + 1))
    assert second(pair, "--replace", pair.dest).code == 0


def test_a_lock_leaves_no_file_behind(databases: Any) -> None:
    pair = Pair("sqlite_a", "sqlite_b")
    databases.fresh(*pair)
    insert_rows(Tag, pair.source, [{"name": "one"}])
    directory = Path(connections[pair.dest].settings_dict["NAME"]).parent
    before = set(directory.iterdir())
    assert second(pair).code == 0
    assert set(directory.iterdir()) == before
