"""Chunks: ranges of keys of any type that hold every row once, found without skipping through rows."""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext

from migrator.databases.api import batch_migrate
from migrator.databases.chunks import Bounds, find_bounds, order_by, parts_of, where_clause
from migrator.databases.copying import load
from migrator.databases.engines.base.catalogue import TableSize
from migrator.databases.engines.base.engine import Engine
from migrator.databases.engines.registry import engine_for
from migrator.databases.journal.records import Chunk
from migrator.databases.planning import content_checks
from migrator.databases.primary_keys import decode_key, encode_key
from migrator.databases.tables import table_of
from tests.databases.snapshots import Row, differences, insert_rows, snapshot
from tests.servers.databases import PAIRS, Pair, engine_of
from tests.testapp.models import (
    AutoKey,
    BigAutoKey,
    CompositeKey,
    DateTimeKey,
    DecimalKey,
    TextKey,
    UUIDKey,
)

if TYPE_CHECKING:
    from tests.servers.databases import FreshDatabases

# Each engine once as source and once as destination.
THREE_PAIRS = [PAIRS[1], PAIRS[5], PAIRS[6]]
NOON = datetime.datetime(2001, 2, 3, 12, 0, 0, 123456, tzinfo=datetime.UTC)
WORDS = (*"aAbBzZäÄ~\\", "", " a", "a-b", "a'b", "a%s", "a_b", "é", "e\u0301", "ß", "ss", "日本", "😀", "10", "9")


def labelled(name: str, keys: Sequence[Any]) -> list[Row]:
    return [{name: key, "label": f"the row of {key}"} for key in keys]


SHAPES: dict[str, tuple[Any, list[Row]]] = {
    "dense": (AutoKey, labelled("id", range(1, 41))),
    "gaps": (AutoKey, labelled("id", [n**4 for n in range(1, 41)])),
    "huge gap": (BigAutoKey, labelled("id", [*range(20), *range(2**62, 2**62 + 20)])),
    "skewed": (BigAutoKey, labelled("id", [-(2**63), *range(35), 2**53 + 1, 2**53 + 2, 2**63 - 1])),
    "uuid": (UUIDKey, labelled("id", [uuid.uuid5(uuid.NAMESPACE_DNS, str(n)) for n in range(40)])),
    "text": (TextKey, labelled("code", [f"{word}{n}" for n in range(2) for word in WORDS])),
    "instants": (DateTimeKey, labelled("at", [NOON + datetime.timedelta(microseconds=n**3) for n in range(40)])),
    "decimals": (DecimalKey, labelled("amount", [decimal.Decimal(n**3 - 500).scaleb(-3) for n in range(40)])),
    "composite": (
        CompositeKey,
        [
            {"tenant": tenant, "number": number, "label": "x"}
            for tenant in ("", "a", "b's, \\ 1", "ü")
            for number in (-1, 0, 1, 2, 3, 4, 5, 6, 7, 2**31 - 1)
        ],
    ),
}


@contextmanager
def reading(alias: str) -> Iterator[Engine]:
    engine = engine_for(connections[alias])
    engine.open_source()
    try:
        yield engine
    finally:
        engine.close()


def insert_accepted(model: Any, alias: str, rows: list[Row], *, by: tuple[str, ...]) -> None:
    """Insert the rows whose text keys differ to these engines, of which one takes "a" and "A" for the same key."""
    if model is TextKey and "mysql" in by:
        rows = list({fold(row["code"]): row for row in rows}.values())
    insert_rows(model, alias, rows)


def fold(text: str) -> str:
    return {"ä": "a", "é": "e", "ß": "ss", "e\u0301": "e"}.get(text[:-1].lower(), text[:-1].lower()) + text[-1:]


