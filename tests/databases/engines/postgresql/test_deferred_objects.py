"""PostgreSQL's primary and unique keys are off while a large table is loaded, where the source has enforced them."""

from __future__ import annotations

import json
import signal
import threading
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections
from django.db.models import QuerySet

from migrator.console.report_text import to_text
from migrator.databases.api import RunResult, batch_migrate
from migrator.databases.copying import drops
from migrator.databases.engines.base.catalogue import UNIQUE_KEY
from migrator.databases.engines.registry import engine_for
from migrator.databases.journal.records import Run
from migrator.databases.planning import deferred_objects
from migrator.databases.reports.plan import plan_report
from migrator.databases.verification import committed_rows
from migrator.errors import MigratorError
from tests.databases.planning.test_deferred_objects import definitions, execute, seen_while_copying
from tests.databases.snapshots import differences, insert_rows, snapshot
from tests.databases.test_journal import journal_tables
from tests.scenarios.test_resume import Trap, killed, next_keys_are_free
from tests.servers.databases import PAIRS, Pair
from tests.testapp.models import Article, Constrained, DecimalKey, Tag, TextKey, TextValue, TreeNode, UUIDKey

if TYPE_CHECKING:
    from tests.servers.databases import FreshDatabases

pytestmark = pytest.mark.usefixtures("few_rows_are_many")

TO_POSTGRESQL = [PAIRS[1], PAIRS[4], PAIRS[7]]
BETWEEN = PAIRS[4]
MODELS = (Tag, Article, Article.tags.through, Constrained, TreeNode, TextValue)
LABELS = [
    "testapp.Tag", "testapp.Article", "testapp.Rating", "testapp.UUIDKey", "testapp.Constrained", "testapp.TreeNode",
    "testapp.TextValue",
]  # fmt: skip
ROWS = 30

to_postgresql = pytest.mark.parametrize("pair", TO_POSTGRESQL, ids=str, indirect=True)
between = pytest.mark.parametrize("pair", [BETWEEN], ids=str, indirect=True)


@pytest.fixture(autouse=True)
def few_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deferred_objects, "FEWEST_ROWS", 5)


@pytest.fixture
def filled(pair: Pair) -> Pair:
    fill(pair.source)
    return pair


def fill(alias: str) -> None:
    numbers = range(1, ROWS + 1)
    insert_rows(Tag, alias, [{"id": n, "name": f"tag {n}"} for n in numbers])
    insert_rows(Article, alias, [{"id": n, "name": f"article {n}"} for n in numbers])
    insert_rows(Article.tags.through, alias, [{"id": n, "article_id": n, "tag_id": n} for n in numbers])
    rows = [{"id": n, "code": f"c{n}", "serial": n, "low": -n, "high": n, "mail": f"{n}@example.org"} for n in numbers]
    insert_rows(Constrained, alias, rows)
    insert_rows(TreeNode, alias, [{"id": n, "name": f"{n}", "parent_id": ROWS + 1 - n} for n in numbers])
    insert_rows(TextValue, alias, [{"id": n, "label": f"text {n}", "value": f"word {n}"} for n in range(1, 4)])


def move(pair: Pair, **options: Any) -> RunResult:
    return batch_migrate(source=pair.source, dest=pair.dest, **{"labels": LABELS, "chunk_size": 6} | options)


def keys_off(pair: Pair, **options: Any) -> set[str]:
    """Name the keys that a run would take off."""
    taken_off = move(pair, dry_run=True, **options).plan.deferred
    return {item.name for item in taken_off if item.kind == UNIQUE_KEY}


def keys_missing(before: list[str], now: list[str]) -> set[str]:
    """Give the indexes of primary and unique keys that are gone."""
    return {line.split()[3] for line in set(before) - set(now) if line.startswith("CREATE UNIQUE INDEX")}


def is_right(pair: Pair, before: list[str]) -> None:
    assert definitions(pair.dest) == before
    assert differences(snapshot(pair.source, MODELS), snapshot(pair.dest, MODELS)) == []
    next_keys_are_free(pair.dest)


# -- what goes off ---------------------------------------------------------------------------------------------------


