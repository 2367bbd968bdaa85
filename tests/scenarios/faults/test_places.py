"""Rows that no column refuses by itself: characters, sizes and partitions are asked about before the first write."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.db import connections, models

from tests.databases.snapshots import insert_rows
from tests.management.running import another_alias, entry_of, execute
from tests.scenarios.faults.oracle import assert_ended
from tests.scenarios.faults.test_constraints import assert_found_before, move
from tests.servers.databases import PAIRS, Pair
from tests.testapp.models import BooleanValue, DateTimeValue, TextValue

TABLE = "testapp_textvalue"


@contextmanager
def in_encoding(encoding: str) -> Iterator[str]:
    """Give a PostgreSQL database of another encoding, with one table."""
    entry = entry_of("postgresql_b")
    name = f"{entry['NAME']}_{encoding.lower()}"
    with connections["postgresql_b"]._nodb_cursor() as cursor:  # type: ignore[attr-defined]
        cursor.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'")
    try:
        with another_alias("narrow", **{**entry, "NAME": name}):
            with connections["narrow"].schema_editor() as editor:
                editor.create_model(TextValue)
            yield "narrow"
            connections["narrow"].close()
    finally:
        with connections["postgresql_b"]._nodb_cursor() as cursor:  # type: ignore[attr-defined]
            cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")


TEXTS = ("plain", "é and ÿ", "日本", "a €", None)
# The characters that each lacks among these: latin1 of MySQL has the euro sign, that of PostgreSQL has not.
WITHOUT = {"LATIN1": (3, 4), "LATIN9": (3,), "latin1": (3,), "ascii": (2, 3, 4)}


def insert_texts(alias: str) -> None:
    insert_rows(TextValue, alias, [{"id": n, "label": f"{n}", "value": v} for n, v in enumerate(TEXTS, start=1)])


def says(keys: tuple[int, ...], name: str) -> str:
    rows = "1 row has" if len(keys) == 1 else f"{len(keys)} rows have"
    return f"testapp.TextValue.value: {rows} a character in value that {name}, the character set of "


@pytest.mark.parametrize("source", ["sqlite_a", "postgresql_a", "mysql_a"])
@pytest.mark.postgresql
def test_characters_that_an_encoding_lacks_are_found_before(source: str, databases: Any, tmp_path: Path) -> None:
    databases.fresh(source, "postgresql_b")
    insert_texts(source)
    for encoding in ("LATIN1", "LATIN9"):
        with in_encoding(encoding) as dest:
            said, keys = says(WITHOUT[encoding], encoding), WITHOUT[encoding]
            assert_found_before(Pair(source, dest), TextValue, tmp_path / encoding, said, rejected=keys)


@pytest.mark.parametrize("pair", [PAIRS[2], PAIRS[5], PAIRS[8]], ids=str, indirect=True)
def test_characters_that_a_columns_set_lacks_are_found_before(pair: Pair, tmp_path: Path) -> None:
    insert_texts(pair.source)
    for name in ("latin1", "ascii"):
        execute(pair.dest, f"ALTER TABLE {TABLE} MODIFY value longtext CHARACTER SET {name} NULL")
        assert_found_before(pair, TextValue, tmp_path / name, says(WITHOUT[name], name), rejected=WITHOUT[name])
        execute(pair.dest, f"DELETE FROM {TABLE}")


@pytest.mark.parametrize("pair", [PAIRS[2], PAIRS[5]], ids=str, indirect=True)
def test_a_row_that_is_more_than_the_server_takes_is_found_before(pair: Pair, tmp_path: Path) -> None:
    with connections[pair.dest].cursor() as cursor:
        cursor.execute("SELECT @@max_allowed_packet")
        (most,) = cursor.fetchone()
    texts = {1: "small", 2: "x" * most}
    insert_rows(TextValue, pair.source, [{"id": n, "label": f"{n}", "value": text} for n, text in texts.items()])
    said = f"testapp.TextValue.value: 1 row has more bytes than the {most:,} that '{pair.dest}' takes at once"
    assert_found_before(pair, TextValue, tmp_path / "rejects", said, rejected=(2,))


PARTITIONED = """
    CREATE TABLE testapp_datetimevalue (
        id bigserial NOT NULL, label varchar(80) NOT NULL, value timestamptz
    ) PARTITION BY RANGE (value)