@pytest.mark.parametrize("size", [1, 7, 39, 40, 41, 1000])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_row_is_in_exactly_one_chunk(alias: str, shape: str, size: int) -> None:
    model, rows = SHAPES[shape]
    insert_accepted(model, alias, rows, by=(engine_of(alias),))
    table = table_of(model)
    total = QuerySet(model, using=alias).count()
    with reading(alias) as engine:
        bounds = list(find_bounds(engine, table.name, table.key, total, size, None))
        names = ", ".join(engine.quote(name) for name in table.key)
        found = []
        for each in bounds:
            where, params = where_clause(engine, table.key, each, None)
            keys = engine.fetch_all(
                f"SELECT {names} FROM {engine.quote(table.name)}{where}{order_by(engine, table.key)}", params
            )
            assert 0 < len(keys) < 2 * size
            found += keys
        in_order = engine.fetch_all(f"SELECT {names} FROM {engine.quote(table.name)}{order_by(engine, table.key)}")
    assert found == in_order
    assert len(found) == total
    assert bounds[0].lower is None
    assert bounds[-1].upper is None
    assert all(before.upper == after.lower for before, after in pairwise(bounds))


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_row_is_in_exactly_one_part(alias: str, shape: str, count: int) -> None:
    model, rows = SHAPES[shape]
    insert_accepted(model, alias, rows, by=(engine_of(alias),))
    table = table_of(model)
    with reading(alias) as engine:
        found = []
        for part in (parts := parts_of(engine, table.name, table.key, count)):
            where, params = where_clause(engine, table.key, part, None)
            keys = engine.fetch_all(
                f"SELECT {', '.join(map(engine.quote, table.key))} FROM {table.name}{where}", params
            )
            found.append(set(keys))
    assert sum(map(len, found)) == len(set().union(*found)) == QuerySet(model, using=alias).count()
    assert len(parts) == (count if model in (AutoKey, BigAutoKey) else 1)
    assert shape != "dense" or [len(keys) for keys in found] == [40 // count] * count


@pytest.mark.parametrize("keys", [[], [("one",)], [(1,), ("two",)], [(None,), (2,)]], ids=str)
def test_what_has_no_middle_is_left_whole(databases: FreshDatabases, keys: list[tuple[Any]]) -> None:
    databases.fresh("sqlite_a")
    with connections["sqlite_a"].cursor() as cursor:
        cursor.execute("CREATE TABLE own (k bigint PRIMARY KEY)")
        cursor.executemany("INSERT INTO own VALUES (%s)", keys)
    with reading("sqlite_a") as engine:
        assert parts_of(engine, "own", ("k",), 2) == (Bounds(),)


HOLES = {"few": [*range(1, 21), *range(27, 47)], "many": [*range(1, 21), *range(47, 67)]}


@pytest.mark.parametrize(("holes", "is_walked"), [("few", False), ("many", True)])
def test_nearly_dense_numbers_are_cut_by_their_ends_alone(alias: str, holes: str, is_walked: bool) -> None:
    insert_rows(AutoKey, alias, labelled("id", HOLES[holes]))
    with reading(alias) as engine, CaptureQueriesContext(connections[alias]) as asked:
        bounds = list(find_bounds(engine, "testapp_autokey", ("id",), 40, 5, None))
    assert any("LIMIT 5" in query["sql"] for query in asked) == is_walked
    ranges = [((each.lower or (0,))[0], (each.upper or (99,))[0]) for each in bounds]
    in_ranges = [[n for n in HOLES[holes] if lower < n <= upper] for lower, upper in ranges]
    assert [n for numbers in in_ranges for n in numbers] == HOLES[holes]
    assert max(map(len, in_ranges)) == 5
    assert len(in_ranges) == (8 if is_walked else 10)


def test_numbers_among_other_values_are_counted(databases: FreshDatabases) -> None:
    """SQLite keeps any value in any column but the one that names the row."""
    databases.fresh("sqlite_a")
    with connections["sqlite_a"].cursor() as cursor:
        cursor.execute("CREATE TABLE own (k bigint NOT NULL PRIMARY KEY)")
        cursor.executemany("INSERT INTO own VALUES (%s)", [*((n,) for n in range(1, 20)), ("twenty",)])
    with reading("sqlite_a") as engine:
        bounds = list(find_bounds(engine, "own", ("k",), 20, 5, None))
    assert bounds == [Bounds(lower, upper) for lower, upper in pairwise([None, (5,), (10,), (15,), None])]


def test_rows_that_came_after_the_counting_are_in_the_last_chunk(alias: str) -> None:
    insert_rows(AutoKey, alias, labelled("id", range(-5, 100)))
    with reading(alias) as engine:
        bounds = list(find_bounds(engine, "testapp_autokey", ("id",), 20, 10, None))
    assert bounds == [Bounds(None, (4,)), Bounds((4,), None)]


def test_an_empty_table_is_one_open_chunk(alias: str) -> None:
    with reading(alias) as engine:
        assert list(find_bounds(engine, "testapp_autokey", ("id",), 0, 10, None)) == [Bounds(None, None)]


def test_a_table_without_a_key_is_one_chunk(alias: str) -> None:
    insert_rows(AutoKey, alias, labelled("id", range(30)))
    with reading(alias) as engine:
        assert list(find_bounds(engine, "testapp_autokey", (), 30, 10, None)) == [Bounds(None, None)]


def test_a_table_whose_key_has_no_index_is_one_chunk(alias: str) -> None:
    engine = engine_for(connections[alias])
    engine.execute("CREATE TABLE loose (id integer, other integer)")
    engine.execute(f"INSERT INTO loose (id) VALUES {', '.join(f'({n})' for n in range(1, 11))}")
    for column, chunks in (("other, id", 1), ("id, other", 4)):
        engine.execute(f"CREATE INDEX loose_{chunks} ON loose ({column})")
        with reading(alias) as source:
            assert len(list(find_bounds(source, "loose", ("id",), 10, 3, None))) == chunks
    engine.execute("DROP TABLE loose")


@pytest.mark.parametrize("pair", THREE_PAIRS, ids=str, indirect=True)
def test_a_plan_names_large_tables_whose_keys_have_no_index(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content_checks, "DEFAULT_CHUNK_SIZE", 4)
    insert_rows(AutoKey, pair.source, labelled("id", range(1, 10)))
    with connections[pair.source].cursor() as cursor:
        cursor.execute("DROP TABLE legacy_stock")
        cursor.execute("CREATE TABLE legacy_stock (code varchar(20) NOT NULL, amount integer)")
        cursor.execute("INSERT INTO legacy_stock VALUES ('a', 1), ('b', 1), ('c', 1), ('d', 1), ('e', 1)")
    labels = ["testapp.AutoKey", "testapp.Legacy"]
    plan = batch_migrate(source=pair.source, dest=pair.dest, labels=labels, dry_run=True).plan
    found = [str(finding) for finding in plan.findings if "no index" in str(finding)]
    assert len(found) == 1
    assert f"testapp.Legacy: code has no index in '{pair.source}'" in found[0]


@pytest.mark.parametrize("pair", THREE_PAIRS, ids=str, indirect=True)
def test_moves_keys_of_every_shape_without_offset(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = dict(SHAPES.values())
    for model, rows in moved.items():
        insert_accepted(model, pair.source, rows, by=pair.engines)
    said: list[str] = []
    if "mysql" in pair.engines:
        listen_to_streaming_cursors(said, monkeypatch)
    with ExitStack() as stack:
        for alias in pair:
            stack.enter_context(connections[alias].execute_wrapper(listener(said)))
        outcome = batch_migrate(
            source=pair.source, dest=pair.dest, chunk_size=3, keep_journal=True,
            labels=[model._meta.label for model in moved],
        )  # fmt: skip
    assert outcome.exit_code == 0
    assert differences(snapshot(pair.source, moved), snapshot(pair.dest, moved)) == []
    assert said
    assert not [sql for sql in said if "OFFSET" in sql.upper()]
    chunks = QuerySet(Chunk, using=pair.dest)
    assert {chunk.state for chunk in chunks} == {"done"}
    assert max(chunk.rows_read for chunk in chunks) <= 5
    assert sum(chunk.rows_read for chunk in chunks) == sum(t.rows_written for t in outcome.row_counts.values())


def listener(said: list[str]) -> Callable[..., Any]:
    def listen(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        said.append(str(sql))
        return execute(sql, params, many, context)

    return listen


def listen_to_streaming_cursors(said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Hear what the MySQL driver's own cursors are told, of which Django knows nothing."""
    from MySQLdb.cursors import BaseCursor

    execute = BaseCursor.execute

    def listen(cursor: Any, query: Any, args: Any = None) -> Any:
        said.append(query.decode("utf-8", "replace") if isinstance(query, bytes) else str(query))
        return execute(cursor, query, args)

    monkeypatch.setattr(BaseCursor, "execute", listen)


def test_a_keys_index_is_followed_and_not_the_table_read_whole(databases: FreshDatabases) -> None:
    """Cutting a composite key looks at one chunk's rows at a time, whatever lies before it."""
    databases.fresh("sqlite_a")
    table = table_of(CompositeKey)
    with reading("sqlite_a") as engine:
        where, params = where_clause(engine, table.key, Bounds(("a", 3), ("b", 4)), None)
        query = f"SELECT 1 FROM {table.name}{where}{order_by(engine, table.key)}"
        plan = engine.fetch_all(f"EXPLAIN QUERY PLAN {query}", params)
    assert ["SEARCH" in str(row[3]) for row in plan] == [True]


@pytest.mark.postgresql
def test_a_key_is_followed_in_a_table_that_nobody_analyzed(databases: FreshDatabases) -> None:
    """PostgreSQL takes it to be small, and would read it whole for each chunk."""
    databases.fresh("postgresql_a")
    with connections["postgresql_a"].cursor() as cursor:
        cursor.execute("ALTER TABLE testapp_tag SET (autovacuum_enabled = off)")
        cursor.execute("INSERT INTO testapp_tag (id, name) SELECT 2 * n, 'tag ' || n FROM generate_series(1, 20000) n")
    connections["postgresql_a"].close()
    reads = "SELECT pg_stat_get_xact_numscans('testapp_tag'::regclass)"
    with reading("postgresql_a") as engine:
        before = engine.fetch_value(reads)
        assert len(list(find_bounds(engine, "testapp_tag", ["id"], 20_000, 4_000, None))) == 5
        assert engine.fetch_value(reads) == before
        # No index has both columns: where earlier rows have left much room in the table, a mere count reads an index.
        engine.fetch_all("SELECT max(id + length(name)) FROM testapp_tag")
        assert engine.fetch_value(reads) == before + 1  # whoever reads all of a table may do so again


# -- how many rows, where nobody has chosen -------------------------------------------------------------------------

ROWS, CHUNK_ROWS, CHUNK_BYTES, LARGEST_CHUNK_BYTES = 200, (10, 50), 3_000, 20_000


@pytest.mark.parametrize(
    ("room", "jobs", "chunks"),
    [
        (ROWS * 10, 1, 4),  # narrow rows: as many as there may be
        (ROWS * 100, 1, 7),  # as many as fit
        (ROWS * 2_000, 1, 20),  # wide rows: as many as cost little
        (ROWS * 5_000, 1, 50),  # still wider ones: as few as hold no more than the largest chunk
        (ROWS * 50_000, 1, 200),
        (None, 1, 20),
        (ROWS * 10, 2, 8),  # four for each process
    ],
)
@pytest.mark.parametrize("pair", [PAIRS[4]], ids=str, indirect=True)
def test_a_chunk_has_as_many_rows_as_their_width_allows(
    pair: Pair, room: int | None, jobs: int, chunks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, size in zip(("DEFAULT_CHUNK_SIZE", "LARGEST_CHUNK_SIZE"), CHUNK_ROWS, strict=True):
        monkeypatch.setattr(load, name, size)
    monkeypatch.setattr(load, "CHUNK_BYTES", CHUNK_BYTES)
    monkeypatch.setattr(load, "LARGEST_CHUNK_BYTES", LARGEST_CHUNK_BYTES)
    sizes = {} if room is None else {"testapp_autokey": TableSize(room)}
    monkeypatch.setattr(
        type(engine_for(connections[pair.source]).catalogue), "table_sizes", lambda catalogue, tables: sizes
    )
    insert_rows(AutoKey, pair.source, labelled("id", range(1, ROWS + 1)))
    outcome = batch_migrate(
        source=pair.source, dest=pair.dest, labels=["testapp.AutoKey"], jobs=jobs, keep_journal=True
    )
    assert outcome.exit_code == 0
    assert QuerySet(Chunk, using=pair.dest).filter(table="testapp_autokey").count() == chunks


KEYS = [
    (0,),
    (-(2**63), 2**64),
    ("",),
    ("a'\"\\%s\n\x00\u2028😀",),
    (True, False, 1, 0),
    (1.0, -0.0, 5e-324, 0.1),
    (b"", bytes(range(256))),
    (decimal.Decimal("0.10"), decimal.Decimal("-1E+30"), decimal.Decimal("12345678901234567890.0123456789")),
    (uuid.UUID(int=0), uuid.UUID(int=2**128 - 1)),
    (NOON, NOON.replace(tzinfo=None), NOON.replace(microsecond=0)),
    (NOON.replace(year=1, tzinfo=None), NOON.replace(year=9999)),
    (datetime.date.min, datetime.date.max),
    (datetime.time(0, 0), datetime.time(23, 59, 59, 999999)),
    (datetime.timedelta(-1, 86399, 999999), datetime.timedelta.min, datetime.timedelta.max),
    ("1", 1, decimal.Decimal(1), 1.0),
]


@pytest.mark.parametrize("key", KEYS, ids=lambda key: "-".join(type(value).__name__ for value in key))
def test_a_key_is_read_from_the_journal_as_it_was_written(key: tuple[Any, ...]) -> None:
    found = decode_key(encode_key(key))
    assert found is not None
    assert [(type(value), repr(value)) for value in found] == [(type(value), repr(value)) for value in key]


def test_an_open_end_is_kept_open_in_the_journal() -> None:
    assert encode_key(None) is None
    assert decode_key(None) is None


def test_bytes_of_a_driver_are_bytes_in_the_journal() -> None:
    assert decode_key(encode_key((memoryview(b"\x00\xff"),))) == (b"\x00\xff",)


def test_refuses_to_write_a_key_that_it_could_not_read_back() -> None:
    with pytest.raises(TypeError):
        encode_key((object(),))
