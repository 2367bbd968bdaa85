"""A run in the log, and its end by signals: complete, without values, and never at the cost of the run."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from migrator.console.prompts import Prompter
from migrator.databases import api, batch_migrate, batch_migrate_models, run_failed, run_finished
from migrator.databases.run_options import Console
from migrator.errors import DataRejected, Declined, Refused, UsageError
from tests.databases.snapshots import insert_rows
from tests.documents import check_document
from tests.servers.databases import Pair
from tests.testapp.models import Chapter, Tag

if TYPE_CHECKING:
    from tests.servers.databases import FreshDatabases

SQLITE = Pair("sqlite_a", "sqlite_b")
SECRET = "a value that is nobody's business"


@pytest.fixture
def filled(databases: FreshDatabases, caplog: pytest.LogCaptureFixture) -> Pair:
    databases.fresh(*SQLITE)
    insert_rows(Tag, SQLITE.source, [{"id": n, "name": f"{SECRET} {n}"} for n in range(1, 4)])
    caplog.set_level(logging.INFO, "migrator.run")
    return SQLITE


Received = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def received() -> Iterator[Received]:
    """Give what both signals bring, each with its name."""
    found: Received = []

    def finished(**what: Any) -> None:
        found.append(("finished", what))

    def failed(**what: Any) -> None:
        found.append(("failed", what))

    run_finished.connect(finished)
    run_failed.connect(failed)
    yield found
    run_finished.disconnect(finished)
    run_failed.disconnect(failed)


def move(pair: Pair, **options: Any) -> Any:
    return batch_migrate(source=pair.source, dest=pair.dest, labels=["testapp.Tag"], **options)


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    found = [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "migrator.run"]
    assert SECRET not in repr(found)
    return found


def test_each_step_of_a_run_is_logged(filled: Pair, caplog: pytest.LogCaptureFixture) -> None:
    move(filled)
    *steps, finished = logged(caplog)
    assert steps == [
        ("INFO", "batch_migrate from 'sqlite_a' to 'sqlite_b' begins"),
        ("INFO", "Plan: 3 rows of 1 table from 'sqlite_a' to 'sqlite_b'"),
        ("INFO", "Preparation"),
        ("INFO", "Copying: 3 rows"),
        ("INFO", "Indexes and keys"),
        ("INFO", "Sequences"),
        ("INFO", "Verification"),
    ]
    assert finished[1].startswith("Finished in ")
    assert finished[1].endswith(" s: 3 rows written, 0 rejected, exit code 0")


def test_a_finished_run_sends_the_document_of_the_command(filled: Pair, received: Received) -> None:
    move(filled, dry_run=True)
    assert received == [], "a dry run is no news"
    move(filled)
    ((name, what),) = received
    assert (name, what["source"], what["dest"], what["sender"]) == ("finished", *filled, batch_migrate)
    assert what["document"]["exit_code"] == 0
    assert what["document"]["schema"] == "migrator/batch-migrate@1"
    assert what["document"]["tables"][0]["rows_written"] == 3
    check_document(json.dumps(what["document"]))


def test_a_refused_run_is_logged_as_an_error_and_sends_it(
    filled: Pair, received: Received, caplog: pytest.LogCaptureFixture
) -> None:
    insert_rows(Tag, filled.dest, [{"id": 1, "name": SECRET}])
    with pytest.raises(Refused) as caught:
        move(filled)
    assert logged(caplog)[-1] == ("ERROR", f"Refused: {caught.value}")
    ((name, what),) = received
    assert (name, what["document"]["error"], what["document"]["exit_code"]) == ("failed", str(caught.value), 1)
    check_document(json.dumps(what["document"]))


def test_a_run_that_a_check_stops_sends_what_it_found(filled: Pair, received: Received) -> None:
    insert_rows(Chapter, filled.source, [{"id": 5, "tag_id": 99, "title": SECRET, "_order": 0}])
    with pytest.raises(Refused):
        batch_migrate(source=filled.source, dest=filled.dest)
    ((_, what),) = received
    assert [finding["subject"] for finding in what["document"]["findings"]] == ["testapp.Chapter"]
    check_document(json.dumps(what["document"]))


def test_a_run_that_fails_at_a_row_names_no_value_but_its_key(
    databases: FreshDatabases, received: Received, caplog: pytest.LogCaptureFixture
) -> None:
    databases.fresh("sqlite_a", "postgresql_b")
    insert_rows(Tag, "sqlite_a", [{"id": 7, "name": f"{SECRET}\x00"}])
    with pytest.raises((Refused, DataRejected)):
        move(Pair("sqlite_a", "postgresql_b"))
    level, text = logged(caplog)[-1]
    assert level == "ERROR"
    assert "7" in text
    assert "\n" not in text, "one record is one line"
    assert [name for name, _ in received] == ["failed"]


def test_other_functions_and_errors_are_announced_too(filled: Pair, received: Received) -> None:
    with pytest.raises(UsageError):
        batch_migrate_models(models=["testapp.Tga"], source=filled.source, dest=filled.dest)
    ((name, what),) = received
    assert (name, what["sender"], what["document"]["exit_code"]) == ("failed", batch_migrate_models, 2)


def test_an_error_of_another_kind_gives_only_its_name(
    filled: Pair, received: Received, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **keywords: object) -> None:
        raise ValueError(SECRET)

    monkeypatch.setattr(api, "select", fail)
    with pytest.raises(ValueError, match=SECRET):
        move(filled)
    assert logged(caplog)[-1] == ("ERROR", "ValueError: unexpected ValueError")
    assert SECRET not in repr(received)


def test_a_no_of_the_user_is_no_failure(filled: Pair, received: Received, caplog: pytest.LogCaptureFixture) -> None:
    class Refusing(Prompter):
        def proceed(self, question: str) -> bool:
            return False

    with pytest.raises(Declined):
        move(filled, console=Console(prompter=Refusing()))
    assert logged(caplog)[-1] == ("INFO", "Declined: Nothing was written.")
    assert received == []


def test_a_receiver_that_raises_does_not_break_the_run(filled: Pair, caplog: pytest.LogCaptureFixture) -> None:
    def broken(**what: Any) -> None:
        raise RuntimeError("the webhook is down")

    run_finished.connect(broken)
    try:
        assert move(filled).exit_code == 0
    finally:
        run_finished.disconnect(broken)
    assert "the webhook is down" in caplog.text


QUIET = """
from django.conf import settings

settings.configure(
    DEBUG=True,
    SECRET_KEY="x",
    INSTALLED_APPS=["django.contrib.contenttypes", "migrator"],
    DATABASES={name: {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"} for name in ("default", "new")},
)
from django.core.management import execute_from_command_line

execute_from_command_line("manage.py batch_migrate --source default --dest new --no-input".split())
"""


def test_nothing_is_printed_twice_by_the_logging_of_a_new_project() -> None:
    """Django's default configuration has no handler for other loggers, and logging prints errors without one."""
    ended = subprocess.run([sys.executable, "-W", "ignore", "-c", QUIET], capture_output=True, text=True, check=False)
    same = "'default' and 'new' are the same database (':memory:')"
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"CommandError: {same}. Nothing was written. Correct DATABASES.\n"