"""
YEAR = """
    CREATE TABLE of_2024 PARTITION OF testapp_datetimevalue
    FOR VALUES FROM ('2024-01-01 00:00Z') TO ('2025-01-01 00:00Z')
"""


@pytest.mark.parametrize("pair", [PAIRS[1], PAIRS[4], PAIRS[7]], ids=str, indirect=True)
def test_rows_without_a_partition_are_found_before(pair: Pair, tmp_path: Path) -> None:
    execute(pair.dest, "DROP TABLE testapp_datetimevalue", PARTITIONED, YEAR)
    first = datetime(2024, 1, 1, tzinfo=UTC)
    moments = (first, first + timedelta(days=366, microseconds=-1), first + timedelta(days=366), None)
    rows = [{"id": n, "label": f"{n}", "value": moment} for n, moment in enumerate(moments, start=1)]
    insert_rows(DateTimeValue, pair.source, rows)
    said = f"testapp.DateTimeValue.value: 2 rows have no partition in '{pair.dest}' (for example primary key 3, 4)"
    assert_found_before(pair, DateTimeValue, tmp_path / "rejects", said, rejected=(3, 4))


@pytest.mark.parametrize("pair", [PAIRS[6], PAIRS[7]], ids=str, indirect=True)
def test_a_boolean_of_bits_is_one_finding_on_its_column(pair: Pair) -> None:
    insert_rows(BooleanValue, pair.source, [{"id": 1, "label": "1", "value": True}])
    execute(pair.source, "ALTER TABLE testapp_booleanvalue MODIFY value bit(1) NULL")
    said = (
        "testapp.BooleanValue.value: 'mysql_a' stores this boolean as bit(1), which Django reads as bytes. Change the"
    )
    assert_ended(move(pair, BooleanValue, "--dry-run"), 1, "1 problem stops", said, "--exclude testapp.BooleanValue")


class Outline(models.TextField):  # type: ignore[type-arg]
    """Stands for a field of GeoDjango, whose libraries need not be there."""

    geom_type = "POLYGON"


@pytest.fixture
def plot() -> Iterator[Any]:
    """Give a model with a column of geometry."""

    class Plot(models.Model):
        outline = Outline()

        class Meta:
            app_label = "testapp"

    yield Plot
    del apps.all_models["testapp"]["plot"]
    apps.clear_cache()


@pytest.mark.parametrize("pair", [PAIRS[1], PAIRS[0]], ids=str, indirect=True)
def test_geometry_is_refused_between_engines_and_moved_within_one(pair: Pair, plot: Any) -> None:
    for alias in pair:
        with connections[alias].schema_editor() as editor:
            editor.create_model(plot)
    insert_rows(plot, pair.source, [{"id": 1, "outline": "POLYGON EMPTY"}])
    finished = move(pair, plot)
    if pair.engines[0] == pair.engines[1]:
        assert_ended(finished, 0)
    else:
        assert_ended(finished, 1, "Nothing was written.", "testapp.Plot.outline: ", "--exclude testapp.Plot")


SETS = {1: "a,b", 2: "b", 3: "", 4: None, 5: "b,a", 6: "a,a", 7: "A", 8: "a,c", 9: "a,", 10: "a, b", 11: "c"}


@pytest.mark.parametrize("pair", [PAIRS[2], PAIRS[5], PAIRS[8]], ids=str, indirect=True)
def test_lists_that_a_set_does_not_keep_are_found_before(pair: Pair, tmp_path: Path) -> None:
    """Others are no obstacle. MySQL itself would sort them, and drop what is there twice or unknown."""
    insert_rows(TextValue, pair.source, [{"id": n, "label": f"{n}", "value": value} for n, value in SETS.items()])
    execute(pair.dest, f"ALTER TABLE {TABLE} MODIFY value set('a','b') NULL")
    said = "testapp.TextValue.value: 7 values: not a list of values of set('a','b'), each once and in their order"
    assert_found_before(pair, TextValue, tmp_path / "rejects", said, rejected=(5, 6, 7, 8, 9, 10, 11))
    with connections[pair.dest].cursor() as cursor:
        cursor.execute(f"SELECT id, value FROM {TABLE} ORDER BY id")
        assert dict(cursor.fetchall()) == {key: SETS[key] for key in (1, 2, 3, 4)}
