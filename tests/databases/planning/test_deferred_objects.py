"""Indexes and foreign keys are dropped while rows are loaded, and recreated exactly as they were."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections
from django.db.models import QuerySet

from migrator.databases.api import RunResult, batch_migrate
from migrator.errors import MigratorError
from tests.databases.snapshots import differences, insert_rows, snapshot
from tests.management.running import forbid_twins_unasked
from tests.servers.databases import PAIRS, Pair, is_mysql
from tests.testapp.models import Article, Constrained, Tag, TextValue, TreeNode

if TYPE_CHECKING:
    from tests.servers.databases import FreshDatabases

pytestmark = pytest.mark.usefixtures("few_rows_are_many")

# Each engine once as source and once as destination.
THREE_PAIRS = [PAIRS[1], PAIRS[5], PAIRS[6]]
MODELS = (Constrained, TreeNode, TextValue)
LABELS = [model._meta.label for model in MODELS]

DEFINITIONS = {
    "postgresql": (
        "SELECT concat_ws(' ', pg_get_indexdef(i.indexrelid), i.indisvalid, i.indisclustered, i.indisreplident,"
        " obj_description(i.indexrelid, 'pg_class'))"
        " FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid WHERE t.relnamespace = 'public'::regnamespace",
        "SELECT concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid), convalidated,"
        " condeferrable, condeferred, obj_description(oid, 'pg_constraint'))"
        " FROM pg_constraint WHERE connamespace = 'public'::regnamespace",
        "SELECT concat_ws(' ', pg_get_triggerdef(oid), tgenabled) FROM pg_trigger WHERE NOT tgisinternal",
        "SELECT concat_ws(' ', attrelid::regclass, attname, attstattarget) FROM pg_attribute WHERE attstattarget > 0",
    ),
    "sqlite": ("SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_master",),
}


def definitions(alias: str) -> list[str]:
    """Give what the database's own catalogue says of its tables, indexes and constraints, the journal left out."""
    connection = connections[alias]
    found: list[str] = []
    with connection.cursor() as cursor:
        if connection.vendor == "mysql":
            for table in connection.introspection.table_names(cursor):
                cursor.execute(f"SHOW CREATE TABLE {connection.ops.quote_name(table)}")
                lines = cursor.fetchone()[1].split("\n")
                # The order of a table's indexes is no part of what they are.
                found += [f"{table}: {line.rstrip(',')}" for line in lines if not line.startswith(") ENGINE")]
        for query in DEFINITIONS.get(connection.vendor, ()):
            cursor.execute(query)
            found += [row[0] for row in cursor.fetchall()]
    return sorted(line for line in found if "migrator_" not in line and "sqlite_sequence" not in line)


def execute(alias: str, *statements: str) -> None:
    with connections[alias].cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def move(pair: Pair, **options: Any) -> RunResult:
    arguments = {"labels": LABELS, "chunk_size": 4} | options
    return batch_migrate(source=pair.source, dest=pair.dest, **arguments)


def fill(alias: str) -> None:
    rows = [
        {"id": n, "code": f"c{n}", "serial": n, "low": -n, "high": n, "mail": f"{n}@example.org"} for n in range(1, 11)
    ]
    insert_rows(Constrained, alias, rows)
    insert_rows(TreeNode, alias, [{"id": n, "name": f"node {n}", "parent_id": 11 - n} for n in range(1, 11)])
    insert_rows(TextValue, alias, [{"id": n, "label": f"text {n}", "value": f"word {n}" * n} for n in range(1, 11)])


