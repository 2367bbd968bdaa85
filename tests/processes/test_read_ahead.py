"""Pages read one ahead in another thread: their order, their errors, and their end."""

import threading
import time
from collections.abc import Generator
from contextlib import closing

import pytest

from migrator.processes.prefetch import read_ahead


def test_gives_all_pages_in_order_from_another_thread() -> None:
    def pages() -> Generator[tuple[int, int]]:
        for number in range(5):
            yield number, threading.get_ident()

    found = list(read_ahead(pages))

    assert [number for number, _ in found] == [0, 1, 2, 3, 4]
    assert {thread for _, thread in found}.isdisjoint({threading.get_ident()})


def test_raises_what_reading_raised_after_the_pages_before() -> None:
    def pages() -> Generator[int]:
        yield 1
        raise LookupError("the server is gone")

    reading = read_ahead(pages)

    assert next(reading) == 1
    with pytest.raises(LookupError, match="the server is gone"):
        next(reading)


def test_ends_the_reader_when_nobody_wants_more() -> None:
    read, ended = [], []

    def pages() -> Generator[int]:
        try:
            for number in range(100):
                read.append(number)
                yield number
        finally:
            ended.append(threading.get_ident())

    with closing(read_ahead(pages)) as reading:
        assert next(reading) == 0
        deadline = time.monotonic() + 10
        while len(read) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        time.sleep(0.02)

    assert read == [0, 1]
    assert len(ended) == 1
    assert ended != [threading.get_ident()]
    assert not [thread for thread in threading.enumerate() if thread.name == "prefetch"]
