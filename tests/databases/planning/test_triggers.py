"""Triggers of a PostgreSQL destination: off while rows are loaded, which arrive as they are, and then as they were."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections
from django.db.models import QuerySet

from migrator.databases.api import RunResult, batch_migrate
from tests.databases.copying.test_retry import At
from tests.databases.snapshots import insert_rows
from tests.management.running import execute, run
from tests.scenarios.faults.oracle import wait_until_unlocked
from tests.scenarios.test_resume import Trap, in_a_process_of_its_own
from tests.servers.databases import Pair
from tests.testapp.models import Chapter, Empty, Tag

if TYPE_CHECKING:
    from tests.servers.databases import FreshDatabases

pytestmark = pytest.mark.postgresql

PAIR = Pair("sqlite_a", "postgresql_b")
WORDS = ("batch_migrate", "--source", PAIR.source, "--dest", PAIR.dest)
CHANGES = "BEGIN IF TG_OP = 'INSERT' THEN NEW.name := upper(NEW.name); RETURN NEW; END IF; RETURN OLD; END"
WRITES = "BEGIN INSERT INTO testapp_empty (name) VALUES (NEW.name); RETURN NULL; END"


@contextmanager
def triggers(*statements: str) -> Iterator[None]:
    """Have a function that changes a tag's name, one that notes it elsewhere, and triggers that call them."""
    execute(
        PAIR.dest,
        f"CREATE FUNCTION changes() RETURNS trigger LANGUAGE plpgsql AS $$ {CHANGES} $$",
        f"CREATE FUNCTION writes() RETURNS trigger LANGUAGE plpgsql AS $$ {WRITES} $$",
        *statements,
    )
    try:
        yield
    finally:
        execute(PAIR.dest, "DROP FUNCTION changes CASCADE", "DROP FUNCTION writes CASCADE")


CHANGING = 'CREATE TRIGGER "100% odd" BEFORE INSERT OR DELETE ON testapp_tag FOR EACH ROW EXECUTE FUNCTION changes()'
WRITING = "CREATE TRIGGER writing AFTER INSERT ON testapp_tag FOR EACH ROW EXECUTE FUNCTION writes()"


@pytest.fixture(autouse=True)
def filled(databases: FreshDatabases) -> None:
    databases.fresh(*PAIR)
    insert_rows(Tag, PAIR.source, [{"id": number, "name": f"tag {number}"} for number in range(1, 8)])
    insert_rows(Chapter, PAIR.source, [{"title": "one", "tag_id": 1, "_order": 0}])


def move(*labels: str, **options: Any) -> RunResult:
    return batch_migrate(source=PAIR.source, dest=PAIR.dest, labels=labels or ["testapp"], **options)


def names() -> Sequence[str]:
    return list(QuerySet(Tag, using=PAIR.dest).order_by("id").values_list("name", flat=True))


def states() -> dict[str, str]:
    sql = "SELECT tgname, tgenabled::text FROM pg_trigger WHERE tgrelid = 'testapp_tag'::regclass AND NOT tgisinternal"
    with connections[PAIR.dest].cursor() as cursor:
        cursor.execute(sql)
        return dict(cursor.fetchall())


@pytest.mark.parametrize(
    "options", [{}, {"jobs": 2}, {"on_error": "skip"}, {"keep_indexes": True}, {"chunk_size": 2}], ids=str
)
def test_no_trigger_changes_what_arrives(options: dict[str, Any], tmp_path: Any) -> None:
    if "on_error" in options:
        options = {**options, "rejects": tmp_path / "rejects.jsonl"}
    with triggers(CHANGING, WRITING):
        assert move(**options).exit_code == 0
        assert names() == [f"tag {number}" for number in range(1, 8)]
        assert not QuerySet(Empty, using=PAIR.dest).exists()
        QuerySet(Tag, using=PAIR.dest).create(name="after it")
        assert names()[-1] == "AFTER IT"
        assert QuerySet(Empty, using=PAIR.dest).get().name == "AFTER IT"


