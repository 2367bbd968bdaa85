"""Lines into MySQL: by LOAD DATA LOCAL where both sides allow it, as strict as INSERT, and no pipe outlives it."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.db import DatabaseError, connections, transaction
from django.db.models import QuerySet

from migrator.databases.api import RunResult, batch_migrate
from migrator.databases.engines.base.loading import Target
from migrator.databases.engines.base.python_lines import escape
from migrator.databases.engines.mysql import load_data_local, loading
from migrator.databases.engines.mysql.engine import MySQL
from migrator.databases.engines.mysql.load_data_local import LineLoader
from migrator.databases.engines.mysql.loading import LineInserter
from migrator.databases.tables import Kind
from migrator.errors import DataRejected
from tests.databases.snapshots import differences, insert_rows, snapshot
from tests.servers.databases import Pair
from tests.testapp.models import CharValue, IntegerValue

if TYPE_CHECKING:
    from tests.servers.databases import FreshDatabases

pytestmark = pytest.mark.mysql
PAIR = Pair("sqlite_a", "mysql_files")
ROWS = 30
TABLE = "CREATE TABLE loaded (id int PRIMARY KEY, word varchar(5) NOT NULL, size enum('s', 'm'), n int CHECK (n > 0))"
LOADERS = [LineLoader, LineInserter]
TARGETS = [Target("id", Kind.INTEGER), Target("word", Kind.TEXT), Target("size", Kind.TEXT), Target("n", Kind.INTEGER)]
Loads = type[LineLoader] | type[LineInserter]
GOOD = b"1\tone\ts\t1\n"


@pytest.fixture
def filled(databases: FreshDatabases) -> Pair:
    databases.fresh(*PAIR)
    rows = [{"id": n, "label": f"row {n}", "value": n} for n in range(1, ROWS + 1)]
    insert_rows(IntegerValue, PAIR.source, rows)
    insert_rows(CharValue, PAIR.source, [row | {"value": f"word {row['value']}"} for row in rows])
    return PAIR


@pytest.fixture
def engine(databases: FreshDatabases, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[MySQL]:
    """Give an open destination whose pipes are made in a directory of the test's own."""
    databases.fresh("mysql_files")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    engine = MySQL(connections["mysql_files"])
    engine.open_destination()
    engine.execute(TABLE)
    yield engine
    engine.close()