@to_postgresql
def test_are_dropped_while_rows_are_loaded_and_recreated_afterwards(filled: Pair) -> None:
    before = definitions(filled.dest)
    off = keys_missing(before, seen_while_copying(filled, labels=LABELS, chunk_size=6))
    assert {
        "testapp_article_pkey", "testapp_article_tags_pkey", "testapp_constrained_pkey", "testapp_treenode_pkey",
        "testapp_constrained_mail_key", "testapp_constrained_range",
    } <= off  # fmt: skip
    assert any(name.startswith("testapp_article_tags_article_id_tag_id_") for name in off)
    assert "testapp_textvalue_pkey" not in off, "a small table gains nothing"
    assert "testapp_tag_pkey" not in off, "a table that is not selected refers to it"
    is_right(filled, before)


@between
def test_the_plan_lists_them(filled: Pair) -> None:
    plan = move(filled, dry_run=True).plan
    assert "primary and unique keys: dropped" in to_text(plan_report(plan))
    assert {item["kind"] for item in plan_report(plan).document["taken_off"]} == {"index", "foreign key", "unique key"}


@between
@pytest.mark.parametrize("options", [{"keep_indexes": True}, {"on_error": "skip"}], ids=str)
def test_stay_if_rows_are_checked_against_them_one_by_one(filled: Pair, options: dict[str, Any], tmp_path: Any) -> None:
    rejects = {"rejects": tmp_path / "rejects.jsonl"} if "on_error" in options else {}
    assert keys_off(filled)
    assert keys_off(filled, **options, **rejects) == set()


@between
def test_stay_if_only_the_destination_forbids_duplicates(filled: Pair) -> None:
    execute(filled.dest, "ALTER TABLE testapp_treenode ADD CONSTRAINT x UNIQUE (name)")
    assert "x" not in keys_off(filled)
    execute(filled.source, "CREATE UNIQUE INDEX y ON testapp_treenode (name) WHERE id > 3")
    execute(filled.source, "CREATE UNIQUE INDEX z ON testapp_treenode (name, lower(name))")
    assert "x" not in keys_off(filled)
    execute(filled.source, "CREATE UNIQUE INDEX w ON testapp_treenode (id) INCLUDE (name)")
    assert "x" not in keys_off(filled)
    execute(filled.source, "ALTER TABLE testapp_treenode ADD CONSTRAINT x UNIQUE (name)")
    assert "x" in keys_off(filled)


PARTIAL = "CREATE UNIQUE INDEX x ON testapp_treenode (name) WHERE id > 3"
EXPRESSION = "CREATE UNIQUE INDEX x ON testapp_treenode (name, lower(name))"
MYSQL_EXPRESSION = "ALTER TABLE testapp_treenode ADD low varchar(80) AS (lower(name)), ADD UNIQUE x (name, low)"
WHOLE = "CREATE UNIQUE INDEX x ON testapp_treenode (name)"


@pytest.mark.parametrize(
    ("engine", "sql", "proves"),
    [
        ("sqlite", PARTIAL, False),
        ("sqlite", EXPRESSION, False),
        ("sqlite", WHOLE, True),
        ("mysql", MYSQL_EXPRESSION, False),
        ("mysql", WHOLE, True),
        ("mysql", "CREATE UNIQUE INDEX x ON testapp_treenode (name(20))", True),
    ],
)
def test_a_source_proves_what_holds_for_all_its_rows(
    engine: str, sql: str, proves: bool, databases: FreshDatabases
) -> None:
    pair = Pair(f"{engine}_a", "postgresql_b")
    databases.fresh(*pair)
    fill(pair.source)
    execute(pair.dest, "ALTER TABLE testapp_treenode ADD CONSTRAINT x UNIQUE (name)")
    assert "x" not in keys_off(pair)
    execute(pair.source, sql)
    assert ("x" in keys_off(pair)) is proves


@pytest.mark.parametrize("engine", ["sqlite", "mysql", "postgresql"])
def test_values_that_can_become_the_same_prove_nothing(engine: str, databases: FreshDatabases) -> None:
    """A number has several decimals in text, a UUID several spellings; PostgreSQL's own are equal where they are."""
    pair = Pair(f"{engine}_a", "postgresql_b")
    databases.fresh(*pair)
    insert_rows(UUIDKey, pair.source, [{"id": uuid.UUID(int=n), "label": str(n)} for n in range(ROWS)])
    insert_rows(DecimalKey, pair.source, [{"amount": n, "label": str(n)} for n in range(ROWS)])
    insert_rows(TextKey, pair.source, [{"code": f"key {n}", "label": str(n)} for n in range(ROWS)])
    off = keys_off(pair, labels=["testapp"])
    doubtful = {"testapp_uuidkey_pkey", "testapp_decimalkey_pkey"}
    assert off == {"testapp_textkey_pkey"} | (doubtful if engine == "postgresql" else set())


