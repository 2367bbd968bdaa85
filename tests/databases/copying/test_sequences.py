"""The next key of every table is free after a move, whatever keys it got."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections, models
from django.db.models import QuerySet

from migrator.databases.api import RunResult, batch_migrate, batch_migrate_models
from migrator.databases.comparison import verify_counts
from migrator.databases.engines.registry import engine_for
from migrator.databases.tables import table_of
from tests.databases.snapshots import insert_rows
from tests.management.running import as_another_role
from tests.pairs import in_turn
from tests.servers.databases import PAIRS, Pair
from tests.testapp.models import Article, AutoKey, BigAutoKey, Constrained, Empty, OddNames, SmallAutoKey, Tag

if TYPE_CHECKING:
    from tests.servers.databases import FreshDatabases

# Each engine once as source and once as destination, and PostgreSQL twice.
THREE_PAIRS = [PAIRS[1], PAIRS[5], PAIRS[6]]
TO_POSTGRESQL = Pair("sqlite_a", "postgresql_b")


def move(pair: Pair, *labels: str, **options: Any) -> RunResult:
    outcome = batch_migrate(source=pair.source, dest=pair.dest, labels=labels, **options)
    assert outcome.exit_code == 0, outcome.verification
    return outcome


def new_key(model: Any, alias: str, **values: Any) -> Any:
    """Insert a row the way the application would, by the database's own counter."""
    row = model(**values)
    row.save(using=alias, force_insert=True)
    return row.pk


def labelled(*keys: int) -> list[dict[str, Any]]:
    return [{"id": key, "label": "x"} for key in keys]


@pytest.mark.parametrize(
    ("model", "keys", "expected"),
    [
        (AutoKey, (1, 2, 3), 4),
        (AutoKey, (7,), 8),
        (AutoKey, (-7, 0, 900), 901),
        (SmallAutoKey, (-5, 32_000), 32_001),
        (BigAutoKey, (2**53 + 1,), 2**53 + 2),
        (AutoKey, (-7, -1), 1),
        (AutoKey, (0,), 1),
        (AutoKey, (), 1),
        (AutoKey, (1,), 2),
    ],
    ids=str,
)
@pytest.mark.parametrize("pair", THREE_PAIRS, ids=str, indirect=True)
def test_goes_on_above_the_largest_key(pair: Pair, model: Any, keys: tuple[int, ...], expected: int) -> None:
    insert_rows(model, pair.source, labelled(*keys))
    move(pair, model._meta.label)
    assert new_key(model, pair.dest, label="new") == expected
    assert new_key(model, pair.dest, label="newer") == expected + 1


@in_turn
def test_a_key_at_its_largest_value_is_no_late_counter(pair: Pair) -> None:
    largest = {SmallAutoKey: 2**15 - 1, AutoKey: 2**31 - 1, BigAutoKey: 2**63 - 1}
    for model, key in largest.items():
        insert_rows(model, pair.source, labelled(key))
        if pair.source == "postgresql_a":
            advance(pair.source, model._meta.db_table, key + 1)
    move(pair, *(model._meta.label for model in largest))
    move(pair, *(model._meta.label for model in largest), update=True)
    compared = verify_counts(source=pair.source, dest=pair.dest, labels=[model._meta.label for model in largest])
    assert compared.exit_code == 0, compared.verification


def test_a_counter_that_has_given_its_last_key_is_not_late(databases: FreshDatabases) -> None:
    """MySQL says of each type that the last key comes again; MariaDB does so of this one alone."""
    databases.fresh("mysql_b")
    execute(
        "mysql_b",
        "ALTER TABLE testapp_empty MODIFY id bigint unsigned NOT NULL AUTO_INCREMENT",
        f"INSERT INTO testapp_empty (id, name) VALUES ({2**64 - 1}, 'last')",
    )
    (counter,) = engine_for(connections["mysql_b"]).catalogue.sequences([table_of(Empty)])
    assert (counter.largest, counter.is_behind) == (2**64 - 1, False)


def test_a_sequence_that_ends_before_its_column_is_reported(databases: FreshDatabases) -> None:
    databases.fresh(*TO_POSTGRESQL)
    execute(TO_POSTGRESQL.dest, "ALTER SEQUENCE testapp_bigautokey_id_seq AS integer")
    insert_rows(BigAutoKey, TO_POSTGRESQL.source, labelled(2**40))
    outcome = batch_migrate(source=TO_POSTGRESQL.source, dest=TO_POSTGRESQL.dest, labels=["testapp.BigAutoKey"])
    assert outcome.verification
    (late,) = outcome.verification.late_sequences
    assert str(late) == f"testapp_bigautokey.id: the next key would be {2**31}, and {2**40} is taken"
    assert outcome.exit_code == 3