def execute(alias: str, *statements: str) -> None:
    with connections[alias].cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Collect the calls that load rows by a pipe."""
    calls: list[Any] = []

    def counted(*given: Any) -> Any:
        calls.append(given)
        return feed(*given)

    feed = load_data_local.feed
    monkeypatch.setattr(load_data_local, "feed", counted)
    return calls


def move(pair: Pair, **options: Any) -> RunResult:
    labels = [IntegerValue._meta.label, CharValue._meta.label]
    return batch_migrate(source=pair.source, dest=pair.dest, labels=labels, chunk_size=7, **options)


def notes(outcome: RunResult) -> list[str]:
    return [str(finding) for finding in outcome.plan.findings if not finding.stops]


@pytest.mark.parametrize(("dest", "is_used"), [("mysql_files", True), ("mysql_b", False)])
def test_is_used_where_the_settings_say_so_and_the_plan_tells_of_it(
    filled: Pair, databases: FreshDatabases, dest: str, is_used: bool, loads: list[Any]
) -> None:
    databases.fresh(dest)
    pair = Pair(filled.source, dest)
    found = [note for note in notes(move(pair, dry_run=True)) if "LOAD DATA LOCAL" in note]
    assert found == (
        [
            "mysql_files: rows are loaded by LOAD DATA LOCAL from a pipe in a private directory "
            "(its OPTIONS have local_infile)."
        ]
        if is_used
        else []
    )
    assert move(pair, verify="full").exit_code == 0
    assert len(loads) == (2 * 5 if is_used else 0)  # chunks
    models = (IntegerValue, CharValue)
    assert differences(snapshot(pair.source, models), snapshot(pair.dest, models)) == []


def test_rows_are_inserted_where_the_server_refuses(
    filled: Pair, loads: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_data_local, "IS_ALLOWED_SQL", "SELECT 0")
    outcome = move(filled)
    assert outcome.exit_code == 0
    assert loads == []
    assert [note for note in notes(outcome) if "the server allows no LOAD DATA LOCAL" in note]


def test_names_the_row_that_only_the_destination_refuses(filled: Pair) -> None:
    QuerySet(IntegerValue, using=filled.source).filter(id=30).update(value=29)
    # No query can ask about a column that only the destination computes.
    execute(filled.dest, "ALTER TABLE testapp_integervalue ADD own int AS (value + 0), ADD UNIQUE (own, value)")
    with pytest.raises(DataRejected) as caught:
        move(filled)
    assert "testapp.IntegerValue with primary key 30" in str(caught.value)
    assert "value" in str(caught.value)
    kept = QuerySet(IntegerValue, using=filled.dest).order_by("id").values_list("id", flat=True)
    assert list(kept) == [*range(1, 29)]  # the chunks before it


BAD = {
    "spaces too many": b"2\ttwo    \ts\t1\n",
    "too long": b"2\tseven letters\ts\t1\n",
    "a key that is there": b"1\ttwo\ts\t1\n",
    "NULL where none may be": b"2\t\\N\ts\t1\n",
    "no such member": b"2\ttwo\txxl\t1\n",
    "against a check": b"2\ttwo\ts\t-1\n",
    "no number": b"2\ttwo\ts\tone\n",
    "an empty number": b"2\ttwo\ts\t\n",
    "too large": b"2\ttwo\ts\t9999999999\n",
    "no UTF-8": b"2\t\xff\ts\t1\n",
    "a field too few": b"2\ttwo\ts\n",
    "a field too many": b"2\ttwo\ts\t1\t2\n",
    "no end": b"2\ttwo\ts\t1",
}


@pytest.mark.parametrize("loads_lines", LOADERS)
@pytest.mark.parametrize("bad", BAD)
def test_takes_every_warning_for_an_error(engine: MySQL, bad: str, loads_lines: Loads) -> None:
    loader = loads_lines(engine, "loaded", TARGETS)
    with pytest.raises((DatabaseError, ValueError)), transaction.atomic(using=engine.alias):
        loader.write([GOOD, BAD[bad]])
    assert engine.count("loaded") == 0
    assert loader.write([GOOD, b"2\ttw", b"o\ts\t1\n"])[0] == 2
    assert words(engine) == [(1, "one"), (2, "two")]


def words(engine: MySQL) -> list[Any]:
    return engine.fetch_all("SELECT id, word FROM loaded ORDER BY id")


TEXTS = [
    "",
    "N",
    "\\N",
    "'",
    "'\\N'",
    "\\'",
    "\\\\",
    "\t\r\n",
    "','",
    "'),('",
    "%s",
    "NULL",
    '"',
    "\0\x1a",
    "ä\U0001f600",
    None,
]


@pytest.mark.parametrize("most", [None, 40, 1], ids=["one-statement", "some", "a-statement-a-row"])
@pytest.mark.parametrize("loads_lines", LOADERS)
def test_every_text_arrives_as_it_is(
    engine: MySQL, loads_lines: Loads, most: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.execute("ALTER TABLE loaded MODIFY word varchar(5) COLLATE utf8mb4_bin NULL")
    if most:
        monkeypatch.setattr(loading, "STATEMENT_BYTES", most)
    wanted = list(enumerate(TEXTS * 3))
    fields = ["\\N" if text is None else escape(text) for _, text in wanted]
    lines = "".join(f"{key}\t{field}\t\\N\t\\N\n" for key, field in enumerate(fields)).encode()
    blocks = [lines[start : start + 7] for start in range(0, len(lines), 7)]
    assert loads_lines(engine, "loaded", TARGETS).write(blocks)[0] == len(wanted)
    assert words(engine) == wanted


def test_the_pipe_has_no_name_any_more_while_rows_go_through(engine: MySQL, tmp_path: Path) -> None:
    names: list[list[Path]] = []

    def lines() -> Iterator[bytes]:
        yield GOOD
        names.append(list(tmp_path.iterdir()))
        yield b"2\ttwo\ts\t1\n"

    assert LineLoader(engine, "loaded", TARGETS).write(lines())[0] == 2
    assert names == [[]]


@pytest.mark.parametrize("line", ["\n", "\t\n", "'\n", "1\n", "\\N\n", "'\t''\n"])
def test_many_rows_are_no_longer_than_the_server_takes(line: str) -> None:
    """A statement is cut by the length of its lines, so what becomes of them must not be much longer."""
    lines = 100 * line.encode()
    assert len(loading._as_literals(lines)) <= loading.MOST_GROWTH * len(lines)


@pytest.mark.parametrize("loads_lines", LOADERS)
def test_raises_the_error_of_the_lines_and_stays_usable(engine: MySQL, tmp_path: Path, loads_lines: Loads) -> None:
    def lines() -> Iterator[bytes]:
        yield GOOD
        raise LookupError("the source is gone")

    loader = loads_lines(engine, "loaded", TARGETS)
    with pytest.raises(LookupError, match="the source is gone"), transaction.atomic(using=engine.alias):
        loader.write(lines())
    assert engine.count("loaded") == 0
    assert loader.write([GOOD])[0] == 1
    assert list(tmp_path.iterdir()) == []


def endless() -> Iterator[bytes]:
    key = 0
    while True:
        key += 1
        yield b"%d\ttwo\ts\t1\n" % key


@pytest.mark.parametrize("loads_lines", LOADERS)
@pytest.mark.parametrize("lines", [[GOOD], endless()], ids=["few", "endless"])
def test_raises_the_error_of_a_server_that_takes_no_line(
    engine: MySQL, lines: Iterable[bytes], loads_lines: Loads, tmp_path: Path
) -> None:
    threads = threading.active_count()
    with pytest.raises(DatabaseError, match="doesn't exist"):
        loads_lines(engine, "nowhere", TARGETS).write(lines)
    assert list(tmp_path.iterdir()) == []
    assert threading.active_count() == threads


@pytest.mark.parametrize("loads_lines", LOADERS)
def test_a_session_that_ends_under_way_does_not_hang(engine: MySQL, tmp_path: Path, loads_lines: Loads) -> None:
    number, other = engine.connection.connection.thread_id(), engine.connection.copy()

    def lines() -> Iterator[bytes]:
        for key, line in enumerate(endless()):
            if key == 1000:
                with closing(other), other.cursor() as cursor:
                    cursor.execute(f"KILL {number}")
            yield line

    with pytest.raises(DatabaseError) as caught:
        loads_lines(engine, "loaded", TARGETS).write(lines())
    assert engine.severity(caught.value).value == "retry"
    assert list(tmp_path.iterdir()) == []
    engine.connection.close()
    assert engine.count("loaded") == 0
