"""What engines understand otherwise is tried in the destination: right rows are not refused, and no others found late.

The truth is the destination's own: each row is inserted there by itself, after those before it, and taken out again.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.db import Error, connections, models, transaction
from django.db.models import F, Q
from django.db.models.functions import Left, Lower, NullIf, Upper
from django.db.models.query import QuerySet

from migrator.databases.planning import destination_trials
from tests.databases.snapshots import insert_rows
from tests.management.running import execute, nothing_changes, run
from tests.scenarios.faults.oracle import assert_ended
from tests.scenarios.faults.test_constraints import ONCE, move
from tests.servers.databases import Pair, is_mysql

BETWEEN_ENGINES = [
    Pair("sqlite_a", "postgresql_b"),
    Pair("postgresql_a", "sqlite_b"),
    Pair("mysql_a", "postgresql_b"),
    Pair("postgresql_a", "mysql_b"),
]
TABLE = "testapp_word"


@pytest.fixture
def word() -> Iterator[Any]:
    """Give a model whose constraints mean something else to each engine."""

    class Word(models.Model):
        code = models.CharField(max_length=40)
        name = models.CharField(max_length=40)
        title = models.CharField(max_length=40)
        place = models.CharField(max_length=40)
        shape = models.CharField(max_length=40)
        nick = models.CharField(max_length=40)
        half = models.IntegerField()
        net = models.DecimalField(max_digits=9, decimal_places=2)
        tax = models.DecimalField(max_digits=9, decimal_places=2)
        total = models.DecimalField(max_digits=9, decimal_places=2)

        class Meta:
            app_label = "testapp"
            db_table = TABLE
            constraints = (
                models.CheckConstraint(condition=~Q(code__startswith="x"), name="word_code"),
                models.CheckConstraint(condition=Q(name=Lower("name")), name="word_name"),
                models.CheckConstraint(condition=Q(title__startswith=Upper(Left("title", 1))), name="word_t"),
                models.CheckConstraint(condition=Q(place__lt="b"), name="word_place"),
                models.CheckConstraint(condition=~Q(shape__regex="^[A-Y]|z$"), name="word_shape"),
                models.CheckConstraint(condition=Q(half=F("half") / 2 * 2), name="word_half"),
                models.CheckConstraint(condition=Q(total=F("net") + F("tax")), name="word_total"),
                models.UniqueConstraint(Lower("nick"), name="word_nick"),
            )

    yield Word
    del apps.all_models["testapp"]["word"]
    apps.clear_cache()


def one(number: int, **values: Any) -> dict[str, Any]:
    usual = {"code": "a", "name": "a", "title": "A", "place": "a", "shape": "a", "nick": f"n{number}", "half": 2}
    return {"id": number, **usual, "net": Decimal(1), "tax": Decimal(1), "total": Decimal(2)} | values


# Each is right somewhere and wrong elsewhere.
ROWS = [
    one(1, code="Xa"),
    one(2, code="xa"),
    one(3, name="Ü"),
    one(4, name="N"),
    one(5, title="ünit"),
    one(6, place="B"),
    one(7, place="é"),
    one(8, shape="B"),
    one(9, shape="az\n"),
    one(10, half=5),
    one(11, net=Decimal("0.10"), tax=Decimal("0.20"), total=Decimal("0.30")),
    one(12, nick="Ü"),
    one(13, nick="ü"),
    one(14, nick="A"),
    one(15, nick="a"),
]


def make_tables(pair: Pair, model: Any) -> None:
    """Create the table in both databases, in the source without a constraint."""
    with connections[pair.dest].schema_editor() as editor:
        editor.create_model(model)
    model._meta.constraints, constraints = [], model._meta.constraints
    try:
        with connections[pair.source].schema_editor() as editor:
            editor.create_model(model)
    finally:
        model._meta.constraints = constraints


def refused_there(alias: str, model: Any, rows: list[dict[str, Any]]) -> list[int]:
    refused = []
    with transaction.atomic(using=alias):
        for values in rows:
            try:
                with transaction.atomic(using=alias):
                    QuerySet(model, using=alias).bulk_create([model(**values)])
            except Error:
                refused.append(values["id"])
        transaction.set_rollback(True, using=alias)
    return refused


@pytest.mark.parametrize("pair", BETWEEN_ENGINES, ids=str, indirect=True)
def test_what_engines_understand_otherwise_is_as_the_destination_says(pair: Pair, word: Any, tmp_path: Path) -> None:
    make_tables(pair, word)
    insert_rows(word, pair.source, ROWS)
    wrong = refused_there(pair.dest, word, ROWS)
    assert 0 < len(wrong) < len(ROWS)
    rejects = tmp_path / "rejects"
    with nothing_changes(*pair):
        assert_ended(move(pair, word, "--dry-run"), 1, "Nothing was written.")
        planned = move(pair, word, "--dry-run", "--on-error", "skip", "--rejects", str(rejects))
    assert f", including rows that refer to rejected ones: testapp.Word {len(wrong)}\n" in planned.out
    assert "can't be asked" not in planned.out
    assert_ended(move(pair, word, "--on-error", "skip", "--rejects", str(rejects)), 4)
    assert [json.loads(line)["pk"] for line in rejects.read_text().splitlines()] == list(map(str, wrong))
    with connections[pair.source].cursor() as cursor:
        cursor.execute(f"DELETE FROM {TABLE} WHERE id IN ({', '.join(map(str, wrong))})")
    assert_ended(move(pair, word, "--replace", pair.dest), 0)


@pytest.mark.parametrize("pair", BETWEEN_ENGINES[:1], ids=str, indirect=True)
def test_only_so_many_rows_are_tried_and_the_plan_says_so(
    pair: Pair, word: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tables(pair, word)
    insert_rows(word, pair.source, [one(1), one(2), one(3, name="Ü")])
    monkeypatch.setattr(destination_trials, "MOST_TRIED", 2)
    planned = move(pair, word, "--dry-run")
    assert_ended(planned, 0)
    assert (
        "Note: testapp.Word: rows after the first 2 can't be checked in 'sqlite_a' against the check constraint "
        "word_name of 'postgresql_b'. Each row is checked while it is loaded." in planned.out
    )
    assert_ended(move(pair, word), 1, "testapp.Word with primary key 3", "word_name")


TO_POSTGRESQL, TO_MYSQL = Pair("sqlite_a", "postgresql_b"), Pair("postgresql_a", "mysql_b")
WITHIN = Pair("postgresql_a", "postgresql_b")
PARTITIONED = (
    f"DROP TABLE {TABLE}",
    f"CREATE TABLE {TABLE} (id bigint, code text, nick text, half integer) PARTITION BY LIST (code)",
    f"CREATE TABLE word_a PARTITION OF {TABLE} FOR VALUES IN ('a') PARTITION BY RANGE (half)",
    "CREATE TABLE word_a_few PARTITION OF word_a FOR VALUES FROM (0) TO (10)",
)
HASHED = (
    f"DROP TABLE {TABLE}",
    f"CREATE TABLE {TABLE} (id bigint, code text, nick text, half integer) PARTITION BY HASH (half)",
    f"CREATE TABLE word_a PARTITION OF {TABLE} FOR VALUES WITH (MODULUS 2, REMAINDER 0)",
)
BREAKS, NOWHERE = "1 row violates the check constraint {}", "1 row has no partition in "
OWN: dict[str, tuple[Pair, tuple[str, ...], dict[str, Any], str]] = {
    "not null": (
        TO_POSTGRESQL,
        (f"ALTER TABLE {TABLE} ALTER nick SET NOT NULL",),
        {"nick": None},
        "1 row has no value",
    ),
    "not null there": (TO_MYSQL, (f"ALTER TABLE {TABLE} MODIFY nick text NOT NULL",), {"nick": None}, "1 row has no v"),
    "domain": (
        TO_POSTGRESQL,
        (
            "CREATE DOMAIN even AS integer CHECK (VALUE % 2 = 0)",
            f"ALTER TABLE {TABLE} ALTER half TYPE even",
        ),
        {"half": 7},
        BREAKS.format("even_check"),
    ),
    "levels of partitions": (TO_POSTGRESQL, PARTITIONED, {"half": 99}, NOWHERE),
    "remainders of a hash": (TO_POSTGRESQL, HASHED, {"half": 6}, NOWHERE),
    "cast": (
        TO_POSTGRESQL,
        (f"ALTER TABLE {TABLE} ADD CONSTRAINT own CHECK (code::varchar(1) = code)",),
        {"code": "ab"},
        BREAKS.format("own"),
    ),
    "function": (
        TO_POSTGRESQL,
        (f"ALTER TABLE {TABLE} ADD CONSTRAINT own CHECK (md5(code) <> md5('b'))",),
        {"code": "b"},
        BREAKS.format("own"),
    ),
    "expression": (TO_POSTGRESQL, (f"CREATE UNIQUE INDEX own ON {TABLE} (md5(nick))",), {"nick": "n1"}, "9 repeats 1"),
    "the same engine": (WITHIN, (f"CREATE UNIQUE INDEX own ON {TABLE} (md5(nick))",), {"nick": "n1"}, "9 repeats 1"),
    "prefix": (TO_MYSQL, (f"CREATE UNIQUE INDEX own ON {TABLE} (nick(2))",), {"nick": "n1b"}, "9 repeats 1"),
    "quotes": (
        TO_MYSQL,
        (f"ALTER TABLE {TABLE} ADD CONSTRAINT own CHECK (code <> 'it''s')",),
        {"code": "it's"},
        BREAKS.format("own"),
    ),
    "backslashes": (
        TO_MYSQL,
        (rf"ALTER TABLE {TABLE} ADD CONSTRAINT own CHECK (code <> 'it''s \\ %')",),
        {"code": "it's \\ %"},
        BREAKS.format("own"),
    ),
    "expression of mysql": (
        TO_MYSQL,
        (rf"CREATE UNIQUE INDEX own ON {TABLE} ((CONCAT(LEFT(nick, 9), '\'\\\\')), half)",),
        {"nick": "N1", "half": 1},
        "9 repeats 1",
    ),
    "ranges": (
        TO_POSTGRESQL,
        (f"ALTER TABLE {TABLE} ADD CONSTRAINT own EXCLUDE USING gist (int4range(half, half, '[]') WITH &&)",),
        {"half": 1},
        "9 conflicts with 1",
    ),
}


@pytest.fixture
def plain() -> Iterator[Any]:
    class Plain(models.Model):
        code = models.TextField()
        nick = models.TextField(null=True)
        half = models.IntegerField()

        class Meta:
            app_label = "testapp"
            db_table = TABLE

    yield Plain
    del apps.all_models["testapp"]["plain"]
    apps.clear_cache()


@pytest.mark.parametrize(("pair", "kind"), [(own[0], kind) for kind, own in OWN.items()], ids=str, indirect=["pair"])
def test_what_the_destination_alone_has_is_tried_there(
    pair: Pair, kind: str, plain: Any, request: pytest.FixtureRequest
) -> None:
    _, statements, values, said = OWN[kind]
    if kind == "expression of mysql" and not is_mysql(pair.dest):
        pytest.skip("MariaDB has no indexes of expressions")
    make_tables(pair, plain)
    execute(pair.dest, *statements)
    for made in ("DOMAIN even", "TABLE word_a"):
        if any(f"CREATE {made}" in text for text in statements):
            request.addfinalizer(lambda made=made: execute(pair.dest, f"DROP {made} CASCADE"))
    right = [{"id": number, "code": "a", "nick": f"n{number}", "half": half} for number, half in ((1, 1), (2, 2))]
    if kind in ("domain", "remainders of a hash"):
        right = [one for one in right if not refused_there(pair.dest, plain, [one])]
    if kind == "remainders of a hash":  # the server alone knows which rows these are
        found = [{"id": 9, "code": "a", "nick": "n9", "half": half} for half in range(20, 60)]
        values = next(one for one in found if refused_there(pair.dest, plain, [one]))
    insert_rows(plain, pair.source, [*right, {"id": 9, "code": "a", "nick": "n9", "half": 8} | values])
    with nothing_changes(pair.source):
        assert_ended(move(pair, plain, "--dry-run"), 1, "Nothing was written.", said)


@pytest.mark.parametrize(
    "statement",
    [
        f"ALTER TABLE {TABLE} ADD CONSTRAINT own CHECK (half < 9 / (half - 5))",
        f"ALTER TABLE {TABLE} PARTITION BY RANGE (id) (PARTITION few VALUES LESS THAN (9))",
    ],
    ids=["division by zero", "partition"],
)
@pytest.mark.parametrize("pair", [TO_MYSQL], ids=str, indirect=True)
def test_a_row_that_mysql_cannot_place_or_compute_is_named_and_set_aside(
    pair: Pair, plain: Any, statement: str, tmp_path: Path
) -> None:
    make_tables(pair, plain)
    execute(pair.dest, statement)
    insert_rows(plain, pair.source, [{"id": n, "code": "a", "half": half} for n, half in ((8, 6), (9, 5))])
    rejects = tmp_path / "rejects"
    assert_ended(move(pair, plain), 1, "testapp.Plain with primary key 9")
    assert_ended(move(pair, plain, "--cleanup"), 0)
    assert_ended(move(pair, plain, "--replace", pair.dest, "--on-error", "skip", "--rejects", str(rejects)), 4)
    assert [json.loads(line)["pk"] for line in rejects.read_text().splitlines()] == ["9"]


@pytest.mark.parametrize("pair", [Pair("postgresql_a", "sqlite_b"), WITHIN], ids=str, indirect=True)
def test_an_expression_that_is_null_is_equal_to_nothing(pair: Pair, plain: Any) -> None:
    """Though no column that it reads is nullable."""
    plain._meta.constraints = [models.UniqueConstraint(NullIf("code", models.Value("a")), name="own")]
    make_tables(pair, plain)
    insert_rows(plain, pair.source, [{"id": n, "code": "a", "half": 1} for n in (1, 2)])
    assert_ended(move(pair, plain), 0)


@pytest.mark.parametrize("pair", [WITHIN], ids=str, indirect=True)
def test_constraints_of_one_name_that_differ_prove_nothing(pair: Pair, plain: Any) -> None:
    make_tables(pair, plain)
    for alias, most, condition in ((pair.source, 9, "half > 1"), (pair.dest, 5, "half < 9")):
        execute(
            alias,
            f"ALTER TABLE {TABLE} ADD CONSTRAINT own CHECK (half < {most})",
            f"CREATE UNIQUE INDEX own_code ON {TABLE} (code) WHERE {condition}",
        )
    insert_rows(plain, pair.source, [{"id": n, "code": "a", "half": half} for n, half in ((1, 1), (2, 1), (3, 7))])
    once = ONCE.replace("1 row has", "2 rows have").replace(" (for example primary key 9 repeats 3)", "")
    assert_ended(move(pair, plain, "--dry-run"), 1, once.format("own_code", pair.dest), BREAKS.format("own"))


ADDED = [Pair("sqlite_a", "postgresql_b"), Pair("postgresql_a", "mysql_b"), Pair("mysql_a", "sqlite_b")]


@pytest.mark.parametrize("pair", ADDED, ids=str, indirect=True)
def test_unique_values_that_the_destinations_own_rows_have_are_found_before_rows_are_added(
    pair: Pair, plain: Any, tmp_path: Path
) -> None:
    plain._meta.constraints = [models.UniqueConstraint(fields=["half", "nick"], name="own")]
    if pair.engines[1] == "postgresql":
        plain._meta.constraints.append(models.UniqueConstraint(Lower("code"), name="own_code"))
    with connections[pair.dest].schema_editor() as editor:
        field = plain._meta.get_field("nick")
        field.__class__, field.max_length = models.CharField, 40  # which MySQL takes for an index
        editor.create_model(plain)
    with connections[pair.source].schema_editor() as editor:
        editor.create_model(plain)
    insert_rows(plain, pair.dest, [{"id": n, "code": f"Ü{n}", "nick": f"n{n}", "half": n} for n in (1, 2, 3)])
    # NULL equals nothing; 8 has another unique value of its own, and 9 that of the second row there.
    own = [(7, "a", None, 1), (8, "b", "n1", 2), (9, "c", "n2", 2), (10, "ü3", "x", 10)]
    insert_rows(plain, pair.source, [{"id": n, "code": c, "nick": nick, "half": half} for n, c, nick, half in own])
    ends = ("--source", pair.source, "--dest", pair.dest, "--no-input")
    found = "1 chosen row has values that a row of '{}' already has, which {} allows only once (for example primary key"
    said = [f"testapp.Plain.half, nick: {found.format(pair.dest, 'own')} 9 has the values of 2 there)"]
    wrong = ["9"]
    if pair.engines[1] == "postgresql":
        said.append(f"testapp.Plain.code: {found.format(pair.dest, 'own_code')} 10 has the values of 3 there)")
        wrong.append("10")
    with nothing_changes(*pair):
        assert_ended(run("batch_migrate_models", *ends, plain._meta.label, "--dry-run"), 1, *said)
    rejects = tmp_path / "rejects"
    skipping = ("--on-error", "skip", "--rejects", str(rejects))
    planned = run("batch_migrate_models", *ends, plain._meta.label, "--dry-run", *skipping)
    assert f"rejected ones: testapp.Plain {len(wrong)}\n" in planned.out
    assert_ended(run("batch_migrate_models", *ends, plain._meta.label, *skipping), 4)
    assert [json.loads(line)["pk"] for line in rejects.read_text().splitlines()] == wrong