@between
def test_text_that_the_destination_compares_without_case_proves_nothing(filled: Pair) -> None:
    for alias in filled:
        execute(alias, "ALTER TABLE testapp_treenode ADD CONSTRAINT x UNIQUE (name)")
    assert "x" in keys_off(filled)
    collation = "CREATE COLLATION careless (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
    execute(filled.dest, collation, "ALTER TABLE testapp_treenode ALTER name TYPE varchar(80) COLLATE careless")
    assert "x" not in keys_off(filled)


def test_a_source_that_can_change_under_the_run_proves_nothing(databases: FreshDatabases) -> None:
    pair = Pair("mysql_a", "postgresql_b")
    databases.fresh(*pair)
    fill(pair.source)
    assert "testapp_constrained_pkey" in keys_off(pair)
    execute(pair.source, f"ALTER TABLE {T} ENGINE = MyISAM")
    assert not any(name.startswith(T) for name in keys_off(pair))


@between
def test_ids_that_are_replaced_on_the_way_prove_nothing(pair: Pair) -> None:
    permissions = {"labels": ["auth.Permission"], "replace": pair.dest}
    unique = "auth_permission_content_type_id_codename_"
    assert any(name.startswith(unique) for name in keys_off(pair, **permissions))
    execute(pair.dest, "TRUNCATE auth_permission CASCADE", "UPDATE django_content_type SET id = id + 1000")
    assert not any(name.startswith(unique) for name in keys_off(pair, **permissions))


T = "testapp_constrained"
# Statements for the destination, and whether the key ``x`` of the columns code, serial goes off.
KEYS = {
    "plain": ("ADD x", True),
    "odd names": ("""ALTER TABLE {t} ADD CONSTRAINT "x ""y"" %" UNIQUE (code, serial)""", True),
    "commented": ("ADD x;COMMENT ON CONSTRAINT x ON {t} IS 'it''s 50%';COMMENT ON INDEX x IS 'of x'", True),
    "covering": ("ALTER TABLE {t} ADD CONSTRAINT x UNIQUE (serial, code) INCLUDE (low)", True),
    "made of an index": ("CREATE UNIQUE INDEX x ON {t} (code, serial);ALTER TABLE {t} ADD UNIQUE USING INDEX x", True),
    "not a constraint": ("CREATE UNIQUE INDEX x ON {t} (code, serial)", False),
    "deferrable": ("ALTER TABLE {t} ADD CONSTRAINT x UNIQUE (code, serial) DEFERRABLE", False),
    "nulls not distinct": ("ALTER TABLE {t} ADD CONSTRAINT x UNIQUE NULLS NOT DISTINCT (code, serial)", False),
    "fill factor": ("ALTER TABLE {t} ADD CONSTRAINT x UNIQUE (code, serial) WITH (fillfactor = 60)", False),
    "clustered": ("ADD x;ALTER TABLE {t} CLUSTER ON x", False),
    "replica identity": (
        "ADD x;ALTER TABLE {t} ALTER code SET NOT NULL, ALTER serial SET NOT NULL;"
        "ALTER TABLE {t} REPLICA IDENTITY USING INDEX x",
        False,
    ),
    "published": ("ADD x;CREATE PUBLICATION p FOR TABLE {t}", False),
    "inherited": ("ADD x;CREATE TABLE child () INHERITS ({t})", False),
}


@pytest.mark.parametrize("name", KEYS)
def test_only_those_are_dropped_that_can_be_recreated_exactly(name: str, databases: FreshDatabases) -> None:
    databases.fresh(*BETWEEN)
    fill(BETWEEN.source)
    sql, goes_off = KEYS[name]
    text = sql.replace("ADD x", f"ALTER TABLE {T} ADD CONSTRAINT x UNIQUE (code, serial)").replace("{t}", T)
    execute(BETWEEN.dest, *text.split(";"))
    try:
        before = definitions(BETWEEN.dest)
        assert bool(keys_off(BETWEEN) & {"x", 'x "y" %'}) is goes_off
        assert move(BETWEEN).exit_code == 0
        is_right(BETWEEN, before)
    finally:
        execute(BETWEEN.dest, "DROP TABLE IF EXISTS child CASCADE", "DROP PUBLICATION IF EXISTS p")


