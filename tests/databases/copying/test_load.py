"""A resumed run tells the rows that it copied from those that were committed before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from migrator.console.progress import Progress, Task
from migrator.databases.api import RunResult, batch_migrate
from migrator.databases.reports.run import result_report
from migrator.databases.row_counts import RowCounts
from migrator.databases.run_options import Console
from migrator.errors import MigratorError
from tests.databases.snapshots import insert_rows
from tests.servers.databases import Pair
from tests.testapp.models import Tag

if TYPE_CHECKING:
    from tests.servers.databases import FreshDatabases

SQLITE = Pair("sqlite_a", "sqlite_b")
ROWS, CHUNK, COMMITTED = 30, 5, 10


class Ending(Progress):
    """End the run when so many rows are copied or compared; keep what each task says that it begins with."""

    def __init__(self, rows: int | None = None) -> None:
        self._rows, self.begun = rows, list[int]()

    @contextmanager
    def task(self, label: str, total: int | None, *, done: int = 0, unit: str = "rows") -> Iterator[Task]:
        self.begun.append(done)
        yield self

    def advance(self, count: int) -> None:
        if self._rows is not None:
            self._rows -= count
            if self._rows <= 0:
                raise MigratorError("the plug is pulled")


@pytest.fixture
def filled(databases: FreshDatabases) -> Pair:
    databases.fresh(*SQLITE)
    insert_rows(Tag, SQLITE.source, [{"id": n, "name": f"tag {n}"} for n in range(1, ROWS + 1)])
    return SQLITE


def move(pair: Pair, progress: Progress, **options: Any) -> RunResult:
    return batch_migrate(
        source=pair.source,
        dest=pair.dest,
        labels=["testapp.Tag"],
        chunk_size=CHUNK,
        console=Console(progress=progress),
        **options,
    )


def test_counts_as_its_own_what_it_copied_itself(filled: Pair) -> None:
    with pytest.raises(MigratorError, match=f"{COMMITTED} rows are committed"):
        move(filled, Ending(COMMITTED))
    with pytest.raises(MigratorError, match=f"{COMMITTED} rows are committed"):
        move(filled, Ending(CHUNK), resume=True)  # while they are compared again
    with pytest.raises(MigratorError, match=f"{2 * COMMITTED} rows are committed"):
        move(filled, Ending(COMMITTED), resume=True, trust_done=True)
    shown = Ending()
    result = move(filled, shown, resume=True)
    (counts,) = result.row_counts.values()
    assert (counts.rows_read, counts.rows_written, counts.rows_before) == (COMMITTED, COMMITTED, 2 * COMMITTED)
    assert (result.rows_written, result.rows_before) == (COMMITTED, 2 * COMMITTED)
    assert result.exit_code == 0
    assert 2 * COMMITTED in shown.begun
    (document,) = result_report(result).document["tables"]
    assert document["rows_before"] == 2 * COMMITTED
    assert document["rows_per_second"] == pytest.approx(COMMITTED / counts.seconds, abs=1) or counts.seconds < 0.01


def test_counts_rejected_rows_of_the_whole_run(databases: FreshDatabases, tmp_path: Path) -> None:
    pair = Pair("sqlite_a", "postgresql_b")
    databases.fresh(*pair)
    insert_rows(Tag, pair.source, [{"id": n, "name": "\x00" if n == 1 else f"tag {n}"} for n in range(1, ROWS + 1)])
    options: dict[str, Any] = {"on_error": "skip", "rejects": tmp_path / "rejects.jsonl"}
    with pytest.raises(MigratorError, match=f"{COMMITTED - 1} rows are committed"):
        move(pair, Ending(COMMITTED), **options)
    result = move(pair, Progress(), resume=True, trust_done=True, **options)
    assert (result.rows_before, result.rows_written, result.rows_rejected) == (COMMITTED - 1, ROWS - COMMITTED, 1)
    assert result.exit_code == 4


def test_a_row_that_is_deleted_again_was_written_by_neither() -> None:
    counts = RowCounts(rows_read=5, rows_written=5, rows_before=20)
    counts.reject_committed(2)
    assert (counts.rows_written, counts.rows_before, counts.rows_rejected) == (3, 20, 2)
    counts.reject_committed(4)
    assert (counts.rows_written, counts.rows_before, counts.rows_rejected) == (0, 19, 6)


def test_what_a_crashed_server_lost_was_not_there_before() -> None:
    before, after = RowCounts(rows_read=20, rows_written=20), RowCounts(rows_read=15, rows_written=15)
    assert after.since(before) == RowCounts(rows_before=15)