def advance(alias: str, table: str, next_key: int) -> None:
    """Have a table's counter stand where it does after rows that were deleted again."""
    statements = {
        "postgresql": f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), {next_key - 1})",
        "mysql": f"ALTER TABLE {table} AUTO_INCREMENT = {next_key}",
        "sqlite": f"INSERT INTO sqlite_sequence (name, seq) VALUES ('{table}', {next_key - 1})",
    }
    if connections[alias].vendor == "sqlite":
        execute(alias, f"DELETE FROM sqlite_sequence WHERE name = '{table}'")
    execute(alias, statements[connections[alias].vendor])


@in_turn
@pytest.mark.parametrize("keys", [(), (3,)], ids=["no row", "rows"])
def test_gives_no_key_anew_that_the_source_has_given(pair: Pair, keys: tuple[int, ...]) -> None:
    """Something may still name a deleted row by its number: a log, a generic relation, another system."""
    insert_rows(AutoKey, pair.source, labelled(*keys))
    advance(pair.source, "testapp_autokey", 500)
    move(pair, "testapp.AutoKey")
    assert new_key(AutoKey, pair.dest, label="new") == 500


@in_turn
def test_takes_no_next_key_that_the_column_cannot_hold(pair: Pair) -> None:
    insert_rows(AutoKey, pair.source, labelled(3))
    if pair.source.startswith("postgresql"):
        execute(pair.source, "ALTER SEQUENCE testapp_autokey_id_seq AS bigint MAXVALUE 9000000000000")
    advance(pair.source, "testapp_autokey", 2**40)
    move(pair, "testapp.AutoKey")
    if pair.dest.startswith("sqlite"):  # whose keys all have 64 bits
        return
    assert new_key(AutoKey, pair.dest, label="new") == 4


@pytest.mark.parametrize("pair", THREE_PAIRS, ids=str, indirect=True)
@pytest.mark.parametrize("updates", [False, True], ids=["added", "updated"])
def test_sets_no_counter_back_where_the_destination_keeps_its_rows(pair: Pair, updates: bool) -> None:
    """Its application may just be about to commit a row with a key that was given already."""
    insert_rows(AutoKey, pair.source, labelled(1, 2, 900))
    advance(pair.dest, "testapp_autokey", 5000)
    if updates:
        move(pair, "testapp.AutoKey", update=True)
    else:
        assert batch_migrate_models(models=["testapp.AutoKey"], source=pair.source, dest=pair.dest).exit_code == 0
    assert new_key(AutoKey, pair.dest, label="new") == 5000


@pytest.mark.postgresql
def test_moves_from_a_role_that_may_not_read_sequences(databases: FreshDatabases) -> None:
    databases.fresh("postgresql_a", "sqlite_b")
    insert_rows(AutoKey, "postgresql_a", labelled(1, 2, 900))
    with as_another_role("postgresql_a", "SELECT ON ALL TABLES IN SCHEMA public") as reader:
        move(Pair(reader, "sqlite_b"), "testapp.AutoKey")
    assert new_key(AutoKey, "sqlite_b", label="new") == 901


@in_turn
def test_goes_on_in_through_tables_and_odd_names(pair: Pair) -> None:
    insert_rows(Tag, pair.source, [{"id": 40, "name": "a"}])
    insert_rows(Article, pair.source, [{"id": 50, "name": "a"}])
    insert_rows(Article.tags.through, pair.source, [{"id": 60, "article_id": 50, "tag_id": 40}])
    odd = {"value": "a", "order": 1, "dashed": 1, "accented": "a"}
    insert_rows(OddNames, pair.source, [{"id": 70, **odd}])
    insert_rows(OddNames.tags.through, pair.source, [{"id": 80, "oddnames_id": 70, "tag_id": 40}])
    move(pair, "testapp")
    assert new_key(Tag, pair.dest, name="new") == 41
    assert new_key(Article, pair.dest, name="new") == 51
    assert new_key(Article.tags.through, pair.dest, article_id=50, tag_id=41) == 61
    assert new_key(OddNames, pair.dest, **odd) == 71
    assert new_key(OddNames.tags.through, pair.dest, oddnames_id=71, tag_id=40) == 81
    assert new_key(Empty, pair.dest, name="first") == 1


@pytest.mark.parametrize("pair", THREE_PAIRS, ids=str, indirect=True)
def test_verification_finds_a_counter_that_lags_behind(pair: Pair) -> None:
    insert_rows(AutoKey, pair.source, labelled(1, 2, 900))
    move(pair, "testapp.AutoKey")
    found = verify_counts(source=pair.source, dest=pair.dest, labels=["testapp.AutoKey"])
    assert found.exit_code == 0
    if connections[pair.dest].vendor != "postgresql":  # elsewhere a counter cannot lag behind
        return
    execute(pair.dest, "SELECT setval(pg_get_serial_sequence('testapp_autokey', 'id'), 899)")
    found = verify_counts(source=pair.source, dest=pair.dest, labels=["testapp.AutoKey"])
    assert found.exit_code == 3
    assert [str(late) for late in found.verification.late_sequences] == [
        "testapp_autokey.id: the next key would be 900, and 900 is taken"
    ]


