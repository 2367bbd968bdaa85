"""What a constraint of the destination refuses is found before the first write, with both rows of each pair."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.db import connections, models
from django.db.models import F, Q
from django.db.models.functions import Lower

from migrator.databases.planning import exclusion_constraints, unique_constraints
from tests.databases.snapshots import insert_rows
from tests.manage import Finished
from tests.management.running import execute, nothing_changes, run
from tests.scenarios.faults.oracle import assert_ended
from tests.scenarios.test_few_queries import Statements
from tests.servers.databases import Pair, is_mysql

FROM_MYSQL = [Pair("mysql_a", "postgresql_b"), Pair("mysql_a", "sqlite_b")]
TO_POSTGRESQL = [Pair("sqlite_a", "postgresql_b"), Pair("mysql_a", "postgresql_b")]
TABLE = "testapp_account"


@pytest.fixture
def account() -> Iterator[Any]:
    """Give a model with a constraint of each kind, some of which each engine leaves out."""

    class Account(models.Model):
        nick = models.CharField(max_length=40)
        email = models.CharField(max_length=40)
        tenant = models.IntegerField()
        is_active = models.BooleanField()
        slot = models.IntegerField(null=True)
        rank = models.IntegerField()
        low = models.IntegerField()
        high = models.IntegerField()
        code = models.CharField(max_length=20, unique=True)

        class Meta:
            app_label = "testapp"
            db_table = TABLE
            constraints = (
                models.UniqueConstraint(fields=["email", "tenant"], condition=Q(is_active=True), name="one_active"),
                models.UniqueConstraint(Lower("nick"), name="nick_ci"),
                models.UniqueConstraint(fields=["slot", "tenant"], nulls_distinct=False, name="one_slot"),
                models.UniqueConstraint(fields=["rank"], deferrable=models.Deferrable.DEFERRED, name="one_rank"),
                models.CheckConstraint(condition=Q(low__lte=F("high")), name="low_high"),
            )

    yield Account
    del apps.all_models["testapp"]["account"]
    apps.clear_cache()


def make_tables(pair: Pair, model: Any) -> None:
    for alias in pair:
        with connections[alias].schema_editor() as editor:
            editor.create_model(model)


def row(number: int, **values: Any) -> dict[str, Any]:
    usual = {"nick": f"n{number}", "email": f"e{number}", "tenant": number, "is_active": True, "slot": number}
    return {"id": number, **usual, "rank": number, "low": 1, "high": 2, "code": f"c{number}"} | values


def move(pair: Pair, model: Any, *more: str) -> Finished:
    ends = ("--source", pair.source, "--dest", pair.dest)
    return run("batch_migrate", *ends, "--no-input", *more, model._meta.label)


def assert_found_before(pair: Pair, model: Any, file: Path, *parts: str, rejected: tuple[int, ...]) -> None:
    """Assert that rows are refused before the first write, and that these are what a run sets aside."""
    with nothing_changes(*pair):
        assert_ended(move(pair, model, "--dry-run"), 1, "Nothing was written.", *parts)
        planned = move(pair, model, "--dry-run", "--on-error", "skip", "--rejects", str(file))
    assert_ended(planned, 0)
    for part in parts:
        assert ("To be rejected: " * part.startswith("testapp.")) + part in planned.out
    assert_ended(move(pair, model, "--on-error", "skip", "--rejects", str(file)), 4)
    assert [json.loads(line)["pk"] for line in file.read_text().splitlines()] == list(map(str, rejected))


ONCE = "1 row has the same values as another, which {} of '{}' allows only once (for example primary key 9 repeats 3)"
UNIQUE: dict[str, tuple[list[Pair], str, dict[str, Any], dict[str, Any], str]] = {
    "conditional": (FROM_MYSQL, "email, tenant", {}, {"email": "e3", "tenant": 3}, "one_active"),
    "expression": (FROM_MYSQL[:1], "nick", {"nick": "Ünit"}, {"nick": "üNIT"}, "nick_ci"),
    "nulls": (TO_POSTGRESQL, "slot, tenant", {"slot": None}, {"slot": None, "tenant": 3}, "one_slot"),
    "deferrable": (TO_POSTGRESQL, "rank", {}, {"rank": 3}, "one_rank"),
}


@pytest.mark.parametrize(
    ("pair", "kind"),
    [(pair, kind) for kind, (pairs, *_) in UNIQUE.items() for pair in pairs],
    ids=str,
    indirect=["pair"],
)
def test_a_unique_constraint_that_the_source_lacks_is_asked_about(
    pair: Pair, kind: str, account: Any, tmp_path: Path
) -> None:
    make_tables(pair, account)
    _, fields, first, second, name = UNIQUE[kind]
    if kind == "expression" and is_mysql(pair.source):  # of these engines, it alone does not lack such an index
        execute(pair.source, f"DROP INDEX {name} ON {TABLE}")
    # The others only look like a pair: another case, a space at the end, NULL, another condition.
    others = [row(1, email="E3"), row(2, email="e3 ", tenant=3), row(4, email="e3", tenant=3, is_active=False), row(5)]
    insert_rows(account, pair.source, [*others, row(3, **first), row(9, **second)])
    said = f"testapp.Account.{fields}: {ONCE.format(name, pair.dest)}"
    assert_found_before(pair, account, tmp_path / "rejects", said, rejected=(9,))


def loosen(alias: str) -> None:
    """Take the unique key of ``code`` and the check off a table, as somebody may have done or a tool forgotten."""
    connection = connections[alias]
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("SELECT sql FROM sqlite_master WHERE name = %s", [TABLE])
            kept = cursor.fetchone()[0].replace(" UNIQUE", "").replace('"low" <= ("high")', "1")
            assert '"low" <=' not in kept
            cursor.execute(f"DROP TABLE {TABLE}")
            cursor.execute(kept)
            return
        found = connection.introspection.get_constraints(cursor, TABLE)
        (key,) = (name for name, one in found.items() if one["unique"] and one["columns"] == ["code"])
        what = f"INDEX {key}" if connection.vendor == "mysql" else f'CONSTRAINT "{key}"'
        cursor.execute(f"ALTER TABLE {TABLE} DROP {what}")
        cursor.execute(f"ALTER TABLE {TABLE} DROP CONSTRAINT low_high")


LOST = [Pair("sqlite_a", "postgresql_b"), Pair("postgresql_a", "mysql_b"), Pair("mysql_a", "sqlite_b")]


@pytest.mark.parametrize("pair", LOST, ids=str, indirect=True)
def test_a_key_and_a_check_that_the_source_has_lost_are_asked_about(pair: Pair, account: Any, tmp_path: Path) -> None:
    make_tables(pair, account)
    loosen(pair.source)
    insert_rows(account, pair.source, [row(3), row(4), row(7, low=3, high=2), row(9, code="c3")])
    assert_found_before(
        pair,
        account,
        tmp_path / "rejects",
        "testapp.Account.code: 1 row has the same values as another, which ",
        " allows only once (for example primary key 9 repeats 3)",
        f"testapp.Account.low, high: 1 row violates the check constraint low_high of '{pair.dest}' "
        "(for example primary key 7)",
        rejected=(7, 9),
    )


@pytest.mark.sqlite
def test_a_check_that_was_switched_off_while_rows_were_written_is_asked_about(
    account: Any, databases: Any, tmp_path: Path
) -> None:
    """Also where only the destination's own catalogue knows of it, as far as it means the same to both."""
    pair = Pair("sqlite_a", "postgresql_b")
    databases.fresh(*pair)
    make_tables(pair, account)
    execute(
        pair.dest,
        f"ALTER TABLE {TABLE} ADD CONSTRAINT known CHECK (code IN ('c3', 'c7', 'c8') AND rank > -1)",
        f"CREATE UNIQUE INDEX their_own ON {TABLE} (high, slot)",
    )
    execute(pair.source, "PRAGMA ignore_check_constraints = ON")
    with connections[pair.source].cursor() as cursor:
        cursor.execute("PRAGMA ignore_check_constraints = ON")
        insert_rows(account, pair.source, [row(3), row(7, low=3), row(8, slot=3), row(9)])
    assert_found_before(
        pair,
        account,
        tmp_path / "rejects",
        "testapp.Account.low, high: 1 row violates the check constraint low_high of 'postgresql_b' (for example",
        "testapp.Account.rank, code: 1 row violates the check constraint known of 'postgresql_b' (for example primary",
        "testapp.Account.high, slot: 1 row has the same values as another, which their_own of 'postgresql_b' allows "
        "only once (for example primary key 8 repeats 3)",
        rejected=(7, 8, 9),
    )


