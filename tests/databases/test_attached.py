"""SQLite to SQLite: rows are copied inside SQLite as long as the source is what the run's snapshot shows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.db import ConnectionHandler, DatabaseError, IntegrityError, connections
from django.test import override_settings

from migrator.databases.copy import Outcome, batch_migrate
from migrator.databases.engines.sqlite import attached
from migrator.databases.engines.sqlite.engine import SQLite
from migrator.errors import DataRejected
from tests.servers.databases import Pair
from tests.testapp.models import CharValue, Tag

from .snapshots import differences, insert_rows, snapshot

if TYPE_CHECKING:
    from tests.servers.databases import FreshDatabases

pytestmark = pytest.mark.sqlite
PAIR = Pair("sqlite_a", "sqlite_b")
MODELS = (Tag, CharValue)
ROWS = 40
CHUNK = 5
WITHIN = "INSERT INTO main."
WORDS, ABC = "word text", "('a'), ('b'), ('c')"
NUMBERED, NUMBERS = "b int, a text", "(1, 'a'), (2, 'b'), (2, NULL)"


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


def move(pair: Pair, chunk_size: int | None = CHUNK, **options: Any) -> Outcome:
    labels = [model._meta.label for model in MODELS]
    return batch_migrate(source=pair.source, dest=pair.dest, labels=labels, chunk_size=chunk_size, **options)


@contextmanager
def statements(alias: str, each: Callable[[str], None] = lambda sql: None) -> Iterator[list[str]]:
    """List what a connection executes; ``each`` is called before it does."""
    found: list[str] = []

    def note(run: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        each(str(sql))
        found.append(str(sql))
        return run(sql, params, many, context)

    with connections[alias].execute_wrapper(note):
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
    assert [(tally.rows_read, tally.rows_written) for tally in outcome.tallies.values()] == [(ROWS, ROWS)] * 2
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
    execute(filled.dest, "CREATE UNIQUE INDEX own ON testapp_charvalue (value)")
    execute(filled.source, "UPDATE testapp_charvalue SET value = '100% 3' WHERE id = 17")
    with pytest.raises(DataRejected, match=r"testapp\.CharValue with primary key 17, field value"):
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
        assert dest.rows_in_chunk(1_000_000, is_within=True) == 1_000_000
        monkeypatch.setattr(attached, "CHUNK_BYTES", os.path.getsize(tmp_path / "source") // 4)
        assert dest.rows_in_chunk(1_000_000, is_within=True) == 250_000


@pytest.mark.parametrize("created", [NUMBERED, "a text, b int", f"{NUMBERED}, c int AS (2 * b)", f"{NUMBERED}, d text"])
def test_values_of_whole_tables_are_not_mixed_up(tmp_path: Path, created: str) -> None:
    names = str(tmp_path / "source"), str(tmp_path / "dest")
    with joined(*names, NUMBERED, created, rows=NUMBERS) as (_, dest):
        assert dest.copy_within("things", ["a", "b"], "", [])[:1] == (3,)  # type: ignore[index]
        assert dest.fetch_all("SELECT a, b FROM main.things ORDER BY rowid") == [("a", 1), ("b", 2), (None, 2)]


@pytest.mark.parametrize("created", ["b int UNIQUE, a text", "b int CHECK (b < 2), a text", "b int, a text NOT NULL"])
def test_whole_tables_meet_the_conditions_of_the_destination(tmp_path: Path, created: str) -> None:
    names = str(tmp_path / "source"), str(tmp_path / "dest")
    with joined(*names, NUMBERED, created, rows=NUMBERS) as (_, dest), pytest.raises(IntegrityError):
        dest.copy_within("things", ["a", "b"], "", [])


def test_a_database_in_memory_is_not_attached(tmp_path: Path) -> None:
    with joined(":memory:", str(tmp_path / "dest")) as (source, dest):
        assert not dest.can_read(source)
    with joined(str(tmp_path / "source"), "file:dest?mode=memory&cache=shared") as (source, dest):
        assert not dest.can_read(source)
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
        with pytest.raises(DatabaseError, match="readonly"):
            dest.execute("DELETE FROM migrator_source.things")


@contextmanager
def joined(
    source_name: str, dest_name: str, source_columns: str = WORDS, dest_columns: str = WORDS, *, rows: str = ABC
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
    source.execute(f"INSERT INTO things VALUES {rows}")
    dest.open_destination()
    source.open_source()
    dest.join(source)
    try:
        yield source, dest
    finally:
        for engine in (source, dest):
            engine.close()
            engine.connection.close()
