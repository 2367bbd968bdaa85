"""The next lines are read while others are loaded: never many of them, and the session is free whenever that ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connections

from migrator.databases.api import batch_migrate
from migrator.databases.chunks import Bounds
from migrator.databases.copying import chunk
from migrator.databases.copying.chunk import LinePrefetch, prefetch_lines
from migrator.databases.engines.base.server_lines import Block
from migrator.databases.planning.table_route import Route
from tests.databases.snapshots import differences, insert_rows, snapshot
from tests.servers.databases import PAIRS, Pair
from tests.testapp.models import Tag

if TYPE_CHECKING:
    from tests.servers.databases import FreshDatabases

RANGES = [Bounds(None, (1,)), Bounds((1,), (2,)), Bounds((2,), None)]


class Source:
    """Yields three blocks for each range, and fails at a given one."""

    def __init__(self, size: int = 10) -> None:
        self.read: list[tuple[Bounds, int]] = []
        self.closed = 0
        self.shared = 0
        self.fails_at: tuple[Bounds, int] | None = None
        self._size = size
        connection = SimpleNamespace(inc_thread_sharing=self._share, dec_thread_sharing=self._keep)
        self.source = SimpleNamespace(connection=connection)

    def _share(self) -> None:
        self.shared += 1

    def _keep(self) -> None:
        self.shared -= 1

    def lines(self, bounds: Bounds) -> Generator[Block]:
        try:
            for number in range(3):
                if self.fails_at == (bounds, number):
                    raise OSError("the disk of the source")
                self.read.append((bounds, number))
                yield Block(1, bytes([number]) * self._size)
        finally:
            self.closed += 1


def reading(source: Source) -> LinePrefetch:
    route: Any = source
    return prefetch_lines(route, RANGES)


def first_bytes(blocks: Iterator[Block]) -> list[int]:
    return [block.data[0] for block in blocks]


def assert_free(source: Source) -> None:
    assert not [thread for thread in threading.enumerate() if thread.name == "prefetch"]
    assert source.shared == 0


def until(condition: Any) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_gives_all_ranges_in_their_order_and_ends_by_itself() -> None:
    source = Source()
    with reading(source) as reader:
        for bounds in RANGES:
            assert first_bytes(reader.read(bounds)) == [0, 1, 2]
        assert_free(source)
    assert source.read == [(bounds, number) for bounds in RANGES for number in range(3)]
    assert source.closed == 3


def test_reads_the_next_range_before_it_is_asked_for() -> None:
    source = Source()
    with reading(source) as reader:
        assert first_bytes(reader.read(RANGES[0])) == [0, 1, 2]
        until(lambda: (RANGES[2], 2) in source.read)


def test_keeps_no_more_than_a_little_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunk, "PREFETCH_BYTES", 25)
    source = Source(size=10)
    with reading(source) as reader:
        blocks = reader.read(RANGES[0])
        assert next(blocks).data[0] == 0
        until(lambda: len(source.read) >= 4)
        time.sleep(0.05)
        assert len(source.read) == 4  # one that was taken, and three that reach the limit
        blocks.close()
    assert_free(source)


def test_a_large_block_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunk, "PREFETCH_BYTES", 25)
    source = Source(size=1000)
    with reading(source) as reader:
        blocks = reader.read(RANGES[0])
        for taken in range(1, 4):
            next(blocks)
            until(lambda wanted=taken + 1: len(source.read) >= wanted)
            time.sleep(0.02)
            assert len(source.read) == taken + 1
        blocks.close()
    assert_free(source)


def test_an_error_comes_where_its_block_would_have_come() -> None:
    source = Source()
    source.fails_at = (RANGES[1], 1)
    with reading(source) as reader:
        assert first_bytes(reader.read(RANGES[0])) == [0, 1, 2]
        blocks = reader.read(RANGES[1])
        assert next(blocks).data[0] == 0
        with pytest.raises(OSError, match="the disk of the source"):
            next(blocks)
        assert_free(source)
        source.fails_at = None
        for bounds in RANGES[1:]:  # and again from its beginning
            assert first_bytes(reader.read(bounds)) == [0, 1, 2]


def test_goes_back_to_a_range_that_was_not_written() -> None:
    source = Source()
    with reading(source) as reader:
        assert first_bytes(reader.read(RANGES[0])) == [0, 1, 2]
        with pytest.raises(ZeroDivisionError), reader.stopped_on_error():
            raise ZeroDivisionError
        assert_free(source)
        for bounds in RANGES:
            assert first_bytes(reader.read(bounds)) == [0, 1, 2]


def test_whoever_stops_taking_gives_the_session_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunk, "PREFETCH_BYTES", 5)
    source = Source()
    with reading(source) as reader:
        blocks = reader.read(RANGES[0])
        next(blocks)
        blocks.close()
        assert_free(source)
        assert source.closed == 1
        assert first_bytes(reader.read(RANGES[0])) == [0, 1, 2]
    assert_free(source)


@pytest.mark.postgresql
@pytest.mark.mysql
@pytest.mark.parametrize("source", ["postgresql_a", "mysql_a", "sqlite_a"])
def test_a_chunk_is_read_while_the_one_before_is_recorded(
    databases: FreshDatabases, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = next(pair for pair in PAIRS if pair == Pair(source, "postgresql_b"))
    databases.fresh(*pair)
    insert_rows(Tag, pair.source, [{"id": n, "name": f"tag {n}"} for n in range(1, 31)])
    begun: list[Any] = []
    lines = Route.lines

    def listen(route: Route, bounds: Bounds) -> Generator[Block]:
        begun.append(bounds.lower)
        return lines(route, bounds)

    def wait(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        if str(sql).startswith('UPDATE "migrator_chunk"') and not waited:
            waited.append(True)
            until(lambda: len(begun) > 1)
        return execute(sql, params, many, context)

    waited: list[bool] = []
    monkeypatch.setattr(Route, "lines", listen)
    with connections[pair.dest].execute_wrapper(wait):
        outcome = batch_migrate(source=pair.source, dest=pair.dest, labels=["testapp.Tag"], chunk_size=10)
    assert outcome.exit_code == 0
    assert waited == [True]
    assert begun == [None, (10,), (20,)]
    assert differences(snapshot(pair.source, [Tag]), snapshot(pair.dest, [Tag])) == []