POSTGRESQL: dict[str, str] = {
    "partial": "CREATE INDEX x ON testapp_constrained (serial) WHERE high > 3 AND code LIKE 'c%'",
    "expression": "CREATE INDEX x ON testapp_constrained (lower(code), (low + high))",
    "descending": "CREATE INDEX x ON testapp_constrained (high DESC NULLS LAST, low ASC NULLS FIRST)",
    "covering": "CREATE INDEX x ON testapp_constrained (serial) INCLUDE (code, mail)",
    "hash": "CREATE INDEX x ON testapp_constrained USING hash (code)",
    "gin": "CREATE INDEX x ON testapp_textvalue USING gin (to_tsvector('english', value)) WITH (fastupdate = off)",
    "brin": "CREATE INDEX x ON testapp_constrained USING brin (serial) WITH (pages_per_range = 4)",
    "operator class": "CREATE INDEX x ON testapp_textvalue (value text_pattern_ops)",
    "collation": 'CREATE INDEX x ON testapp_textvalue (value COLLATE "C")',
    "fill factor": "CREATE INDEX x ON testapp_constrained (serial) WITH (fillfactor = 55)",
    "nulls not distinct and unique": "CREATE UNIQUE INDEX x ON testapp_treenode (name) NULLS NOT DISTINCT",
    "odd name": """CREATE INDEX "x ""y"" 'z' %s ; é" ON testapp_constrained (serial)""",
    "name in capitals": 'CREATE INDEX "Order" ON testapp_constrained (serial)',
    "commented": "CREATE INDEX x ON testapp_constrained (serial); COMMENT ON INDEX x IS 'it''s 50%'",
    "statistics": "CREATE INDEX x ON testapp_constrained ((low * 2)); ALTER INDEX x ALTER COLUMN 1 SET STATISTICS 500",
    "clustered": "CREATE INDEX x ON testapp_constrained (serial); ALTER TABLE testapp_constrained CLUSTER ON x",
    "not valid": "ALTER TABLE testapp_constrained ADD CONSTRAINT x FOREIGN KEY (serial)"
    " REFERENCES testapp_tag NOT VALID",
    "cascade": "ALTER TABLE testapp_treenode ADD CONSTRAINT x FOREIGN KEY (parent_id) REFERENCES testapp_treenode"
    " ON DELETE CASCADE ON UPDATE SET NULL NOT DEFERRABLE",
    "set default": "ALTER TABLE testapp_treenode ADD CONSTRAINT \"x 'y'\" FOREIGN KEY (parent_id)"
    " REFERENCES testapp_treenode (id) MATCH FULL ON DELETE SET DEFAULT DEFERRABLE INITIALLY IMMEDIATE",
    "commented constraint": "ALTER TABLE testapp_treenode ADD CONSTRAINT x FOREIGN KEY (parent_id)"
    " REFERENCES testapp_treenode DEFERRABLE; COMMENT ON CONSTRAINT x ON testapp_treenode IS 'why'",
    "exclusion": "ALTER TABLE testapp_constrained ADD CONSTRAINT x EXCLUDE USING btree (serial WITH =)",
    "check not valid": "ALTER TABLE testapp_constrained ADD CONSTRAINT x CHECK (high < 500) NOT VALID NO INHERIT",
    "two tables, one name": "CREATE SCHEMA other; CREATE TABLE other.testapp_constrained (serial int);"
    " CREATE INDEX x ON other.testapp_constrained (serial); CREATE INDEX x ON testapp_constrained (serial)",
}
MYSQL: dict[str, str] = {
    "prefix": "CREATE INDEX x ON testapp_textvalue (value(20), label(5))",
    "full text": "CREATE FULLTEXT INDEX x ON testapp_textvalue (value)",
    "descending": "CREATE INDEX x ON testapp_constrained (high DESC, low)",
    "commented": "CREATE INDEX x ON testapp_constrained (serial) COMMENT 'it''s 50% \\\\ KEY `a` (`b`)'",
    "btree": "CREATE INDEX x USING BTREE ON testapp_constrained (serial)",
    "odd name": "CREATE INDEX `x ``y`` 'z' %s ; é, (` ON testapp_constrained (serial)",
    "unique": "CREATE UNIQUE INDEX x ON testapp_treenode (name)",
    "of a foreign key": "CREATE INDEX x ON testapp_treenode (parent_id, name)",
    "cascade": "ALTER TABLE testapp_treenode ADD CONSTRAINT x FOREIGN KEY (parent_id) REFERENCES testapp_treenode (id)"
    " ON DELETE CASCADE ON UPDATE CASCADE",
    "set null": "ALTER TABLE testapp_treenode ADD CONSTRAINT `x ``y`` %` FOREIGN KEY (parent_id)"
    " REFERENCES testapp_treenode (id) ON DELETE SET NULL",
    "virtual column": "ALTER TABLE testapp_constrained ADD COLUMN twice int AS (low * 2) VIRTUAL, ADD INDEX x (twice)",
}
MARIADB_ALONE: dict[str, str] = {
    "ignored": "CREATE INDEX x ON testapp_constrained (serial) IGNORED",
}
MYSQL_ALONE: dict[str, str] = {
    "invisible": "CREATE INDEX x ON testapp_constrained (serial) INVISIBLE",
    "functional": "CREATE INDEX x ON testapp_constrained ((low + high), (lower(code)) DESC)",
    "multi-valued": "ALTER TABLE testapp_constrained ADD COLUMN tags json,"
    " ADD INDEX x (serial, (CAST(tags->'$[*]' AS UNSIGNED ARRAY)))",
    "not unique": "SET SESSION restrict_fk_on_non_standard_key = OFF; ALTER TABLE testapp_treenode"
    " ADD COLUMN cousin_id bigint, ADD CONSTRAINT x FOREIGN KEY (cousin_id) REFERENCES testapp_treenode (parent_id)",
    "parser": "CREATE FULLTEXT INDEX x ON testapp_textvalue (value) WITH PARSER ngram",
}
SQLITE: dict[str, str] = {
    "partial": "CREATE INDEX x ON testapp_constrained (serial) WHERE high > 3 AND code LIKE 'c%'",
    "expression": "CREATE INDEX x ON testapp_constrained (lower(code), low + high)",
    "descending": "CREATE INDEX x ON testapp_constrained (high DESC, low COLLATE NOCASE)",
    "odd name": """CREATE INDEX "x ""y"" 'z' %s ; é" ON testapp_constrained (serial)""",
    "odd text": 'create  index if not exists\n\tx /* why? */ on "testapp_constrained"(\n serial -- 50%\n)',
    "unique": "CREATE UNIQUE INDEX x ON testapp_treenode (name)",
    "unique partial": "CREATE UNIQUE INDEX x ON testapp_treenode (name) WHERE id > 0",
}
KINDS = [
    pytest.param(engine, sql, id=f"{engine}-{name}")
    for engine, kinds in (
        ("postgresql", POSTGRESQL),
        ("mysql", MYSQL | MARIADB_ALONE | MYSQL_ALONE),
        ("sqlite", SQLITE),
    )
    for name, sql in kinds.items()
]


