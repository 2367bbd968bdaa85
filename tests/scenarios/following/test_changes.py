"""What can happen to rows and tables of a PostgreSQL source, from one round to the next, arrives."""

from __future__ import annotations

import resource

import pytest
from django.db.models import Model

from migrator.databases.api import batch_migrate
from migrator.databases.following.follow import Follower
from migrator.databases.following.record import Followed
from migrator.errors import MigratorError
from tests.databases.copying.test_retry import Heard
from tests.scenarios.following.scripted import Statements, execute, follow, followed_of, read
from tests.scenarios.following.writers import held
from tests.servers.databases import FreshDatabases, Pair
from tests.testapp.models import AutoKey, BigAutoKey, CharValue, IntegerKey, OddNames, Pointer, TextKey, TreeNode

pytestmark = pytest.mark.postgresql

A, B = "postgresql_a", "postgresql_b"
PAIR = Pair(A, B)
AUTO = ["testapp.AutoKey"]


@pytest.fixture(autouse=True)
def _fresh(databases: FreshDatabases) -> None:
    databases.fresh(A, B)
    execute(A, "INSERT INTO testapp_autokey (id, label) SELECT n, 'row ' || n FROM generate_series(1, 40) n")


def change(*statements: str) -> Statements:
    return Statements(A, *statements)


def assert_equal(*models: type[Model]) -> None:
    for model in models:
        assert held(A, model) == held(B, model), model._meta.label


def followed(*statements: str, labels: list[str] = AUTO, heard: Heard | None = None) -> Followed:
    """Follow a source that executes statements after the first rounds."""
    return followed_of(follow(PAIR, labels, change(*statements), heard=heard))


def test_a_key_that_changes_is_two_keys() -> None:
    found = followed("UPDATE testapp_autokey SET id = id + 1000 WHERE id = 7")
    assert found.keys == 2
    assert_equal(AutoKey)


def test_keys_that_rows_exchange_in_one_statement() -> None:
    followed("UPDATE testapp_autokey SET id = -id", "UPDATE testapp_autokey SET id = 41 + id")
    assert_equal(AutoKey)
    assert ("1", "row 40") in held(B, AutoKey)


def test_rows_that_are_there_for_a_moment_only() -> None:
    found = followed("INSERT INTO testapp_autokey VALUES (99, 'gone')", "DELETE FROM testapp_autokey WHERE id = 99")
    assert found.lost_feeds == []
    assert_equal(AutoKey)


def test_rows_of_transactions_that_were_rolled_back_are_no_changes() -> None:
    found = followed(
        "BEGIN; SAVEPOINT one; INSERT INTO testapp_autokey VALUES (99, 'gone'); ROLLBACK TO one;"
        " UPDATE testapp_autokey SET label = 'new' WHERE id = 1; COMMIT",
        "BEGIN; DELETE FROM testapp_autokey; ROLLBACK",
    )
    assert (found.changes, found.rows) == (1, 1)
    assert_equal(AutoKey)


def test_a_cascade_of_the_server_deletes_the_children_as_well() -> None:
    execute(
        A,
        "DO $$ DECLARE name text; BEGIN SELECT conname INTO name FROM pg_constraint"
        " WHERE conrelid = 'testapp_treenode'::regclass AND contype = 'f';"
        " EXECUTE format('ALTER TABLE testapp_treenode DROP CONSTRAINT %I', name); END $$",
        "ALTER TABLE testapp_treenode ADD FOREIGN KEY (parent_id) REFERENCES testapp_treenode ON DELETE CASCADE",
        "INSERT INTO testapp_treenode (id, name, parent_id) SELECT n, 'node', NULLIF(n / 2, 0)"
        " FROM generate_series(1, 30) n",
    )
    found = followed("DELETE FROM testapp_treenode WHERE id = 2", labels=["testapp.TreeNode"])
    assert found.changes == found.keys == 15
    assert len(held(B, TreeNode)) == 15
    assert_equal(TreeNode)


