"""A disk that is full, of the destination or of our own files: a clean end, and the way on once there is space."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from settings.base import ROOT
from tests.databases.copying.test_retry import FULL_DISK, SPACE_AGAIN, execute
from tests.databases.snapshots import insert_rows
from tests.management.running import run
from tests.scenarios.faults.oracle import THREE_PAIRS, TO_SERVERS, Oracle, assert_ended, count_rows, words
from tests.testapp.models import Tag

TO_POSTGRESQL = [TO_SERVERS[0]]
SKIP = ("--on-error", "skip", "--rejects")


@contextmanager
def full_disk(alias: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Give what the database says when it is full.

    SQLite is really full, by a limit to the pages of its file. The servers' words come from a trigger, for a disk of
    theirs cannot be filled by one who is not their superuser.
    """
    connection = connections[alias]
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA page_count")
            (pages,) = cursor.fetchone()
        connection.close()
        with monkeypatch.context() as patch:
            limit = f"PRAGMA max_page_count = {pages + 8}"
            patch.setitem(connection.settings_dict["OPTIONS"], "init_command", limit)
            yield "database or disk is full"
        connection.close()
        return
    execute(alias, *FULL_DISK[connection.vendor])
    connection.close()
    yield "disk is full"
    execute(alias, *SPACE_AGAIN[connection.vendor])


@pytest.mark.parametrize("pair", THREE_PAIRS, ids=str, indirect=True)
def test_a_full_destination_ends_the_run_at_once_and_it_goes_on_later(
    oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert_rows(Tag, oracle.pair.source, [{"id": number, "name": "x" * 80} for number in range(1000, 2500)])
    with full_disk(oracle.pair.dest, monkeypatch) as said:
        finished = run(*words(oracle.pair, "--keep-triggers"))
        again = run(*words(oracle.pair, "--keep-triggers", "--resume"))
    for ended in (finished, again):
        assert_ended(ended, 1, said, "rows are committed in", "--resume", "--cleanup")
        assert "trying again" not in ended.err
    oracle.assert_goes_on()


# -- files of our own ----------------------------------------------------------------------------------------------


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size: the write fails as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("pair", TO_POSTGRESQL, ids=str, indirect=True)
def test_a_full_disk_of_rejected_rows_stops_the_run_before_it_drops_one(oracle: Oracle, tmp_path: Path) -> None:
    path, bad = tmp_path / "rejects.jsonl", list(range(4, 40, 2))
    Tag._base_manager.using(oracle.pair.source).filter(pk__in=bad).update(name="long " * 30)
    with largest_file(2048):
        finished = run(*words(oracle.pair, *SKIP, str(path)))
    assert_ended(finished, 1, f"{str(path)!r} cannot be written: File too large.", "--resume")
    assert len(lines_of(path)) < len(bad)
    goes_on = run(*words(oracle.pair, *SKIP, str(path), "--resume"))
    assert_ended(goes_on, 4)
    tags = [line["pk"] for line in lines_of(path) if line["model"] == "testapp.Tag"]
    assert sorted(tags, key=int) == [str(number) for number in bad]
    assert count_rows(Tag, oracle.pair.dest) == count_rows(Tag, oracle.pair.source) - len(bad)
    oracle.assert_tidy()


@pytest.mark.parametrize("before", [None, '{"of": "an earlier run"}'])
@pytest.mark.parametrize("pair", TO_POSTGRESQL, ids=str, indirect=True)
def test_a_full_disk_of_reports_leaves_no_half_of_one(oracle: Oracle, before: str | None, tmp_path: Path) -> None:
    """The work is done by then, and is reported."""
    path = tmp_path / "report.json"
    if before is not None:
        path.write_text(before)
    with largest_file(1024):
        finished = run(*words(oracle.pair, "--report", str(path)))
    said = f"The work is done, but its report is missing: {str(path)!r} cannot be written: File too large."
    assert_ended(finished, 1, said)
    assert "215" in finished.out
    assert [file.read_text() for file in tmp_path.iterdir()] == ([] if before is None else [before])
    oracle.assert_complete()


@pytest.mark.parametrize("pair", TO_POSTGRESQL, ids=str, indirect=True)
def test_a_report_or_rejected_rows_that_can_have_no_file_stop_the_run_before_it_begins(
    oracle: Oracle, tmp_path: Path
) -> None:
    nowhere = tmp_path / "missing" / "file.json"
    for more in (("--report", str(nowhere)), (*SKIP, str(nowhere))):
        assert_ended(run(*words(oracle.pair, *more)), 2, "does not exist; create it, or name another file.")
    oracle.assert_untouched()


@pytest.mark.parametrize("pair", TO_POSTGRESQL, ids=str, indirect=True)
@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_a_document_that_does_not_fit_on_standard_output_is_no_success(oracle: Oracle, form: str) -> None:
    """A program that reads it would otherwise believe half of it."""
    connections.close_all()
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-W", "error", "manage.py", *words(oracle.pair, "--format", form)]
        finished = subprocess.run(
            command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, check=False
        )
    assert finished.returncode == 1, finished.stderr
    assert "Traceback" not in finished.stderr
    assert "The work is done, but standard output cannot be written: No space left on device." in finished.stderr
    oracle.assert_complete()
