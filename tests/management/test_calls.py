"""Commands that Python calls: the line to type next is theirs, and not that of the program that calls them."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from tests.databases.snapshots import insert_rows
from tests.management.running import forbid_twins_unasked, run
from tests.servers.databases import FreshDatabases, Pair
from tests.testapp.models import Tag

SQLITE = Pair("sqlite_a", "sqlite_b")
ENDS = {"source": SQLITE.source, "dest": SQLITE.dest}


@pytest.fixture(autouse=True)
def caller(databases: FreshDatabases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/usr/bin/celery", "--app", "shop"])
    databases.fresh(*SQLITE)
    insert_rows(Tag, SQLITE.source, [{"id": 1, "name": "twin"}, {"id": 2, "name": "twin"}])


def test_a_dry_run_shows_how_to_make_the_move_that_was_called() -> None:
    out = io.StringIO()
    chosen = {"exclude": ["testapp.Article", "sites"], "no_input": True, "chunk_size": 7, **ENDS}
    call_command("batch_migrate", "testapp.Tag", dry_run=True, stdout=out, stderr=io.StringIO(), **chosen)
    line = out.getvalue().splitlines()[-1]
    assert line.startswith("Next: python manage.py batch_migrate testapp.Tag --source sqlite_a --dest sqlite_b ")
    assert line.count(" --exclude ") == 2
    assert "celery" not in line
    # It does the same if it is typed.
    finished = run(*line.removeprefix("Next: python manage.py ").split(), "-v", "0")
    assert finished.code == 0, finished.err
    assert Tag.objects.using(SQLITE.dest).count() == 2


def test_a_move_leaves_the_report_of_its_dry_run_alone(tmp_path: Path) -> None:
    for words in (["--report", tmp_path / "plan.html"], [f"--report={tmp_path / 'plan.html'}"]):
        ends = ("--source", SQLITE.source, "--dest", SQLITE.dest)
        finished = run("batch_migrate", "testapp.Tag", *ends, *words, "--dry-run")
        *_, line = finished.out.splitlines()
        assert line.endswith(f"manage.py batch_migrate testapp.Tag {' '.join(ends)}"), line


def test_a_run_that_stops_shows_how_to_resume_the_call() -> None:
    forbid_twins_unasked(SQLITE.dest, "testapp_tag", "name")
    with pytest.raises(CommandError) as caught:
        call_command("batch_migrate", "testapp.Tag", no_input=True, stdout=io.StringIO(), stderr=io.StringIO(), **ENDS)
    *_, resume, resuming, abandon, abandoning = str(caught.value).splitlines()
    command = "python manage.py batch_migrate testapp.Tag --source sqlite_a --dest sqlite_b --no-input"
    assert (resume, resuming.strip()) == ("Resume:", f"{command} --resume")
    assert (abandon, abandoning.strip()) == ("Abandon:", f"{command} --cleanup")
