"""Triggers of the destination: the rows of a run arrive as they are, and nobody else's triggers are off for it."""

from __future__ import annotations

import re
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connections
from django.db.models import QuerySet

from migrator.databases.comparison import verify_counts
from tests.databases.copying.test_retry import At
from tests.databases.snapshots import differences, insert_rows, snapshot
from tests.management.running import as_another_role, execute, facts, nothing_changes, run
from tests.scenarios.faults.oracle import assert_ended, wait_until_unlocked
from tests.scenarios.test_resume import Trap, in_a_process_of_its_own
from tests.servers.databases import Pair
from tests.testapp.models import Article, CharValue, Empty, Tag, Team, TreeNode

SQLITE_TO_POSTGRESQL = Pair("sqlite_a", "postgresql_b")
TABLES = ("testapp_charvalue", "testapp_tag", "testapp_article_tags", "testapp_treenode")
MODELS = (CharValue, Tag, Article, Article.tags.through, TreeNode)
LABELS = ("testapp.CharValue", "testapp.Tag", "testapp.Article", "testapp.TreeNode")
# As packages for audit trails, protected rows and touched columns make them.
FUNCTIONS = {
    "notes": "BEGIN INSERT INTO testapp_empty (name) VALUES (TG_OP || ' ' || TG_TABLE_NAME); RETURN NULL; END",
    "protects": "BEGIN RAISE EXCEPTION 'rows are append-only'; END",
    "touches": "BEGIN NEW.value := 'touched'; RETURN NEW; END",
    "refuses": "BEGIN RETURN NULL; END",
}
TRIGGERS = (
    "CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON testapp_charvalue FOR EACH ROW EXECUTE FUNCTION touches()",
    "CREATE TRIGGER protect BEFORE UPDATE OR DELETE ON testapp_article_tags FOR EACH ROW EXECUTE FUNCTION protects()",
    "CREATE TRIGGER copied BEFORE UPDATE OR DELETE ON testapp_tag FOR EACH ROW EXECUTE FUNCTION protects()",
    'CREATE TRIGGER "50% quiet" BEFORE INSERT ON testapp_tag FOR EACH ROW EXECUTE FUNCTION refuses()',
    "ALTER TABLE testapp_tag ENABLE REPLICA TRIGGER copied",
    "CREATE TRIGGER whole AFTER INSERT OR DELETE ON testapp_treenode EXECUTE FUNCTION notes()",
    "CREATE CONSTRAINT TRIGGER late AFTER INSERT OR DELETE ON testapp_treenode DEFERRABLE INITIALLY DEFERRED "
    "FOR EACH ROW EXECUTE FUNCTION notes()",
    *(
        f"CREATE TRIGGER audit_{state} AFTER INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW "
        "EXECUTE FUNCTION notes()"
        for table in TABLES
        for state in ("origin", "always", "off")
    ),
    *(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER audit_always" for table in TABLES),
    *(f"ALTER TABLE {table} DISABLE TRIGGER audit_off" for table in TABLES),
)
AUDIT = "CREATE TRIGGER audit_origin AFTER INSERT ON testapp_tag FOR EACH ROW EXECUTE FUNCTION notes()"


@contextmanager
def triggers(alias: str, *statements: str) -> Iterator[None]:
    """Have triggers in a PostgreSQL database."""
    try:
        for name, body in FUNCTIONS.items():
            execute(alias, f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$")
        execute(alias, *statements)
        yield
    finally:
        connections[alias].close()
        execute(alias, *(f"DROP FUNCTION IF EXISTS {name} CASCADE" for name in FUNCTIONS))


def states(alias: str) -> list[tuple[str, str, str]]:
    with connections[alias].cursor() as cursor:
        cursor.execute(
            "SELECT tgrelid::regclass::text, tgname, tgenabled::text FROM pg_trigger "
            "WHERE NOT tgisinternal ORDER BY 1, 2"
        )
        return list(cursor.fetchall())


def audited(alias: str) -> Sequence[str]:
    """List what triggers have noted."""
    return list(QuerySet(Empty, using=alias).order_by("id").values_list("name", flat=True))


def fill(alias: str) -> None:
    insert_rows(CharValue, alias, [{"id": n, "label": f"{n}", "value": f"v{n}"} for n in range(1, 13)])
    insert_rows(Tag, alias, [{"id": n, "name": f"tag {n}"} for n in range(1, 13)])
    insert_rows(Article, alias, [{"id": n, "name": f"article {n}"} for n in range(1, 13)])
    insert_rows(Article.tags.through, alias, [{"article_id": n, "tag_id": 13 - n} for n in range(1, 13)])
    insert_rows(TreeNode, alias, [{"id": n, "name": f"{n}", "parent_id": 13 - n} for n in range(1, 13)])


def change(alias: str) -> None:
    """Change, delete and add rows as a site does between two passes."""
    execute(
        alias,
        "UPDATE testapp_charvalue SET value = 'new' WHERE id IN (3, 9)",
        "UPDATE testapp_tag SET name = 'other' WHERE id < 4",
        "DELETE FROM testapp_article_tags WHERE id = 5",
        "UPDATE testapp_treenode SET parent_id = 1 WHERE id > 6",
    )
    insert_rows(CharValue, alias, [{"id": 20, "label": "20", "value": "later"}])
    insert_rows(Tag, alias, [{"id": 20, "name": "later"}])
    insert_rows(TreeNode, alias, [{"id": 20, "name": "later", "parent_id": 20}])


def words(pair: Pair, *more: str, labels: Sequence[str] = LABELS) -> tuple[str, ...]:
    return ("batch_migrate", "--source", pair.source, "--dest", pair.dest, "--no-input", *more, *labels)


def assert_equal(pair: Pair) -> None:
    assert differences(snapshot(pair.source, MODELS), snapshot(pair.dest, MODELS)) == []


@pytest.mark.parametrize("pair", [SQLITE_TO_POSTGRESQL, Pair("postgresql_a", "postgresql_b")], ids=str, indirect=True)
def test_the_second_pass_writes_what_the_source_has(pair: Pair) -> None:
    fill(pair.source)
    with triggers(pair.dest, *TRIGGERS):
        before = states(pair.dest)
        assert_ended(run(*words(pair)), 0)
        change(pair.source)
        finished = run(*words(pair, "--update", "--verify", "full"))
        assert_ended(finished, 0)
        assert states(pair.dest) == before
    assert "Note: postgresql_b: triggers there do not fire for the rows of this run, so what they write " in (
        finished.out
    )
    assert_equal(pair)
    assert audited(pair.dest) == []


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("pair", [SQLITE_TO_POSTGRESQL, Pair("postgresql_a", "postgresql_b")], ids=str, indirect=True)
def test_added_rows_arrive_as_they_are(pair: Pair, jobs: str) -> None:
    fill(pair.source)
    one, *others = words(pair, "--chunk-size", "5", "--jobs", jobs)
    with triggers(pair.dest, *TRIGGERS):
        before = states(pair.dest)
        assert_ended(run(f"{one}_models", *others), 0)
        assert states(pair.dest) == before
    assert_equal(pair)
    assert audited(pair.dest) == []


@pytest.mark.postgresql
@pytest.mark.parametrize("command", ["batch_migrate", "batch_migrate_models"])
def test_nobody_else_finds_triggers_off(databases: Any, command: str) -> None:
    """Who writes meanwhile waits for the transaction, and his row is noted."""
    pair = SQLITE_TO_POSTGRESQL
    databases.fresh(*pair)
    insert_rows(Tag, pair.source, [{"id": n, "name": f"tag {n}"} for n in range(1, 8)])
    update = ["--update"] if command == "batch_migrate" else []
    writers = []

    def write() -> None:
        own = connections[pair.dest].copy()
        with own.cursor() as cursor:
            cursor.execute("INSERT INTO testapp_tag (id, name) VALUES (100, 'of the site')")
        own.close()

    def begin() -> None:
        writers.append(threading.Thread(target=write))
        writers[0].start()
        writers[0].join(0.5)  # time enough, were it not for the lock

    with triggers(pair.dest, AUDIT):
        with connections[pair.dest].execute_wrapper(At(1, "ENABLE TRIGGER", begin)):
            finished = run(command, *words(pair, *update, labels=["testapp.Tag"])[1:])
        writers[0].join()
    assert finished.code in (0, 3)  # the comparison may see that row, which the source does not have
    assert audited(pair.dest) == ["INSERT testapp_tag"]


@pytest.mark.postgresql
@pytest.mark.parametrize("command", ["batch_migrate", "batch_migrate_models"])
def test_a_killed_run_leaves_triggers_on(databases: Any, command: str) -> None:
    pair = SQLITE_TO_POSTGRESQL
    databases.fresh(*pair)
    fill(pair.source)
    update = ["--update"] if command == "batch_migrate" else []

    def run_to_its_end() -> None:
        with connections[pair.dest].execute_wrapper(Trap(2, "ENABLE .*TRIGGER")):
            run(command, *words(pair, *update)[1:])

    with triggers(pair.dest, *TRIGGERS):
        before = states(pair.dest)
        assert in_a_process_of_its_own(run_to_its_end) == -signal.SIGKILL
        wait_until_unlocked(pair.dest)
        assert states(pair.dest) == before
        assert_ended(run(command, *words(pair, *(update or ["--resume"]))[1:]), 0)
        assert states(pair.dest) == before
    assert_equal(pair)
    assert audited(pair.dest) == []


@pytest.mark.postgresql
@pytest.mark.parametrize("command", ["batch_migrate", "batch_migrate_models"])
def test_triggers_fire_only_where_they_are_kept(databases: Any, command: str) -> None:
    pair = SQLITE_TO_POSTGRESQL
    databases.fresh(*pair)
    insert_rows(Tag, pair.source, [{"id": 1, "name": "one"}])
    update = ["--update"] if command == "batch_migrate" else []
    with triggers(pair.dest, AUDIT):
        finished = run(command, *words(pair, *update, "--keep-triggers", labels=["testapp.Tag"])[1:])
    assert_ended(finished, 0)
    assert "triggers there fire for every row that is loaded: testapp_tag.audit_origin. " in finished.out
    assert audited(pair.dest) == ["INSERT testapp_tag"]


@pytest.mark.postgresql
def test_triggers_that_only_their_owner_can_switch_off_stop_the_run(databases: Any) -> None:
    pair = SQLITE_TO_POSTGRESQL
    databases.fresh(*pair)
    insert_rows(Tag, pair.source, [{"id": 1, "name": "one"}])
    rights = ["ALL ON ALL TABLES IN SCHEMA public", "ALL ON ALL SEQUENCES IN SCHEMA public", "CREATE ON SCHEMA public"]
    command = "batch_migrate_models", "--source", pair.source, "--no-input", "testapp.Tag", "--dest"
    with triggers(pair.dest, AUDIT), as_another_role(pair.dest, *rights) as loader:
        with nothing_changes(*pair):
            assert_ended(
                run(*command, loader), 1, "Nothing was written.", "this user cannot disable them: ",
                "testapp_tag.audit_origin", "pass --keep-triggers",
            )  # fmt: skip
        assert_ended(run(*command, loader, "--keep-triggers"), 0)
        connections[loader].close()
    assert audited(pair.dest) == ["INSERT testapp_tag"]


@pytest.mark.postgresql
def test_triggers_of_partitions_are_off_too(databases: Any) -> None:
    pair = SQLITE_TO_POSTGRESQL
    databases.fresh(*pair)
    execute(
        pair.dest,
        "DROP TABLE testapp_tag CASCADE",
        "CREATE TABLE testapp_tag (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, name varchar(80) NOT NULL) "
        "PARTITION BY RANGE (id)",
        "CREATE TABLE part_one PARTITION OF testapp_tag FOR VALUES FROM (0) TO (10)",
        "CREATE TABLE part_two PARTITION OF testapp_tag FOR VALUES FROM (10) TO (99)",
    )
    made = "CREATE TRIGGER {} AFTER INSERT OR DELETE ON {} FOR EACH ROW EXECUTE FUNCTION notes()"
    insert_rows(Tag, pair.source, [{"id": n, "name": f"tag {n}"} for n in (1, 2, 11)])
    with triggers(
        pair.dest,
        made.format("above", "testapp_tag"),
        made.format("below", "part_two"),
        "ALTER TABLE part_one ENABLE ALWAYS TRIGGER above",
        "ALTER TABLE part_two DISABLE TRIGGER above",
    ):
        before = states(pair.dest)
        assert_ended(run(*words(pair, "--update", "--verify", "full", labels=["testapp.Tag"])), 0)
        assert states(pair.dest) == before
    assert audited(pair.dest) == []
    execute(pair.dest, "DROP TABLE testapp_tag")


CHANGING = {
    "mysql": "CREATE TRIGGER own BEFORE INSERT ON testapp_team FOR EACH ROW SET NEW.name = UPPER(NEW.name)",
    "sqlite": "CREATE TRIGGER own AFTER INSERT ON testapp_team BEGIN "
    "UPDATE testapp_team SET name = UPPER(name) WHERE id = NEW.id; END",
}


@pytest.mark.parametrize("command", ["batch_migrate", "--update", "batch_migrate_models"])
@pytest.mark.parametrize(
    "pair", [Pair("sqlite_a", "mysql_b"), Pair("postgresql_a", "sqlite_b")], ids=str, indirect=True
)
def test_what_a_trigger_that_cannot_be_off_has_changed_is_found(pair: Pair, command: str) -> None:
    insert_rows(Team, pair.source, [{"id": n, "name": "small"} for n in (1, 2)])
    insert_rows(Tag, pair.source, [{"id": 1, "name": "one"}])
    more = ["--update"] if command == "--update" else []
    called = command if not more else "batch_migrate"
    labels = ["testapp.Team", "testapp.Player", "testapp.Tag"]
    execute(pair.dest, CHANGING[pair.engines[1]])
    try:
        finished = run(called, *words(pair, *more, labels=labels)[1:])
        assert_ended(finished, 3, "The destination is NOT a copy of the source")
        assert (
            f"Note: {pair.dest}: triggers there fire for every row that is loaded: testapp_team.own. " in finished.out
        )
        assert re.findall(r"^testapp\.\w+ .*", finished.out, re.MULTILINE) == [
            f"testapp.Team {n}: changed: name" for n in (1, 2)
        ]
        assert facts(finished.out)["not compared"] == "values of 2 other tables (--verify full compares them)"
    finally:
        execute(pair.dest, "DROP TRIGGER own")


def test_a_comparison_finds_what_a_kept_trigger_has_changed(databases: Any) -> None:
    """If triggers fire, the run does not report their changes, but any comparison of values does."""
    pair = Pair("postgresql_a", "sqlite_b")
    databases.fresh(*pair)
    insert_rows(Team, pair.source, [{"id": 1, "name": "small"}])
    execute(pair.dest, CHANGING["sqlite"])
    try:
        assert_ended(run(*words(pair, "--keep-triggers", labels=["testapp.Team", "testapp.Player"])), 0)
    finally:
        execute(pair.dest, "DROP TRIGGER own")
    compared = verify_counts(source=pair.source, dest=pair.dest, labels=["testapp.Team"], mode="full")
    assert compared.exit_code == 3