def test_no_trigger_sees_rows_go(databases: FreshDatabases) -> None:
    insert_rows(Tag, PAIR.dest, [{"id": 1, "name": "old"}])
    refusing = "CREATE TRIGGER refusing BEFORE DELETE OR TRUNCATE ON testapp_tag EXECUTE FUNCTION refuses()"
    refuses = "BEGIN RAISE EXCEPTION 'no row goes'; END"
    execute(PAIR.dest, f"CREATE FUNCTION refuses() RETURNS trigger LANGUAGE plpgsql AS $$ {refuses} $$", refusing)
    try:
        assert move("testapp.Tag", replace=PAIR.dest).exit_code == 0
        assert len(names()) == 7
        assert states() == {"refusing": "O"}
    finally:
        execute(PAIR.dest, "DROP FUNCTION refuses CASCADE")


def test_each_is_afterwards_as_it_was() -> None:
    kinds = {"origin": "O", "always": "A", "replica": "R", "disabled": "D"}
    made = [WRITING.replace(" writing ", f" {name} ") for name in kinds]
    with triggers(
        *made,
        "ALTER TABLE testapp_tag ENABLE ALWAYS TRIGGER always",
        "ALTER TABLE testapp_tag ENABLE REPLICA TRIGGER replica",
        "ALTER TABLE testapp_tag DISABLE TRIGGER disabled",
    ):
        assert move().exit_code == 0
        assert states() == kinds
        assert not QuerySet(Empty, using=PAIR.dest).exists()


@pytest.mark.parametrize("way_on", ["resume", "cleanup"])
def test_a_killed_run_leaves_them_off_until_somebody_goes_on(way_on: str) -> None:
    def run_to_its_end() -> None:
        with connections[PAIR.dest].execute_wrapper(Trap(2, "UPDATE .migrator_chunk.")):
            move(chunk_size=2)

    with triggers(CHANGING, WRITING):
        assert in_a_process_of_its_own(run_to_its_end) == -signal.SIGKILL
        wait_until_unlocked(PAIR.dest)
        assert set(states().values()) == {"D"}
        options: dict[str, Any] = {way_on: True}
        assert move(chunk_size=2, **options).exit_code == 0
        assert set(states().values()) == {"O"}
        assert not QuerySet(Empty, using=PAIR.dest).exists()
        if way_on == "resume":
            assert names() == [f"tag {number}" for number in range(1, 8)]


def test_one_that_is_gone_by_then_does_not_matter() -> None:
    def drop() -> None:
        execute(PAIR.dest, "DROP TRIGGER writing ON testapp_tag")

    with triggers(WRITING), connections[PAIR.dest].execute_wrapper(At(1, "DISABLE TRIGGER", drop, is_after=True)):
        assert move().exit_code == 0


def test_they_fire_where_they_are_kept() -> None:
    with triggers(CHANGING, WRITING):
        finished = run(*WORDS, "--no-input", "--keep-triggers", "testapp.Tag")
        assert finished.code == 0, finished.err
        assert names()[0] == "TAG 1"
        assert QuerySet(Empty, using=PAIR.dest).count() == 7
    text = "triggers there fire for every row that is loaded: testapp_tag.100% odd, testapp_tag.writing."
    assert f"Note: postgresql_b: {text} " in finished.out


def test_the_plan_names_them() -> None:
    with triggers(CHANGING, WRITING):
        finished = run(*WORDS, "--dry-run", "testapp.Tag")
        assert set(states().values()) == {"O"}
    assert finished.code == 0, finished.err
    assert "  rebuild   2 triggers: dropped " in finished.out
    assert (
        "Note: postgresql_b: triggers there are disabled while rows are loaded, so what they write to other tables is "
        "not written: testapp_tag.100% odd, testapp_tag.writing. Pass --keep-triggers if tables that are not copied "
        "depend on them.\n"
    ) in finished.out