def test_a_table_that_is_truncated_with_those_that_refer_to_it() -> None:
    execute(A, "INSERT INTO testapp_pointer (to_auto_id) SELECT id FROM testapp_autokey")
    found = followed(
        "TRUNCATE testapp_autokey CASCADE",
        "INSERT INTO testapp_autokey VALUES (5, 'anew')",
        labels=["testapp.AutoKey", "testapp.Pointer"],
    )
    assert found.lost_feeds == []
    assert (len(held(B, AutoKey)), len(held(B, Pointer))) == (1, 0)
    assert_equal(AutoKey, Pointer)


def assert_each_arrives(*statements: str) -> None:
    """Follow a source that executes one statement before each round; what one reports must not hide another."""

    def equal() -> None:
        assert read(A, ROWS) == read(B, ROWS)

    steps = [step for statement in statements for step in (change(statement), equal)]
    found = followed_of(follow(PAIR, AUTO, *steps))
    assert found.lost_feeds == []
    assert_equal(AutoKey)


ROWS = "SELECT id, label FROM testapp_autokey ORDER BY id"
EACH = (
    "UPDATE testapp_autokey SET id = 77 WHERE id = 1",
    "UPDATE testapp_autokey SET label = 'changed' WHERE id = 2",
    "DELETE FROM testapp_autokey WHERE id = 3",
    "INSERT INTO testapp_autokey VALUES (78, 'new')",
)


@pytest.mark.parametrize("identity", ["FULL", "NOTHING", "USING INDEX testapp_autokey_label"])
def test_a_table_whose_changes_do_not_carry_its_key(identity: str) -> None:
    execute(
        A,
        "CREATE UNIQUE INDEX testapp_autokey_label ON testapp_autokey (label)",
        f"ALTER TABLE testapp_autokey REPLICA IDENTITY {identity}",
    )
    assert_each_arrives(*EACH)


def test_a_table_without_a_key_in_the_database() -> None:
    execute(A, "ALTER TABLE testapp_autokey DROP CONSTRAINT testapp_autokey_pkey CASCADE")
    assert_each_arrives(*EACH)


def test_a_table_with_odd_names() -> None:
    table = "\"odd-näme. with; 'quotes'\""
    columns = '"spaced out; value", "order", "dash-ed.dotted", "naïve \'quoté\'"'
    execute(A, f"INSERT INTO {table} (id, {columns}) SELECT n, 'a', n, n, 'b' FROM generate_series(1, 9) n")
    found = followed(
        f"""UPDATE {table} SET "spaced out; value" = 'new-tuple: id[bigint]:7' WHERE id = 3""",
        f"DELETE FROM {table} WHERE id = 4",
        f"UPDATE {table} SET id = 40 WHERE id = 5",
        labels=["testapp.OddNames"],
    )
    assert (found.keys, found.rows, found.lost_feeds) == (4, 4, [])
    assert_equal(OddNames)


@pytest.mark.parametrize(
    "statement", ["VACUUM FULL testapp_autokey", "CLUSTER testapp_autokey USING testapp_autokey_pkey"]
)
def test_a_table_that_is_rewritten(statement: str) -> None:
    found = followed("UPDATE testapp_autokey SET label = 'before' WHERE id = 1", statement)
    assert found.lost_feeds == []
    assert_equal(AutoKey)


def test_values_that_a_rewrite_changes_without_a_change_of_rows() -> None:
    followed("ALTER TABLE testapp_autokey ALTER label TYPE varchar(80) USING upper(label)")
    assert ("1", "ROW 1") in held(B, AutoKey)
    assert_equal(AutoKey)


def test_an_unlogged_table_is_compared_whole() -> None:
    execute(
        A,
        "ALTER TABLE testapp_integerkey SET UNLOGGED",
        "INSERT INTO testapp_integerkey (number, label) VALUES (1, 'changed'), (2, 'deleted'), (3, 'kept')",
    )
    found = followed(
        "UPDATE testapp_integerkey SET label = 'unlogged' WHERE number = 1",
        "DELETE FROM testapp_integerkey WHERE number = 2",
        labels=["testapp.AutoKey", "testapp.IntegerKey"],
    )
    assert (found.changes, found.rows) == (0, 2)
    assert_equal(IntegerKey)


