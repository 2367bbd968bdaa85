"""A command whose report ends with another exit code than 0 says its verdict once: in the report, or as its error."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
from django.core.management import CommandError, call_command

from migrator.errors import MigratorError
from settings.base import ROOT
from tests.databases.snapshots import insert_rows
from tests.management.running import at_terminal, run
from tests.servers.databases import FreshDatabases
from tests.testapp.models import Tag

WORDS = ("verify_counts", "--source", "sqlite_a", "--dest", "sqlite_b", "testapp.Tag")
VERDICT = "Differences were found in 1 of 1 table."


@pytest.fixture(autouse=True)
def _different(databases: FreshDatabases) -> None:
    databases.fresh("sqlite_a", "sqlite_b")
    insert_rows(Tag, "sqlite_a", [{"id": 1, "name": "one"}])


STATUS = "migrator.management.commands.migrator_status"


@pytest.mark.parametrize("more", [(), ("--format", "json")])
def test_a_report_that_is_read_has_the_only_verdict(more: tuple[str, ...]) -> None:
    for finished in (run(*WORDS, *more), at_terminal(*WORDS, *more)):
        assert finished.code == 3
        assert (finished.out + finished.err).count(f"DIFFERENT  {VERDICT}") == 1
        assert "CommandError" not in finished.out + finished.err


def test_a_report_that_goes_to_a_file_is_not_read(tmp_path: Path) -> None:
    for file in (tmp_path / "report.txt", Path("/dev/null")):
        with file.open("w") as out:
            finished = subprocess.run(
                [sys.executable, "manage.py", *WORDS], cwd=ROOT, stdout=out, stderr=subprocess.PIPE, text=True
            )
        assert finished.returncode == 3
        assert finished.stderr.endswith(f"CommandError: {VERDICT}\n")


def test_what_is_not_in_the_report_is_still_said() -> None:
    with mock.patch("migrator.console.report_files.replace_private", side_effect=MigratorError("disk full")):
        finished = run(*WORDS, "--report", "report.txt")
    assert finished.code == 3
    assert finished.err.endswith("CommandError: The work is done, but its report is missing: disk full\n")


def test_a_refusal_says_that_its_report_is_missing() -> None:
    refused = ("migrator_status", "--dest", "sqlite_a", "--report", "report.txt")
    with (
        mock.patch("migrator.console.report_files.replace_private", side_effect=MigratorError("disk full")),
        mock.patch(f"{STATUS}.StatusReader.read", side_effect=MigratorError("It does not answer.")),
    ):
        finished = run(*refused)
    assert (finished.code, finished.out) == (1, "")
    assert finished.err == "CommandError: It does not answer.\nThe report is missing: disk full\n"


def test_python_gets_the_verdict_as_an_error() -> None:
    out = io.StringIO()
    with pytest.raises(CommandError) as caught:
        call_command(*WORDS, stdout=out, stderr=io.StringIO())
    assert (caught.value.returncode, str(caught.value)) == (3, VERDICT)
    assert VERDICT in out.getvalue()
