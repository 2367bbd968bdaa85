"""Event triggers of a PostgreSQL destination, which may forbid that indexes and keys come back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connections

from settings.base import database_from_url
from tests.databases.snapshots import insert_rows
from tests.management.running import another_alias, execute, run
from tests.scenarios.faults.oracle import assert_ended
from tests.scenarios.faults.test_replicas import do_without
from tests.servers.base import USER
from tests.servers.databases import FreshDatabases
from tests.servers.postgresql import PostgreSQL
from tests.servers.process import run as run_program
from tests.testapp.models import TreeNode

pytestmark = pytest.mark.postgresql

GUARD = (
    "CREATE FUNCTION forbid() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no new indexes'; END $$",
    "CREATE EVENT TRIGGER guard ON ddl_command_start WHEN TAG IN ('CREATE INDEX') EXECUTE FUNCTION forbid()",
)
OTHERS = (
    "CREATE EVENT TRIGGER off ON ddl_command_start EXECUTE FUNCTION forbid()",
    "ALTER EVENT TRIGGER off DISABLE",
    "CREATE EVENT TRIGGER roles ON ddl_command_end WHEN TAG IN ('CREATE VIEW') EXECUTE FUNCTION forbid()",
)


class PostgreSQLOfASuperuser(PostgreSQL):
    """A server whose role for tests may create event triggers."""

    def prepare(self) -> None:
        super().prepare()
        single_user: list[str | Path] = [self.program, "--single", "-D", "data", "-c", "exit_on_error=on", "postgres"]
        run_program(single_user, self.directory, self.user, stdin=f"ALTER ROLE {USER} SUPERUSER")


@pytest.fixture
def guarded() -> Iterator[str]:
    """Give the alias of a database that forbids new indexes."""
    if PostgreSQLOfASuperuser.find() is None:
        do_without(PostgreSQLOfASuperuser.name)
    server = PostgreSQLOfASuperuser()
    try:
        server.start()
        with another_alias("guarded", **database_from_url(server.address()) | {"NAME": "postgres"}):
            with connections["guarded"].schema_editor() as editor:
                editor.create_model(TreeNode)
            execute("guarded", *GUARD, *OTHERS)
            yield "guarded"
    finally:
        server.stop()


def test_an_event_trigger_is_listed_and_named_where_it_keeps_an_index_off(
    databases: FreshDatabases, guarded: str
) -> None:
    databases.fresh("sqlite_a")
    insert_rows(TreeNode, "sqlite_a", [{"id": n, "name": "node", "parent_id": None} for n in range(1, 5)])
    command = ("batch_migrate", "--source", "sqlite_a", "--dest", guarded, "--no-input", "testapp.TreeNode")
    finished = run(*command)
    assert "event triggers there run when indexes and keys are dropped and recreated" in finished.out
    assert "can prevent it: guard." in finished.out
    said = ("no new indexes (raised by event trigger guard; ALTER EVENT TRIGGER guard DISABLE", "--resume")
    assert_ended(finished, 1, *said)
    assert_ended(run(*command, "--resume"), 1, *said)
    execute(guarded, "ALTER EVENT TRIGGER guard DISABLE")
    finished = run(*command, "--resume", "--verify", "full")
    assert_ended(finished, 0)
    assert "event triggers" not in finished.out