def execute(alias: str, *statements: str) -> None:
    with connections[alias].cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@pytest.fixture
def to_postgresql(databases: FreshDatabases) -> Pair:
    databases.fresh(*TO_POSTGRESQL)
    insert_rows(AutoKey, TO_POSTGRESQL.source, labelled(1, 2, 900))
    return TO_POSTGRESQL


@pytest.mark.postgresql
def test_a_table_that_was_full_before_starts_anew(to_postgresql: Pair) -> None:
    insert_rows(AutoKey, to_postgresql.dest, labelled(5000))
    execute(to_postgresql.dest, "SELECT setval(pg_get_serial_sequence('testapp_autokey', 'id'), 5000)")
    move(to_postgresql, "testapp.AutoKey", replace=to_postgresql.dest)
    assert new_key(AutoKey, to_postgresql.dest, label="new") == 901


@pytest.mark.postgresql
@pytest.mark.parametrize(
    "statements",
    [
        pytest.param(
            (
                "ALTER TABLE testapp_autokey ALTER COLUMN id DROP IDENTITY",
                "CREATE SEQUENCE \"an 'odd' one; é\"",
                "ALTER TABLE testapp_autokey ALTER COLUMN id SET DEFAULT nextval('\"an ''odd'' one; é\"')",
            ),
            id="a sequence that nobody owns",
        ),
        pytest.param(
            (
                "ALTER TABLE testapp_autokey ALTER COLUMN id DROP IDENTITY",
                "CREATE SEQUENCE plain OWNED BY testapp_autokey.id",
                "ALTER TABLE testapp_autokey ALTER COLUMN id SET DEFAULT nextval('plain')",
            ),
            id="a serial column",
        ),
        pytest.param(
            ("ALTER TABLE testapp_autokey ALTER COLUMN id SET GENERATED ALWAYS",), id="an identity that is always given"
        ),
        pytest.param(
            ("ALTER TABLE testapp_autokey ALTER COLUMN id SET INCREMENT BY 1 SET CACHE 20",), id="a cached sequence"
        ),
    ],
)
def test_sets_every_kind_of_sequence(to_postgresql: Pair, statements: tuple[str, ...]) -> None:
    execute(to_postgresql.dest, *statements)
    move(to_postgresql, "testapp.AutoKey")
    execute(to_postgresql.dest, "INSERT INTO testapp_autokey (label) VALUES ('new')")
    assert QuerySet(AutoKey, using=to_postgresql.dest).get(label="new").pk == 901


@pytest.mark.postgresql
def test_a_sequence_in_steps_gives_a_free_key(to_postgresql: Pair) -> None:
    execute(to_postgresql.dest, "ALTER TABLE testapp_autokey ALTER COLUMN id SET INCREMENT BY 10")
    move(to_postgresql, "testapp.AutoKey")
    assert new_key(AutoKey, to_postgresql.dest, label="new") == 910


@pytest.mark.postgresql
def test_a_key_without_a_sequence_is_told_and_stops_nothing(to_postgresql: Pair) -> None:
    execute(to_postgresql.dest, "ALTER TABLE testapp_autokey ALTER COLUMN id DROP IDENTITY")
    outcome = batch_migrate(source=to_postgresql.source, dest=to_postgresql.dest, labels=["testapp.AutoKey"])
    assert outcome.row_counts["testapp_autokey"].rows_written == 3
    assert outcome.verification is not None
    assert [str(late) for late in outcome.verification.late_sequences] == [
        "testapp_autokey.id: no sequence belongs to the column"
    ]
    assert outcome.exit_code == 3


@pytest.mark.postgresql
def test_a_full_sequence_of_small_keys_is_no_error(to_postgresql: Pair) -> None:
    insert_rows(SmallAutoKey, to_postgresql.source, labelled(1, 32767))
    move(to_postgresql, "testapp.SmallAutoKey")


@pytest.mark.parametrize("pair", THREE_PAIRS, ids=str, indirect=True)
def test_the_application_goes_on_with_its_constraints(pair: Pair) -> None:
    row = {"code": "a", "serial": 1, "low": 1, "high": 1, "mail": "a@example.org"}
    insert_rows(Constrained, pair.source, [{"id": 12, **row}])
    move(pair, "testapp.Constrained")
    key = new_key(Constrained, pair.dest, **row | {"serial": 2, "code": "b", "mail": "b@example.org"})
    assert key == 13
    assert models.QuerySet(Constrained, using=pair.dest).count() == 2
