"""SQLite to SQLite: rows are copied inside SQLite as long as the source is what the run's snapshot shows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.db import ConnectionHandler, DatabaseError, IntegrityError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import override_settings

from migrator.databases.api import RunResult, batch_migrate
from migrator.databases.engines.base.catalogue import DeferredObject
from migrator.databases.engines.sqlite import attach
from migrator.databases.engines.sqlite.engine import SQLite
from migrator.errors import DataRejected
from tests.databases.snapshots import differences, insert_rows, snapshot
from tests.management.running import forbid_twins_unasked
from tests.servers.databases import Pair
from tests.testapp.models import CharValue, Tag

if TYPE_CHECKING:
    from tests.servers.databases import FreshDatabases

pytestmark = [pytest.mark.sqlite, pytest.mark.usefixtures("few_rows_are_many")]
PAIR = Pair("sqlite_a", "sqlite_b")
MODELS = (Tag, CharValue)
ROWS = 40
CHUNK = 5
WITHIN = "INSERT INTO main."
WORDS, ABC = "word text", "('a'), ('b'), ('c')"
TWO, LAST = "(1, 'a'), (2, 'b')", "(2, NULL)"
NUMBERED, NUMBERS = "b int, a text", f"{TWO}, {LAST}"


@pytest.fixture
def filled(databases: FreshDatabases) -> Pair:
    databases.fresh(*PAIR)
    insert_rows(Tag, PAIR.source, [{"id": n, "name": f"tag {n}"} for n in range(1, ROWS + 1)])
    rows = [{"id": n, "label": f"row {n}", "value": f"100% {n}"} for n in range(1, ROWS + 1)]
    insert_rows(CharValue, PAIR.source, rows)
    return PAIR


def execute(alias: str, *statements: str) -> None:
    with connections[alias].cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def move(pair: Pair, chunk_size: int | None = CHUNK, **options: Any) -> RunResult:
    labels = [model._meta.label for model in MODELS]
    return batch_migrate(source=pair.source, dest=pair.dest, labels=labels, chunk_size=chunk_size, **options)


@contextmanager
def statements(alias: str | SQLite, each: Callable[[str], None] = lambda sql: None) -> Iterator[list[str]]:
    """List what a connection executes; ``each`` is called before it does."""
    found: list[str] = []

    def note(run: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        each(str(sql))
        found.append(str(sql))
        return run(sql, params, many, context)

    with (connections[alias] if isinstance(alias, str) else alias.connection).execute_wrapper(note):
        yield found


def within(found: list[str]) -> int:
    return sum(statement.startswith(WITHIN) for statement in found)


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_rows_never_leave_sqlite(filled: Pair, journal: str) -> None:
    execute(filled.source, f"PRAGMA journal_mode = {journal}")
    with statements(filled.dest) as found:
        outcome = move(filled, verify="full")
    assert outcome.exit_code == 0
    assert [table.route.method for table in outcome.plan.tables] == ["within the destination"] * 2
    assert within(found) == 2 * ROWS / CHUNK
    assert [(tally.rows_read, tally.rows_written) for tally in outcome.row_counts.values()] == [(ROWS, ROWS)] * 2
    assert differences(snapshot(filled.source, MODELS), snapshot(filled.dest, MODELS)) == []


def test_whole_tables_are_copied_at_once_unless_somebody_has_chosen_the_chunks(filled: Pair) -> None:
    with override_settings(MIGRATOR={"CHUNK_SIZE": CHUNK}), statements(filled.dest) as found:
        assert move(filled, chunk_size=None).exit_code == 0
    assert within(found) == 2 * ROWS / CHUNK
    with statements(filled.dest) as found:
        assert move(filled, chunk_size=None, replace=filled.dest, verify="full").exit_code == 0
    copies = [statement for statement in found if statement.startswith(WITHIN)]
    assert len(copies) == 2
    assert all(" SELECT * FROM " in statement for statement in copies)
    assert differences(snapshot(filled.source, MODELS), snapshot(filled.dest, MODELS)) == []


def test_a_run_makes_no_index_of_rows_that_it_can_copy(filled: Pair) -> None:
    made = "CREATE INDEX own ON testapp_charvalue (value)"
    for alias in filled:
        execute(alias, made)
    with override_settings(MIGRATOR={}), statements(filled.dest) as found:
        assert move(filled, chunk_size=None).exit_code == 0
    copy = next(n for n, statement in enumerate(found) if statement.startswith(f'{WITHIN}"testapp_charvalue"'))
    assert made in found[:copy]
    assert made not in found[copy:]


def test_rows_go_through_the_snapshot_once_somebody_has_written(filled: Pair) -> None:
    execute(filled.source, "PRAGMA journal_mode = WAL")
    before, other = snapshot(filled.source, MODELS), connections[filled.source].copy()

    def write(sql: str) -> None:
        if "UPDATE" in sql and "migrator_chunk" in sql:
            with closing(other), other.cursor() as cursor:
                cursor.execute("UPDATE testapp_tag SET name = name || '!'")

    with statements(filled.dest, write) as found:
        assert move(filled).exit_code == 0
    assert within(found) == 1  # the chunk before the first that was written about
    assert differences(before, snapshot(filled.dest, MODELS)) == []


def test_names_the_row_that_only_the_destination_refuses(filled: Pair) -> None:
    forbid_twins_unasked(filled.dest, "testapp_charvalue", "value")
    execute(filled.source, "UPDATE testapp_charvalue SET value = '100% 3' WHERE id = 17")
    with pytest.raises(DataRejected, match=r"testapp\.CharValue with primary key 17: .* index 'own_testapp_charvalue'"):
        move(filled)
    assert len(snapshot(filled.dest, [CharValue])["testapp.CharValue"]) == 15  # three chunks


@pytest.mark.parametrize("name", ["plain", "with spaces", "100%25", "what?mode=rw", "hash#1", "ümlaut", "quo'te"])
def test_finds_files_of_any_name(tmp_path: Path, name: str) -> None:
    with joined(str(tmp_path / name), str(tmp_path / "dest")) as (source, dest):
        source.execute("SELECT 1")
        assert dest.copy_within("things", ["word"], " WHERE word <= %s", ["b"])[:1] == (2,)  # type: ignore[index]
        assert dest.fetch_all("SELECT word FROM main.things") == [("a",), ("b",)]


def test_a_table_of_a_large_file_is_cut_into_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with joined(str(tmp_path / "source"), str(tmp_path / "dest")) as (_, dest):
        assert dest.rows_within(1_000_000) == 1_000_000
        monkeypatch.setattr(attach, "CHUNK_BYTES", os.path.getsize(tmp_path / "source") // 4)
        assert dest.rows_within(1_000_000) == 250_000


@pytest.mark.parametrize("created", [NUMBERED, "a text, b int", f"{NUMBERED}, c int AS (2 * b)", f"{NUMBERED}, d text"])
def test_values_of_whole_tables_are_not_mixed_up(tmp_path: Path, created: str) -> None:
    names = str(tmp_path / "source"), str(tmp_path / "dest")
    with joined(*names, NUMBERED, created, rows=f"VALUES {NUMBERS}") as (_, dest):
        assert dest.copy_within("things", ["a", "b"], "", [])[:1] == (3,)  # type: ignore[index]
        assert dest.fetch_all("SELECT a, b FROM main.things ORDER BY rowid") == [("a", 1), ("b", 2), (None, 2)]


@pytest.mark.parametrize("created", ["b int UNIQUE, a text", "b int CHECK (b < 2), a text", "b int, a text NOT NULL"])
def test_whole_tables_meet_the_conditions_of_the_destination(tmp_path: Path, created: str) -> None:
    names = str(tmp_path / "source"), str(tmp_path / "dest")
    with joined(*names, NUMBERED, created, rows=f"VALUES {NUMBERS}") as (_, dest), pytest.raises(IntegrityError):
        dest.copy_within("things", ["a", "b"], "", [])


INDEX = "CREATE INDEX by_b ON things (b)"
# A row that is there while SQLite does not know of the index.
DAMAGE = (
    "PRAGMA writable_schema = ON",
    "CREATE TABLE kept AS SELECT * FROM sqlite_master WHERE name = 'by_b'",
    "DELETE FROM sqlite_master WHERE name = 'by_b'",
    "PRAGMA writable_schema = RESET",
    f"INSERT INTO things (b, a) VALUES {LAST}",
    "PRAGMA writable_schema = ON",
    "INSERT INTO sqlite_master SELECT * FROM kept",
    "PRAGMA writable_schema = RESET",
)


@pytest.mark.parametrize(
    ("columns", "here", "there"),
    [
        (NUMBERED, INDEX, "CREATE INDEX other_name ON things (b)"),
        ("b int CHECK (b > 0), a text UNIQUE", INDEX, INDEX),
        (NUMBERED, "CREATE INDEX by_b ON things (b DESC, a COLLATE NOCASE)", ...),
    ],
)
def test_entries_of_indexes_are_copied_with_whole_tables(tmp_path: Path, columns: str, here: str, there: Any) -> None:
    with indexed(tmp_path, columns, here, here if there is ... else there) as dest, statements(dest) as found:
        assert copy_all(dest) == ["by_b"]
        assert any("SELECT * FROM" in statement for statement in found if statement.startswith(WITHIN))
        assert_is_sound(dest)


@pytest.mark.parametrize(
    ("here", "there"),
    [
        (INDEX, "CREATE INDEX by_b ON things (a)"),
        (INDEX, "CREATE INDEX by_b ON things (b DESC)"),
        (INDEX, "CREATE INDEX by_b ON things (b COLLATE NOCASE)"),
        (INDEX, "CREATE INDEX by_b ON things (b) WHERE b > 1"),
        ("CREATE INDEX by_b ON things (b, a)", "CREATE UNIQUE INDEX by_b ON things (b, a)"),
        ("CREATE INDEX by_b ON things (b) WHERE b > 1", ...),
        ("CREATE INDEX by_b ON things (b + 1)", ...),
    ],
)
def test_other_indexes_are_left_to_be_made_of_the_rows(tmp_path: Path, here: str, there: Any) -> None:
    with indexed(tmp_path, NUMBERED, here, here if there is ... else there) as dest, statements(dest) as found:
        assert copy_all(dest) == []
        assert any("SELECT * FROM" in statement for statement in found if statement.startswith(WITHIN))
        assert_is_sound(dest)


def test_no_index_is_put_back_where_rows_are_not_copied_as_they_are_stored(tmp_path: Path) -> None:
    with indexed(tmp_path, "b int CHECK (b > 0), a text", INDEX, INDEX, source_columns=NUMBERED) as dest:
        assert copy_all(dest) == []
        assert_is_sound(dest)


@pytest.mark.parametrize("kept", ["UNIQUE INDEX own ON things (a)", "INDEX own ON things (b) WHERE b > 1"])
def test_a_table_with_an_index_that_the_source_has_not_is_copied_value_by_value(tmp_path: Path, kept: str) -> None:
    with indexed(tmp_path, NUMBERED, INDEX, INDEX) as dest:
        dest.execute(f"CREATE {kept}")
        assert copy_all(dest) == []
        assert_is_sound(dest)


@pytest.mark.parametrize("columns", ["b", "b, a"])
def test_a_damaged_index_is_not_copied(tmp_path: Path, columns: str) -> None:
    """Nor is it read in place of the rows."""
    made = f"CREATE INDEX by_b ON things ({columns})"
    with indexed(tmp_path, NUMBERED, made, made, damages=True) as dest:
        assert copy_all(dest) == []
        assert_is_sound(dest)


@pytest.mark.parametrize("made", ["UNIQUE INDEX own ON things (b, a)", "INDEX own ON things (b, a) WHERE b > 0"])
def test_a_damaged_index_that_stays_on_is_not_copied(tmp_path: Path, made: str) -> None:
    made = f"CREATE {made}"
    with indexed(tmp_path, NUMBERED, INDEX, made.replace("own", "by_b"), damages=True) as dest:
        dest.execute(made)
        assert copy_all(dest) == []
        assert_is_sound(dest)


def test_no_index_is_put_back_on_a_table_that_has_rows(tmp_path: Path) -> None:
    with indexed(tmp_path, NUMBERED, INDEX, INDEX) as dest:
        dest.execute("INSERT INTO things VALUES (7, 'z')")
        assert copy_all(dest, rows=1) == []


def test_rows_are_read_where_a_damaged_index_has_all_that_is_asked_for(tmp_path: Path) -> None:
    with indexed(tmp_path, NUMBERED, INDEX, INDEX, damages=True) as dest:
        assert dest.copy_within("things", ["b"], "", [])[:1] == (3,)  # type: ignore[index]


def copy_all(dest: SQLite, rows: int = 0) -> list[str]:
    """Copy all rows, and name the indexes that are there afterwards."""
    assert dest.copy_within("things", ["b", "a"], "", [])[:1] == (3,)  # type: ignore[index]
    assert dest.fetch_value("SELECT COUNT(*) FROM main.things NOT INDEXED") == rows + 3
    return [name for (name,) in dest.fetch_all("SELECT name FROM main.sqlite_master WHERE name = 'by_b'")]


def assert_is_sound(dest: SQLite) -> None:
    assert dest.fetch_all("PRAGMA main.integrity_check") == [("ok",)]
    assert dest.fetch_all("SELECT a, b FROM main.things ORDER BY b, a DESC") == [("a", 1), ("b", 2), (None, 2)]


@contextmanager
def indexed(
    path: Path, columns: str, here: str, there: str, *, source_columns: str = "", damages: bool = False
) -> Iterator[SQLite]:
    """Open a database whose table has lost an index, joined with another whose index may lack a row."""
    names = str(path / "source"), str(path / "dest")
    rows, then = (TWO, (there, *DAMAGE)) if damages else (NUMBERS, (there,))
    with joined(*names, source_columns or columns, columns, rows=f"(b, a) VALUES {rows}", then=then) as (_, dest):
        dest.expect_recreation([DeferredObject("things", "index", "by_b", "DROP INDEX by_b", here)])
        yield dest


def test_a_database_in_memory_is_not_attached(tmp_path: Path) -> None:
    with joined(":memory:", str(tmp_path / "dest")) as (source, dest):
        assert not dest.can_copy_within(source)
    with joined(str(tmp_path / "source"), "file:dest?mode=memory&cache=shared") as (source, dest):
        assert not dest.can_copy_within(source)
        assert dest.copy_within("things", ["word"], "", []) is None


def test_another_file_in_the_place_of_the_source_is_not_read(tmp_path: Path) -> None:
    with joined(str(tmp_path / "source"), str(tmp_path / "dest")) as (_, dest):
        (tmp_path / "other").write_bytes((tmp_path / "source").read_bytes())
        (tmp_path / "other").replace(tmp_path / "source")
        assert dest.copy_within("things", ["word"], "", []) is None
        assert dest.copy_within("things", ["word"], "", []) is None
        assert dest.count("things") == 0


def test_the_source_cannot_be_written_through_the_destination(tmp_path: Path) -> None:
    with joined(str(tmp_path / "source"), str(tmp_path / "dest")) as (_, dest):
        assert dest.copy_within("things", ["word"], "", [])
        for writing in ("DELETE FROM {}.things", "DROP TABLE {}.things", "CREATE TABLE {}.others (a)", "ANALYZE {}"):
            with pytest.raises(DatabaseError, match="not authorized"):
                dest.execute(writing.format("migrator_source"))


@contextmanager
def joined(
    source_name: str,
    dest_name: str,
    source_columns: str = WORDS,
    dest_columns: str = WORDS,
    *,
    rows: str = f"VALUES {ABC}",
    then: Iterable[str] = (),
) -> Iterator[tuple[SQLite, SQLite]]:
    """Open two databases of a table each, the second one joined with the first, which has rows."""
    names = {"default": source_name, "dest": dest_name}
    backend = "django.db.backends.sqlite3"
    handler = ConnectionHandler({alias: {"ENGINE": backend, "NAME": name} for alias, name in names.items()})
    source, dest = (SQLite(handler[alias]) for alias in names)
    for engine, columns in ((source, source_columns), (dest, dest_columns)):
        engine.connection.ensure_connection()
        engine.execute(f"CREATE TABLE things ({columns})")
        engine.check_address(must_exist=False)
    for statement in (f"INSERT INTO things {rows}", *then):
        source.execute(statement)
    dest.open_destination()
    source.open_source()
    dest.attach_source(source)
    try:
        yield source, dest
    finally:
        for engine in (source, dest):
            engine.close()
            # Django's own class for SQLite keeps databases in memory open.
            BaseDatabaseWrapper.close(engine.connection)