@between
def test_a_primary_key_that_a_view_depends_on_stays(filled: Pair) -> None:
    execute(filled.dest, f"CREATE VIEW grouped AS SELECT id, code, count(*) FROM {T} GROUP BY id")
    off = keys_off(filled)
    assert "testapp_constrained_mail_key" in off
    assert "testapp_constrained_pkey" not in off


@between
def test_foreign_keys_without_a_model_are_recreated_after_the_keys_they_need(filled: Pair) -> None:
    execute(
        filled.dest,
        f"ALTER TABLE testapp_article ADD COLUMN mail varchar(254) REFERENCES {T} (mail)",
        "ALTER TABLE testapp_tag ADD CONSTRAINT x FOREIGN KEY (id) REFERENCES testapp_treenode (id)",
    )
    before = definitions(filled.dest)
    assert "testapp_constrained_mail_key" in keys_off(filled)
    assert move(filled).exit_code == 0
    assert definitions(filled.dest) == before


@pytest.mark.driver
@between
def test_workers_recreate_them_as_well(filled: Pair) -> None:
    before = definitions(filled.dest)
    outcome = move(filled, jobs=2)
    assert outcome.exit_code == 0
    assert any(item.kind == UNIQUE_KEY for item in outcome.plan.deferred)
    is_right(filled, before)


# -- cut off ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@to_postgresql
@pytest.mark.parametrize("moment", ["dropping", "copying", "recreating"])
def test_a_killed_run_resumes(filled: Pair, moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drops, "TOGETHER", 1)  # so that some are dropped, and others not
    before = definitions(filled.dest)
    trap = {
        "dropping": Trap(4, "DROP CONSTRAINT .*(key|uniq)"),
        "copying": Trap(9, "UPDATE .*migrator_chunk"),
        "recreating": Trap(2, "ADD CONSTRAINT .*(PRIMARY|UNIQUE)"),
    }[moment]
    assert killed(filled, trap, labels=LABELS) == -signal.SIGKILL
    assert keys_missing(before, definitions(filled.dest))
    QuerySet(Article, using=filled.source).filter(pk=2).update(name="another")
    QuerySet(Article.tags.through, using=filled.source).filter(pk=7).delete()
    assert move(filled, resume=True).exit_code == 0
    is_right(filled, before)


