"""A foreign key that the destination itself has checked for every row is not queried again; any other is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.db import connections

from migrator.databases.api import batch_migrate
from migrator.databases.engines.registry import engine_for
from migrator.databases.planning.foreign_keys import find_orphans
from migrator.databases.planning.parallel_queries import ParallelQueries
from migrator.databases.tables import table_of
from tests.databases.snapshots import insert_rows
from tests.servers.databases import Pair
from tests.testapp.models import TreeNode

if TYPE_CHECKING:
    from tests.servers.databases import FreshDatabases

TABLE = "testapp_treenode"
ALIASES = [
    pytest.param("postgresql_a", marks=pytest.mark.postgresql),
    pytest.param("mysql_a", marks=pytest.mark.mysql),
    "sqlite_a",
]


def execute(alias: str, *statements: str) -> None:
    with connections[alias].cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def constraint(alias: str) -> str:
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT conname FROM pg_constraint WHERE contype = 'f' AND conrelid = %s::regclass", [TABLE])
        return str(cursor.fetchone()[0])


def enforces(alias: str) -> bool:
    (reference,) = table_of(TreeNode).references
    (is_enforced,) = engine_for(connections[alias]).catalogue.enforced([(TABLE, reference)])
    return is_enforced


@pytest.mark.parametrize("alias", ALIASES)
def test_only_postgresql_knows_that_all_rows_were_held_against_a_key(alias: str, databases: FreshDatabases) -> None:
    databases.fresh(alias)
    assert enforces(alias) is alias.startswith("postgresql")


@pytest.mark.postgresql
@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE testapp_treenode DROP CONSTRAINT {0}",
        "ALTER TABLE testapp_treenode DROP CONSTRAINT {0}; ALTER TABLE testapp_treenode ADD CONSTRAINT {0} "
        "FOREIGN KEY (parent_id) REFERENCES testapp_treenode (id) NOT VALID",
        "ALTER TABLE testapp_treenode DROP CONSTRAINT {0}; ALTER TABLE testapp_treenode ADD CONSTRAINT {0} "
        "FOREIGN KEY (parent_id) REFERENCES testapp_tag (id)",
    ],
    ids=["none", "not validated", "of another table"],
)
def test_looks_up_what_postgresql_does_not_enforce(change: str, databases: FreshDatabases) -> None:
    databases.fresh("postgresql_a")
    name = constraint("postgresql_a")
    execute("postgresql_a", f"ALTER TABLE {TABLE} DROP CONSTRAINT {name}")
    insert_rows(TreeNode, "postgresql_a", [{"id": 1, "name": "lost", "parent_id": 77}])
    execute("postgresql_a", "INSERT INTO testapp_tag (id, name) VALUES (77, 'the other table has it')")
    key = f"ADD CONSTRAINT {name} FOREIGN KEY (parent_id) REFERENCES {TABLE} NOT VALID"
    execute("postgresql_a", f"ALTER TABLE {TABLE} {key}", *change.format(name).split("; "))
    assert not enforces("postgresql_a")
    engine = engine_for(connections["postgresql_a"])
    (found,) = find_orphans(ParallelQueries(engine), [table_of(TreeNode)], {}, trusts_constraints=True).result()
    assert (found.rows, found.keys) == (1, ("1",))


@pytest.mark.postgresql
def test_a_run_looks_up_a_key_that_is_put_back_unvalidated(databases: FreshDatabases) -> None:
    """Rows without parents that a trigger makes are found all the same."""
    pair = Pair("sqlite_a", "postgresql_b")
    databases.fresh(*pair)
    insert_rows(TreeNode, pair.source, [{"id": n, "name": f"{n}", "parent_id": None} for n in range(1, 5)])
    name = constraint(pair.dest)
    execute(
        pair.dest,
        f"ALTER TABLE {TABLE} DROP CONSTRAINT {name}",
        f"ALTER TABLE {TABLE} ADD CONSTRAINT {name} FOREIGN KEY (parent_id) REFERENCES {TABLE} NOT VALID",
        "CREATE FUNCTION astray() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.parent_id = 77; RETURN NEW; END'",
        f"CREATE TRIGGER astray BEFORE INSERT ON {TABLE} FOR EACH ROW WHEN (NEW.id = 3) EXECUTE FUNCTION astray()",
    )
    outcome = batch_migrate(source=pair.source, dest=pair.dest, labels=["testapp.TreeNode"], keep_triggers=True)
    assert outcome.verification is not None
    assert [(found.table.name, found.rows, found.keys) for found in outcome.verification.orphans] == [
        (TABLE, 1, ("3",))
    ]
    assert outcome.exit_code != 0