def test_a_source_with_an_unlogged_table_is_quiet_once_nothing_changes() -> None:
    execute(
        A,
        "ALTER TABLE testapp_integerkey SET UNLOGGED",
        "INSERT INTO testapp_integerkey (number, label) VALUES (1, 'row')",
    )
    result = batch_migrate(
        source=A, dest=B, labels=["testapp.AutoKey", "testapp.IntegerKey"], follow=True, until_quiet=1
    )
    assert followed_of(result).late == {}


def test_what_is_written_late_to_an_unlogged_table_is_found_by_comparing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    execute(
        A,
        "ALTER TABLE testapp_integerkey SET UNLOGGED",
        "INSERT INTO testapp_integerkey (number, label) VALUES (1, 'row')",
    )
    update = "UPDATE testapp_integerkey SET label = label || '!'"
    monkeypatch.setattr(Follower, "_wait_quietly", lambda self: execute(A, update))
    result = follow(PAIR, ["testapp.AutoKey", "testapp.IntegerKey"])
    assert result.followed is not None
    assert (result.exit_code, result.followed.late) == (3, {"testapp.IntegerKey": []})


def test_sequences_are_set_by_the_last_pass() -> None:
    followed("INSERT INTO testapp_autokey VALUES (5000, 'high')")
    execute(B, "INSERT INTO testapp_autokey (label) VALUES ('next')")
    assert ("5001", "next") in held(B, AutoKey)


# -- partitions and inheritance --------------------------------------------------------------------------------------

PARTITIONED = (
    "DROP TABLE testapp_bigautokey CASCADE",
    "CREATE TABLE testapp_bigautokey (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, label varchar(80)"
    " NOT NULL) PARTITION BY RANGE (id)",
    "CREATE TABLE part_low PARTITION OF testapp_bigautokey FOR VALUES FROM (0) TO (100)",
    'CREATE TABLE "Part. ""high""" PARTITION OF testapp_bigautokey FOR VALUES FROM (100) TO (200)',
    "INSERT INTO testapp_bigautokey (id, label) SELECT n, 'row ' || n FROM generate_series(80, 120) n",
)


def test_changes_in_partitions_and_between_them() -> None:
    execute(A, *PARTITIONED)
    found = followed(
        "UPDATE testapp_bigautokey SET label = 'changed' WHERE id IN (90, 110)",
        "UPDATE testapp_bigautokey SET id = 150 WHERE id = 85",
        "DELETE FROM testapp_bigautokey WHERE id = 119",
        "INSERT INTO part_low (id, label) VALUES (3, 'new')",
        labels=["testapp.BigAutoKey"],
    )
    assert (found.keys, found.rows, found.lost_feeds) == (6, 6, [])
    assert_equal(BigAutoKey)


def test_a_partition_that_is_attached_is_not_missed() -> None:
    execute(A, *PARTITIONED)
    heard = Heard()
    found = followed(
        "CREATE TABLE late (id bigint NOT NULL, label varchar(80) NOT NULL)",
        "INSERT INTO late VALUES (201, 'attached')",
        "ALTER TABLE testapp_bigautokey ATTACH PARTITION late FOR VALUES FROM (200) TO (300)",
        "INSERT INTO testapp_bigautokey (id, label) VALUES (202, 'after')",
        labels=["testapp.BigAutoKey"],
        heard=heard,
    )
    assert len(found.lost_feeds) == 1
    assert any("partitions were created, attached" in text for text in heard.messages)
    assert ("201", "attached") in held(B, BigAutoKey)
    assert_equal(BigAutoKey)


def test_a_partition_that_is_emptied_or_detached() -> None:
    execute(A, *PARTITIONED)
    followed(
        "TRUNCATE part_low",
        'ALTER TABLE testapp_bigautokey DETACH PARTITION "Part. ""high"""',
        labels=["testapp.BigAutoKey"],
    )
    assert held(B, BigAutoKey) == []


