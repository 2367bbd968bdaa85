"""A row that a constraint refuses at its chunk: the fields of that constraint, the row in its way, and no value."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from django.apps import apps
from django.db import connections, models
from django.db.models import DecimalField, F, Q
from django.db.models.functions import Cast, Lower, Substr

from migrator.databases.api import Console, batch_migrate, batch_migrate_models
from migrator.databases.engines.mysql.error_redaction import without_values as of_mysql
from migrator.databases.engines.postgresql.error_redaction import without_values as of_postgresql
from migrator.databases.planning import constraints as refused
from migrator.errors import DataRejected
from tests.databases.snapshots import insert_rows
from tests.servers.databases import PAIRS, Pair

TABLE = "testapp_booking"


@pytest.fixture
def booking() -> Iterator[Any]:
    """Give a model with constraints of several fields."""

    class Booking(models.Model):
        nick = models.CharField(max_length=40)
        email = models.CharField(max_length=40)
        tenant = models.IntegerField()
        low = models.IntegerField()
        high = models.IntegerField()

        class Meta:
            app_label = "testapp"
            db_table = TABLE
            constraints = (
                models.UniqueConstraint(fields=["email", "tenant"], condition=Q(low=1), name="one_email"),
                models.UniqueConstraint(fields=["tenant", "high"], name="one_high"),
                models.UniqueConstraint(Lower("nick"), name="nick_ci"),
                models.CheckConstraint(condition=Q(low__lte=F("high")), name="low_high"),
            )

    yield Booking
    del apps.all_models["testapp"]["booking"]
    apps.clear_cache()


@pytest.fixture
def priced() -> Iterator[Any]:
    """Give a model with a column that is computed from another."""

    class Priced(models.Model):
        price = models.CharField(max_length=40)
        amount = models.GeneratedField(
            expression=Cast(Substr("price", 4), DecimalField(max_digits=9, decimal_places=2)),
            output_field=DecimalField(max_digits=9, decimal_places=2),
            db_persist=True,
        )

        class Meta:
            app_label = "testapp"

    yield Priced
    del apps.all_models["testapp"]["priced"]
    apps.clear_cache()


def row(number: int, **values: Any) -> dict[str, Any]:
    usual = {"nick": f"n{number}", "email": f"e{number}", "tenant": number, "low": 1, "high": 2}
    return {"id": number, **usual} | values


def make_tables(pair: Pair, model: Any) -> None:
    for alias in pair:
        with connections[alias].schema_editor() as editor:
            editor.create_model(model)


TAKEN: dict[str, tuple[dict[str, Any], str]] = {
    "conditional": ({"email": "e3", "tenant": 3, "high": 9}, "email, tenant"),
    "plain": ({"tenant": 3, "low": 2}, "tenant, high"),
    "expression": ({"nick": "N3"}, "nick"),
}


@pytest.mark.parametrize(
    ("pair", "kind"),
    [(pair, kind) for pair in (PAIRS[1], PAIRS[3]) for kind in TAKEN] + [(PAIRS[2], "plain")],
    ids=str,
    indirect=["pair"],
)
def test_names_the_fields_of_a_key_and_the_row_that_has_it(
    pair: Pair, kind: str, booking: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when another process has written the row that is there since it was asked about."""
    values, fields = TAKEN[kind]
    make_tables(pair, booking)
    monkeypatch.setattr(refused, "taken_trials", lambda *_: ())
    insert_rows(booking, pair.dest, [row(1), row(3)])
    insert_rows(booking, pair.source, [row(5), row(9, **values)])
    with pytest.raises(DataRejected) as caught:
        batch_migrate_models(source=pair.source, dest=pair.dest, models=["testapp.Booking"])
    said = str(caught.value).partition("\n")[0]
    assert said.startswith(f"testapp.Booking with primary key 9, field {fields}: "), said
    assert "; the row with primary key 3 already has it [" in said


@pytest.mark.parametrize("pair", [PAIRS[1], PAIRS[2], PAIRS[3]], ids=str, indirect=True)
def test_names_the_fields_of_a_check(pair: Pair, booking: Any) -> None:
    """The source refused such a row when it was asked, and then another process changed what it means."""
    make_tables(pair, booking)
    insert_rows(booking, pair.source, [row(5), row(9, high=7)])

    def alter(plan: Any) -> None:
        other = connections[pair.dest].copy()
        with closing(other), other.cursor() as cursor:
            if pair.engines[1] == "sqlite":
                cursor.execute("SELECT sql FROM sqlite_master WHERE name = %s", [TABLE])
                made = cursor.fetchone()[0].replace('"low" <= ("high")', '"low" <= 7 - "high"')
                cursor.execute(f"DROP TABLE {TABLE}")
                cursor.execute(made)
            else:
                cursor.execute(f"ALTER TABLE {TABLE} DROP CONSTRAINT low_high")
                cursor.execute(f"ALTER TABLE {TABLE} ADD CONSTRAINT low_high CHECK (high < 7)")

    with pytest.raises(DataRejected) as caught:
        batch_migrate(source=pair.source, dest=pair.dest, labels=["testapp.Booking"], console=Console(show=alter))
    assert str(caught.value).startswith("testapp.Booking with primary key 9, field low, high: "), caught.value


@pytest.mark.parametrize("pair", [PAIRS[1], PAIRS[2]], ids=str, indirect=True)
def test_names_a_computed_column_and_what_it_is_computed_from(pair: Pair, priced: Any) -> None:
    make_tables(pair, priced)
    insert_rows(priced, pair.source, [{"id": 3, "price": "EUR1.50"}, {"id": 4, "price": "secret of mine"}])
    with pytest.raises(DataRejected) as caught:
        batch_migrate(source=pair.source, dest=pair.dest, labels=["testapp.Priced"])
    said = str(caught.value).partition("\n")[0]
    assert said.startswith("testapp.Priced with primary key 4, field amount: "), said
    assert "; the database computes it from price [" in said
    assert "ret of" not in said


MESSAGES = [
    (of_postgresql, 'invalid input syntax for type numeric: "a "b" c"', "invalid input syntax for type numeric"),
    (of_postgresql, 'value "99" is out of range for type integer', "value is out of range for type integer"),
    (of_postgresql, 'time zone "mine" not recognized', "time zone not recognized"),
    (
        of_postgresql,
        'invalid byte sequence for encoding "UTF8": 0xe9 0x20',
        'invalid byte sequence for encoding "UTF8"',
    ),
    (
        of_postgresql,
        'character with byte sequence 0xf0 0x9f 0x8e 0x89 in encoding "UTF8" has no equivalent in encoding "LATIN1"',
        'character in encoding "UTF8" has no equivalent in encoding "LATIN1"',
    ),
    (of_mysql, "Duplicate entry 'it's' for key' for key 'own'", "Duplicate entry for key 'own'"),
    (
        of_mysql,
        "Incorrect string value: '\\xF0' for column `d`.`t`.`c`",
        "Incorrect string value for column `d`.`t`.`c`",
    ),
    (of_mysql, "Truncated incorrect DECIMAL value: 'mine'", "Truncated incorrect DECIMAL value"),
    (of_mysql, "Table has no partition for value 2024", "Table has no partition for the value"),
]


@pytest.mark.parametrize(("scrub", "message", "left"), MESSAGES)
def test_messages_keep_names_and_lose_values(scrub: Any, message: str, left: str) -> None:
    assert (scrub(message, "22000") if scrub is of_postgresql else scrub(message)) == left
