"""The faster ways bring what the slow one brings: lines of text, and values that nothing was found against."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections
from django.db.models import Model, QuerySet

from migrator.databases import transfer
from migrator.databases.copy import batch_migrate
from migrator.databases.engines.sqlite.engine import SQLite
from migrator.databases.outcome import Outcome
from migrator.databases.values import Answer
from migrator.errors import MigratorError
from tests.servers.databases import FILE_PAIRS, PAIRS, Pair, engine_of
from tests.testapp import models

from .edge_values import DIRT, EDGES, LENIENT
from .snapshots import insert_rows
from .test_values import AS_STORED, LAX, execute, held_exactly, labelled

if TYPE_CHECKING:
    from tests.servers.databases import FreshDatabases

LINE_PAIRS = [*(pair for pair in PAIRS if pair.engines[1] == "postgresql"), *FILE_PAIRS]
LABELS = [model._meta.label for model in EDGES]


@pytest.fixture(params=[*PAIRS, *FILE_PAIRS], ids=str)
def any_pair(request: pytest.FixtureRequest, databases: FreshDatabases) -> Pair:
    """Run the test once per pair of engines, and ways to load rows."""
    pair: Pair = request.param
    databases.fresh(*pair)
    return pair


def take_the_slow_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every value looked at and converted."""
    for name in ("line_fields", "trusted"):
        monkeypatch.setattr(f"migrator.databases.plan.{name}", lambda *arguments: None)
    monkeypatch.setattr(SQLite, "can_read", lambda *arguments: False)


def never_carefully(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail where a chunk is copied again, with care: its rows were not right as lines."""

    def fail(route: Any, *arguments: Any) -> Any:
        raise AssertionError(f"{route.table.label} was copied again")

    monkeypatch.setattr(transfer, "copy_carefully", fail)


def move(pair: Pair, labels: list[str]) -> Outcome:
    return batch_migrate(source=pair.source, dest=pair.dest, labels=labels, replace=pair.dest)


def methods(outcome: Outcome) -> dict[str, str]:
    return {planned.table.label: planned.route.method for planned in outcome.plan.tables}


def as_stored(alias: str, model: type[Model]) -> list[Any]:
    quote = connections[alias].ops.quote_name
    return execute(
        alias, f"SELECT id, label, {AS_STORED[engine_of(alias)]} FROM {quote(model._meta.db_table)} ORDER BY id"
    )


def test_brings_what_the_slow_way_brings(any_pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every edge value of every type of field is stored the same, down to the database's own text for it."""
    for model, edges in EDGES.items():
        held = [edge for edge in edges if held_exactly(edge, *any_pair.engines)]
        insert_rows(model, any_pair.source, labelled(held))
    with monkeypatch.context() as patched:
        never_carefully(patched)
        outcome = move(any_pair, LABELS)
    if any_pair in LINE_PAIRS:
        by_rows = {label for label, method in methods(outcome).items() if method != "text"}
        assert by_rows == by_values(*any_pair.engines)
    brought = {model: as_stored(any_pair.dest, model) for model in EDGES}
    take_the_slow_way(monkeypatch)
    slow = {method.partition(";")[0] for method in methods(move(any_pair, LABELS)).values()}
    assert slow == {"rows"}
    for model in EDGES:
        assert brought[model] == as_stored(any_pair.dest, model), model


def by_values(source: str, dest: str) -> set[str]:
    """Name the models whose rows have to travel as values."""
    found: set[type[Model]] = set()
    if (source, dest) != ("postgresql", "postgresql"):
        found.add(models.MoneyValue)  # its field converts them itself
    if (source, dest) in (("mysql", "postgresql"), ("postgresql", "mysql")):
        found |= {models.IPAddressValue, models.IPv6AddressValue}  # some IPv6 addresses are written otherwise
    return {model._meta.label for model in found}


@pytest.mark.postgresql
def test_stops_where_a_trigger_drops_rows(databases: FreshDatabases) -> None:
    pair = Pair("sqlite_a", "postgresql_b")
    databases.fresh(*pair)
    insert_rows(models.IntegerValue, pair.source, [{"label": str(n), "value": n} for n in range(1, 11)])
    execute(
        pair.dest,
        "CREATE FUNCTION dropped() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "CREATE TRIGGER odd BEFORE INSERT ON testapp_integervalue FOR EACH ROW WHEN (NEW.value = 7) "
        "EXECUTE FUNCTION dropped()",
    )
    with pytest.raises(MigratorError, match=r"testapp\.IntegerValue: 10 rows were read and 9 were loaded.*trigger"):
        move(pair, ["testapp.IntegerValue"])
    assert QuerySet(models.IntegerValue, using=pair.dest).count() == 0


@pytest.mark.mysql
@pytest.mark.postgresql
def test_looks_at_every_value_where_the_source_has_no_snapshot_of_it(databases: FreshDatabases) -> None:
    pair = Pair("mysql_a", "postgresql_b")
    databases.fresh(*pair)
    execute(pair.source, "ALTER TABLE testapp_charvalue ENGINE = MyISAM")
    found = methods(move(pair, ["testapp.CharValue", "testapp.TextValue"]))
    assert found == {"testapp.CharValue": "rows", "testapp.TextValue": "text"}


# What only other programs write ---------------------------------------------------------------------------


@pytest.mark.parametrize("is_looked_at", [True, False], ids=["looked-at", "not-looked-at"])
def test_rejects_what_the_slow_way_rejects(
    any_pair: Pair, is_looked_at: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """For lines of text that holds even where nothing has looked at the values before."""
    if not is_looked_at:
        if any_pair not in LINE_PAIRS or any_pair.engines[0] == "postgresql":
            pytest.skip("these values have to be looked at before")
        monkeypatch.setattr("migrator.databases.preflight.check_values", lambda *arguments: Answer())
    # Within SQLite even what Python cannot read arrives as it is.
    monkeypatch.setattr(SQLite, "can_read", lambda *arguments: False)
    found = list(insert_all_dirt(any_pair.source))
    brought = outcome_of(any_pair, found, tmp_path / "brought")
    take_the_slow_way(monkeypatch)
    assert brought == outcome_of(any_pair, found, tmp_path / "slowly")


def insert_all_dirt(alias: str) -> Iterator[type[Model]]:
    """Insert the dirt of every model, each in a row of its own, and name the models."""
    table = connections[alias].ops.quote_name
    dirt = [*DIRT[engine_of(alias)], *(LENIENT if engine_of(alias) == "sqlite" else ())]
    execute(alias, *LAX[engine_of(alias)])
    for number, item in enumerate(dirt, start=1):
        name = table(item.model._meta.db_table)
        execute(alias, f"INSERT INTO {name} (id, label, value) VALUES ({number}, '{item.name}', {item.sql})")
        if not any(item.model is other.model for other in dirt[: number - 1]):
            yield item.model
    connections[alias].close()


def outcome_of(pair: Pair, moved: list[type[Model]], rejects: Path) -> Any:
    """Move each row as a chunk of its own, and give what is stored then, and what was said of each of the others."""
    labels = [model._meta.label for model in moved]
    batch_migrate(
        source=pair.source, dest=pair.dest, labels=labels, replace=pair.dest, chunk_size=1, on_error="skip",
        rejects=rejects,
    )  # fmt: skip
    said = rejects.read_text().splitlines() if rejects.exists() else []
    return {model: as_stored(pair.dest, model) for model in moved}, sorted(said)