def test_rows_of_tables_that_inherit_from_one() -> None:
    execute(A, "CREATE TABLE child () INHERITS (testapp_integerkey)", "INSERT INTO child VALUES (1, 'a'), (2, 'b')")
    found = followed(
        "INSERT INTO child VALUES (3, 'new')",
        "UPDATE child SET label = 'changed' WHERE number = 1",
        "UPDATE testapp_integerkey SET number = 20 WHERE number = 2",
        labels=["testapp.IntegerKey"],
    )
    assert found.lost_feeds == []
    assert held(B, IntegerKey) == [("1", "changed"), ("20", "b"), ("3", "new")]


def test_a_followed_table_that_inherits_from_another_one() -> None:
    """A row of the child is one of the parent as well."""
    execute(A, "ALTER TABLE testapp_charvalue INHERIT testapp_bigautokey")
    execute(A, "INSERT INTO testapp_charvalue (id, label, value) VALUES (1, 'a', 'x'), (2, 'b', 'y')")
    found = followed(
        "UPDATE testapp_charvalue SET label = 'changed' WHERE id = 1",
        "DELETE FROM testapp_charvalue WHERE id = 2",
        labels=["testapp.BigAutoKey", "testapp.CharValue"],
    )
    assert found.lost_feeds == []
    assert held(B, BigAutoKey) == [("1", "changed")]
    assert held(B, CharValue) == [("1", "changed", "x")]


# -- the schema ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE testapp_autokey ADD own integer",
        "ALTER TABLE testapp_autokey ALTER label TYPE text",
        "ALTER TABLE testapp_autokey RENAME label TO other",
        "ALTER TABLE testapp_autokey RENAME TO another",
        "DROP TABLE testapp_autokey CASCADE",
    ],
)
def test_another_schema_ends_it_with_the_state_of_the_last_round(statement: str) -> None:
    before = held(A, AutoKey)
    with pytest.raises(MigratorError) as raised:
        follow(PAIR, AUTO, change("UPDATE testapp_autokey SET label = 'later'", statement))
    said = str(raised.value)
    assert "The schema of 'postgresql_a' changed while it was followed: testapp_autokey." in said
    assert "has the state of its source as of" in said
    assert "--update --follow" in said
    assert held(B, AutoKey) == before


# -- amounts ---------------------------------------------------------------------------------------------------------


def test_text_keys_of_every_kind() -> None:
    hostile = ["'", "''", '"', "a' new-tuple: code[text]:'b", " ", "  x ", "\\", "\n", "null", "unchanged-toast-datum"]
    hostile += ["é", "E\u0301", "%s", "[x]:'y'", "{}", "0x00", '["a"]']
    quoted = ["'{}'".format(text.replace("'", "''")) for text in hostile]
    execute(A, *(f"INSERT INTO testapp_textkey VALUES ({text}, 'old')" for text in quoted))
    found = followed(
        "UPDATE testapp_textkey SET label = 'new'",
        "UPDATE testapp_textkey SET code = code || '!'",
        labels=["testapp.TextKey"],
    )
    assert (found.keys, found.lost_feeds) == (2 * len(hostile), [])
    assert_equal(TextKey)


@pytest.mark.slow
def test_a_large_transaction_is_followed_in_constant_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("migrator.databases.engines.postgresql.change_feed.CHANGES_AT_ONCE", 5_000)
    execute(A, "INSERT INTO testapp_autokey (id, label) SELECT n, 'row ' || n FROM generate_series(41, 15000) n")
    peaks: list[int] = []

    def note() -> None:
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)

    found = followed_of(
        follow(PAIR, AUTO, note, change("UPDATE testapp_autokey SET label = label || '!'"), note, verify="none")
    )
    assert found.changes == found.keys == found.rows == 15_000
    assert peaks[1] - peaks[0] < 60 * 1024  # KiB
    count = "SELECT count(*), count(DISTINCT label), min(label) FROM testapp_autokey"
    assert read(A, count) == read(B, count)