@pytest.mark.parametrize("pair", TO_POSTGRESQL, ids=str, indirect=True)
def test_what_cannot_be_asked_of_either_is_noted_and_found_by_its_chunk(
    pair: Pair, account: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tables(pair, account)
    execute(
        pair.dest,
        f"ALTER TABLE {TABLE} ADD CONSTRAINT shape CHECK ({TABLE}.* IS NOT NULL AND code < 'd')",
        f"CREATE UNIQUE INDEX their_own ON {TABLE} (md5(nick))",
    )
    monkeypatch.setattr(unique_constraints, "can_be_tried", lambda *_: False)
    insert_rows(account, pair.source, [row(3), row(4, code="d4")])
    planned = move(pair, account, "--dry-run")
    assert_ended(planned, 0)
    can_not = f"of '{pair.dest}'. Each row is checked while it is loaded."
    assert (
        f"Note: testapp.Account: rows can't be checked in '{pair.source}' against the check constraint shape {can_not}"
        in planned.out
    )
    assert (
        f"Note: testapp.Account: rows can't be checked in '{pair.source}' against the unique index their_own {can_not}"
        in planned.out
    )
    assert_ended(move(pair, account), 1, "testapp.Account with primary key 4", "shape")


@pytest.mark.parametrize(
    "pair", [Pair("postgresql_a", "postgresql_b"), Pair("sqlite_a", "sqlite_b")], ids=str, indirect=True
)
def test_what_the_source_enforces_itself_is_not_asked_about(pair: Pair, account: Any) -> None:
    """Neither costs time nor stops rows that are right: no row has an equal one, whatever it looks like."""
    make_tables(pair, account)
    alike = row(4, email="e3", tenant=3, is_active=False)
    insert_rows(account, pair.source, [row(3, nick="n"), {**alike, "nick": "n "}, row(5, slot=None), row(6, nick="m")])
    with Statements(pair.source) as statements:
        assert_ended(move(pair, account, "--dry-run"), 0)
    grouped = [text for text in statements.texts if "GROUP BY" in text or "WHERE NOT (" in text]
    assert (grouped == []) is (pair.engines[0] == "postgresql")


@pytest.mark.postgresql
def test_of_a_pair_the_row_with_the_smaller_key_stays(account: Any, databases: Any, tmp_path: Path) -> None:
    """Not the one that comes first as a text."""
    pair = Pair("postgresql_a", "postgresql_b")
    databases.fresh(*pair)
    make_tables(pair, account)
    loosen(pair.source)
    insert_rows(account, pair.source, [row(9), row(10, code="c9")])
    assert_found_before(pair, account, tmp_path / "rejects", "(for example primary key 10 repeats 9)", rejected=(10,))


TO_DOMAINS = [Pair("postgresql_a", "postgresql_b"), *TO_POSTGRESQL]


@pytest.mark.parametrize("pair", TO_DOMAINS, ids=str, indirect=True)
def test_checks_of_domains_are_asked_about(pair: Pair, account: Any, tmp_path: Path) -> None:
    """Of the domain of a column, and of the one below it; what fits, or is NULL, is no obstacle."""
    make_tables(pair, account)
    execute(
        pair.dest,
        "CREATE DOMAIN counted AS integer CONSTRAINT above CHECK (VALUE > 0)",
        "CREATE DOMAIN few AS counted CONSTRAINT below CHECK (VALUE < 100 OR VALUE = 1000)",
        "CREATE DOMAIN known AS varchar(20) CHECK (VALUE <> 'c8' AND VALUE <> 'VALUE')",
        f"ALTER TABLE {TABLE} ALTER slot TYPE few, ALTER code TYPE known",
    )
    slots = {3: 99, 4: 1000, 5: 0, 6: 100, 7: None}
    own = [row(8), row(9, code="VALUE"), row(10, code="of VALUE")]
    insert_rows(account, pair.source, [*(row(number, slot=slot) for number, slot in slots.items()), *own])
    breaks = f"1 row violates the check constraint {{}} of '{pair.dest}' (for example primary key {{}})"
    assert_found_before(
        pair,
        account,
        tmp_path / "rejects",
        f"testapp.Account.slot: {breaks.format('above', 5)}",
        f"testapp.Account.slot: {breaks.format('below', 6)}",
        f"testapp.Account.code: 2 rows violate the check constraint known_check of '{pair.dest}' (for example primary "
        "key 8, 9)",
        rejected=(5, 6, 8, 9),
    )


# -- exclusion constraints --------------------------------------------------------------------------------------------

EXCLUDES = f"""
ALTER TABLE {TABLE} ADD CONSTRAINT no_overlap EXCLUDE USING gist
(tenant WITH =, int4range(low, high, '[]') WITH &&) WHERE (is_active)
"""
# Both sides need the operator class for "tenant": the source to be asked, too, if it is to hold the same itself.
OF_NUMBERS = "CREATE EXTENSION btree_gist"
# Row 5 meets 3 and 4, which do not meet. What only looks like a pair: another tenant, a condition that is not met, NULL
# in a part, a range that ends where another begins.
MEETING = [
    row(1, tenant=1, low=1, high=9),
    row(2, tenant=3, low=1, high=99, is_active=False),
    row(3, tenant=3, low=1, high=4),
    row(4, tenant=3, low=7, high=9),
    row(5, tenant=3, low=4, high=7),
    row(6, tenant=3, low=10, high=20),
    row(7, tenant=3, low=5, high=6),
    row(8, tenant=3, low=30, high=31),
    row(9, tenant=3, low=18, high=19),
]


@pytest.fixture
def excluding(databases: Any) -> Iterator[Pair]:
    """Give two databases with the operators for an exclusion constraint of several columns."""
    pair = Pair("postgresql_a", "postgresql_b")
    databases.fresh(*pair)
    for alias in pair:
        execute(alias, OF_NUMBERS)
    yield pair
    for alias in pair:
        execute(alias, "DROP EXTENSION IF EXISTS btree_gist CASCADE")


@pytest.mark.postgresql
def test_rows_that_an_exclusion_constraint_keeps_apart_are_asked_about(
    excluding: Pair, account: Any, tmp_path: Path
) -> None:
    make_tables(excluding, account)
    places = "EXCLUDE USING gist (box(point(slot, 0), point(slot, 1)) WITH &&)"
    execute(excluding.dest, EXCLUDES, f"ALTER TABLE {TABLE} ADD CONSTRAINT places {places}")
    insert_rows(account, excluding.source, [*MEETING, row(11, slot=8)])
    assert_found_before(
        excluding,
        account,
        tmp_path / "rejects",
        "testapp.Account.tenant, low, high: 2 rows conflict with another under the exclusion constraint no_overlap of "
        "'postgresql_b' (for example primary key 5 conflicts with 3, 9 conflicts with 6)",
        "testapp.Account.slot: 1 row conflicts with another under the exclusion constraint places of 'postgresql_b' "
        "(for example primary key 11 conflicts with 8)",
        rejected=(5, 9, 11),
    )


@pytest.mark.postgresql
def test_an_exclusion_constraint_that_the_source_has_as_well_is_not_asked_about(excluding: Pair, account: Any) -> None:
    make_tables(excluding, account)
    for alias in excluding:
        execute(alias, EXCLUDES)
    insert_rows(account, excluding.source, [one for one in MEETING if one["id"] not in (5, 9)])
    with Statements(excluding.source) as statements:
        assert_ended(move(excluding, account), 0)
    assert [text for text in statements.texts if "&&" in text] == []


@pytest.mark.postgresql
def test_ranges_that_only_touch_are_not_compared(
    account: Any, databases: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many follow one another; where more pairs are left than are compared, the plan notes it."""
    pair = Pair("postgresql_a", "postgresql_b")
    databases.fresh(*pair)
    make_tables(pair, account)
    apart = f"ALTER TABLE {TABLE} ADD CONSTRAINT apart EXCLUDE USING gist (numrange(low, high, '{{}}') WITH &&)"
    insert_rows(account, pair.source, [row(3, low=1, high=5), row(4, low=5, high=9), row(5, low=9, high=12)])
    can_not = "rows can't be checked in 'postgresql_a' against the exclusion constraint apart of 'postgresql_b'"
    execute(pair.dest, apart.format("[)"))
    with monkeypatch.context() as patch:
        patch.setattr(exclusion_constraints, "MOST_COMPARISONS", 0)
        open_ends = move(pair, account, "--dry-run")
        execute(pair.dest, f"ALTER TABLE {TABLE} DROP CONSTRAINT apart", apart.format("[]"))
        closed_ends = move(pair, account, "--dry-run")
    assert (open_ends.code, can_not in open_ends.out) == (0, False), open_ends.err
    assert (closed_ends.code, can_not in closed_ends.out) == (0, True), closed_ends.err
    assert_found_before(
        pair, account, tmp_path / "rejects", "(for example primary key 4 conflicts with 3)", rejected=(4,)
    )


@pytest.mark.parametrize("pair", TO_POSTGRESQL[:1], ids=str, indirect=True)
def test_an_exclusion_constraint_over_too_many_rows_of_another_engine_is_left_to_the_chunk(
    pair: Pair, account: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_tables(pair, account)
    execute(pair.dest, f"ALTER TABLE {TABLE} ADD CONSTRAINT apart EXCLUDE USING gist (int4range(low, high) WITH &&)")
    can_not = "rows can't be checked in 'sqlite_a' against the exclusion constraint apart of 'postgresql_b'"
    empty = move(pair, account, "--dry-run")
    assert_ended(empty, 0)
    assert can_not not in empty.out
    insert_rows(account, pair.source, [row(3, low=1, high=5), row(4, low=5, high=6), row(9, low=4, high=5)])
    assert_ended(move(pair, account, "--dry-run"), 1, "(for example primary key 9 conflicts with 3)")
    monkeypatch.setattr(exclusion_constraints, "MOST_TRIED", 2)
    planned = move(pair, account, "--dry-run")
    assert_ended(planned, 0)
    assert f"Note: testapp.Account: {can_not}. Each row is checked while it is loaded." in planned.out
    assert_ended(
        move(pair, account),
        1,
        "testapp.Account with primary key 9, field low, high: conflicting key value violates exclusion constraint "
        '"apart"; the row with primary key 3 conflicts with it [23P01]',
    )


# -- collations of SQLite ---------------------------------------------------------------------------------------------

TO_SQLITE = [Pair("postgresql_a", "sqlite_b"), Pair("mysql_a", "sqlite_b"), Pair("sqlite_a", "sqlite_b")]


@pytest.mark.parametrize("pair", TO_SQLITE, ids=str, indirect=True)
def test_unique_texts_that_an_index_of_sqlite_takes_for_equal_are_asked_about(
    pair: Pair, account: Any, tmp_path: Path
) -> None:
    """Those that differ in ASCII letters, or with RTRIM in spaces at the end, and no others."""
    make_tables(pair, account)
    execute(
        pair.dest,
        f"CREATE UNIQUE INDEX any_case ON {TABLE} (email COLLATE NOCASE)",
        f"CREATE UNIQUE INDEX any_end ON {TABLE} (code COLLATE RTRIM)",
    )
    alike = [
        row(1, email="é"),
        row(2, email="É"),
        row(5, email="e3 "),
        row(6, code="C4"),
        row(7, code="e"),
        row(8, code="é"),
    ]
    if pair.engines[0] == "mysql":  # whose own key takes these for equal
        alike, spaces = [one for one in alike if one["id"] not in (6, 8)], {}
    else:
        spaces = {"code": "c4  "}
    insert_rows(account, pair.source, [*alike, row(3), row(4), row(9, email="E3"), row(10, **spaces)])
    once = ONCE.format("any_case", pair.dest)
    said = [f"testapp.Account.email: {once}"]
    if spaces:
        said.append(
            "testapp.Account.code: 1 row: unique texts differ only in case or in spaces at the end, which the "
            "destination's collation ignores (for example primary key 10 repeats 4). Give the field a db_collation "
            "that distinguishes them, or change the texts."
        )
    assert_found_before(pair, account, tmp_path / "rejects", *said, rejected=(9, 10) if spaces else (9,))


@pytest.mark.sqlite
def test_texts_that_the_same_index_of_the_source_keeps_apart_are_not_asked_about(account: Any, databases: Any) -> None:
    pair = Pair("sqlite_a", "sqlite_b")
    databases.fresh(*pair)
    make_tables(pair, account)
    for alias in pair:
        execute(alias, f"CREATE UNIQUE INDEX any_case ON {TABLE} (email COLLATE NOCASE)")
    insert_rows(account, pair.source, [row(3), row(4)])
    with Statements(pair.source) as statements:
        assert_ended(move(pair, account), 0)
    assert [text for text in statements.texts if "LOWER" in text and "email" in text and "GROUP BY" in text] == []