@pytest.mark.parametrize(("engine", "sql"), KINDS)
def test_is_the_same_afterwards(engine: str, sql: str, databases: FreshDatabases) -> None:
    pair = Pair("sqlite_a", f"{engine}_b")
    databases.fresh(*pair)
    if sql in (MARIADB_ALONE if is_mysql(pair.dest) else MYSQL_ALONE).values():
        pytest.skip("MySQL and MariaDB have different indexes")
    if sql in MARIADB_ALONE.values() and connections[pair.dest].mysql_version < (10, 6):  # type: ignore[attr-defined]
        pytest.skip("MariaDB has ignored indexes since 10.6")
    fill(pair.source)
    plain = definitions(pair.dest)
    execute(pair.dest, *(sql.split(";") if engine != "sqlite" and "%s ;" not in sql else [sql]))
    before = definitions(pair.dest)
    assert before != plain
    assert move(pair).exit_code == 0
    assert definitions(pair.dest) == before
    assert differences(snapshot(pair.source, MODELS), snapshot(pair.dest, MODELS)) == []


def seen_while_copying(pair: Pair, **options: Any) -> list[str]:
    """Run, and tell what the catalogue said right before the last row was recorded."""
    found: list[list[str]] = []
    looking = False

    def look(run: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        nonlocal looking
        if not looking and "UPDATE" in str(sql) and "migrator_chunk" in str(sql):
            looking = True
            found.append(definitions(pair.dest))
            looking = False
        return run(sql, params, many, context)

    with connections[pair.dest].execute_wrapper(look):
        assert move(pair, **options).exit_code == 0
    return found[-1]


@pytest.mark.parametrize("pair", THREE_PAIRS, ids=str, indirect=True)
def test_only_what_guards_no_row_is_off_while_rows_are_loaded(pair: Pair) -> None:
    fill(pair.source)
    before = definitions(pair.dest)
    off = {line for line in set(before) - set(seen_while_copying(pair)) if "CREATE TABLE" not in line}
    assert any("testapp_constrained_high" in line for line in off)
    assert not [line for line in off if "UNIQUE" in line.upper() or "PRIMARY" in line.upper()]
    assert not [line for line in off if not any(model._meta.db_table in line for model in MODELS)]
    assert definitions(pair.dest) == before


@pytest.mark.parametrize("pair", THREE_PAIRS, ids=str, indirect=True)
def test_indexes_stay_on_where_they_are_to_be_kept(pair: Pair) -> None:
    fill(pair.source)
    before = definitions(pair.dest)
    off = set(before) - set(seen_while_copying(pair, keep_indexes=True))
    assert not [line for line in off if "FOREIGN KEY" not in line]
    assert definitions(pair.dest) == before


@pytest.mark.parametrize("engine", ["postgresql", "mysql", "sqlite"])
def test_a_unique_index_still_finds_a_row_twice(engine: str, databases: FreshDatabases) -> None:
    pair = Pair("sqlite_a", f"{engine}_b")
    databases.fresh(*pair)
    fill(pair.source)
    forbid_twins_unasked(pair.dest, "testapp_treenode", "name")
    QuerySet(TreeNode, using=pair.source).filter(id__in=(7, 9)).update(name="the same")
    before = definitions(pair.dest)
    with pytest.raises(MigratorError, match=r"testapp\.TreeNode with primary key 9"):
        move(pair)
    QuerySet(TreeNode, using=pair.source).filter(id=9).update(name="another")
    assert move(pair, resume=True).exit_code == 0
    assert definitions(pair.dest) == before
    assert differences(snapshot(pair.source, MODELS), snapshot(pair.dest, MODELS)) == []


@pytest.mark.parametrize("pair", [PAIRS[1]], ids=str, indirect=True)
def test_a_table_outside_of_the_selection_keeps_its_foreign_keys(pair: Pair) -> None:
    insert_rows(Article, pair.source, [{"name": "a"}])
    insert_rows(Tag, pair.source, [{"name": "a"}])
    execute(pair.dest, "CREATE TABLE outsider (id int PRIMARY KEY, article_id bigint REFERENCES testapp_article)")
    before = definitions(pair.dest)
    assert (
        not set(before)
        - set(seen_while_copying(pair, labels=["testapp.Tag"], chunk_size=1))
        - {line for line in before if "testapp_tag" in line}
    )
    assert definitions(pair.dest) == before


@pytest.mark.parametrize("engine", ["postgresql", "mysql", "sqlite"])
def test_what_is_there_again_already_is_left_alone(engine: str, databases: FreshDatabases) -> None:
    """Somebody who puts an index back by hand after a crash is not in the way."""
    pair = Pair("sqlite_a", f"{engine}_b")
    databases.fresh(*pair)
    fill(pair.source)
    forbid_twins_unasked(pair.dest, "testapp_treenode", "name")
    before = definitions(pair.dest)
    QuerySet(TreeNode, using=pair.source).filter(id=9).update(name="node 1")
    with pytest.raises(MigratorError):
        move(pair)
    own = [line for line in before if line.startswith("index testapp_constrained_high")]
    usual = "INDEX testapp_constrained_high ON testapp_constrained (high DESC, low)"
    descending = own[0].partition("CREATE ")[2] if own else usual
    execute(pair.dest, f"CREATE {descending}")
    QuerySet(TreeNode, using=pair.source).filter(id=9).update(name="node 9")
    assert move(pair, resume=True).exit_code == 0
    assert definitions(pair.dest) == before