@between
def test_what_was_copied_is_found_by_its_key_when_a_run_resumes(filled: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    before = definitions(filled.dest)
    monkeypatch.setattr(committed_rows, "SPAN_ROWS", 1)
    assert killed(filled, Trap(9, "UPDATE .*migrator_chunk"), labels=LABELS) == -signal.SIGKILL
    QuerySet(Article, using=filled.source).filter(pk=2).update(name="another")
    seen = {"SELECT": 0, "DELETE": 0}

    def look(run: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        word = str(sql).split()[0]
        is_here = threading.current_thread() is threading.main_thread()  # where this test has its own session
        if is_here and 'FROM "testapp_article"' in str(sql) and "COUNT" not in str(sql) and word in seen:
            seen[word] += 1
            assert "testapp_article_pkey" not in keys_missing(before, definitions(filled.dest))
        return run(sql, params, many, context)

    with connections[filled.dest].execute_wrapper(look):
        assert move(filled, resume=True).exit_code == 0
    assert all(seen.values()), "what is compared, and what is taken out again"
    is_right(filled, before)


@between
def test_an_abandoned_run_recreates_them(filled: Pair) -> None:
    before = definitions(filled.dest)
    assert killed(filled, Trap(14, "UPDATE .*migrator_chunk"), labels=LABELS) == -signal.SIGKILL
    execute(filled.dest, "DELETE FROM testapp_article_tags", "UPDATE testapp_treenode SET parent_id = NULL")
    assert move(filled, cleanup=True).exit_code == 0
    assert definitions(filled.dest) == before


# -- rows that are there twice ----------------------------------------------------------------------------------------


def spoil(pair: Pair, sql: str) -> MigratorError:
    """Run while somebody else writes to the destination; return how that ends."""
    done = []

    def write(run: Any, statement: Any, params: Any, many: bool, context: Any) -> Any:
        if not done and "ADD CONSTRAINT" in str(statement):
            done.append(1)
            execute(pair.dest, sql)
        return run(statement, params, many, context)

    with connections[pair.dest].execute_wrapper(write), pytest.raises(MigratorError) as caught:
        move(pair)
    return caught.value


@between
def test_a_duplicate_row_is_reported_and_a_resumed_run_fixes_it(filled: Pair) -> None:
    before = definitions(filled.dest)
    twice = f"INSERT INTO {T} SELECT id + 1000, 'other', serial, low, high, mail FROM {T} WHERE id = 3"
    message = str(spoil(filled, twice))
    assert "the same mail" in message
    assert "testapp_constrained_mail_key" in message
    assert "3@example.org" not in message
    missing = keys_missing(before, definitions(filled.dest))
    assert "testapp_constrained_mail_key" in missing
    assert "testapp_article_pkey" not in missing, "the others are back"
    assert QuerySet(Run, using=filled.dest).get().dropped_objects()
    assert move(filled, resume=True).exit_code == 0
    is_right(filled, before)


@between
def test_a_row_that_took_anothers_place_is_found_without_its_key(filled: Pair) -> None:
    """As many rows as were copied, of which two are the same: what the journal says of them is not believed."""
    before = definitions(filled.dest)
    spoil(filled, "UPDATE testapp_article SET id = 4 WHERE id = 5")
    assert "testapp_article_pkey" in keys_missing(before, definitions(filled.dest))
    assert move(filled, resume=True).exit_code == 0
    is_right(filled, before)


@between
def test_abandoning_lists_duplicates_and_recreates_everything_else(filled: Pair) -> None:
    before = definitions(filled.dest)
    spoil(filled, "UPDATE testapp_article SET id = 4 WHERE id = 5")
    outcome = move(filled, cleanup=True)
    assert outcome.exit_code == 4
    assert journal_tables(filled.dest) == set()
    primary = next(item for item in outcome.not_recreated if item.kind == UNIQUE_KEY)
    assert "the same id" in primary.reason
    assert primary.rows == ("testapp.Article with primary key 4, which exists twice, field id",)
    missing = set(before) - set(definitions(filled.dest))
    assert {line for line in missing if "testapp_article" not in line} == set()
    execute(
        filled.dest,
        "UPDATE testapp_article SET id = 5 WHERE ctid = (SELECT max(ctid) FROM testapp_article WHERE id = 4)",
    )
    execute(filled.dest, *(item.statement for item in outcome.not_recreated))
    assert definitions(filled.dest) == before


@pytest.mark.driver
@between
def test_a_row_with_a_value_that_is_there_already_is_named_with_the_other_and_can_be_rejected(
    filled: Pair, tmp_path: Any
) -> None:
    before = definitions(filled.dest)
    twice = f"INSERT INTO {T} SELECT id + 1000, 'other', serial + 1000, low, high, mail FROM {T} WHERE id = 3"
    message = str(spoil(filled, twice))
    assert "testapp.Constrained with primary keys 3 and 1003, field mail" in message
    rejects = tmp_path / "rejects.jsonl"
    execute(filled.source, f"ALTER TABLE {T} DROP CONSTRAINT testapp_constrained_mail_key")
    execute(filled.source, twice)
    assert move(filled, resume=True, on_error="skip", rejects=rejects).exit_code == 4
    (line,) = map(json.loads, rejects.read_text().splitlines())
    assert (line["pk"], line["field"], line["row"]["code"]) == ("1003", "mail", "other")
    assert definitions(filled.dest) == before


def test_the_keys_of_a_source_are_named_by_their_columns(databases: FreshDatabases) -> None:
    wanted = {frozenset(names.split()) for names in ("id", "mail", "code serial", "code low high")}
    for alias in ("sqlite_a", "mysql_a", "postgresql_a"):
        databases.fresh(alias)
        assert engine_for(connections[alias]).catalogue.unique_keys(T) == wanted, alias
