"""Executors of `concurrent.futures` as a project has them, and some that deliver as badly as a broker may."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

from django.db import connections

seed = 0


def before_each_chunk() -> None:
    """Do nothing; a test may put something here."""


def watch(message: dict[str, Any]) -> None:
    """Do nothing; a test may put something here."""


class Delivering(ThreadPoolExecutor):
    """Delivers each message so many times as `times` says for its number, and as `deliver` does."""

    def __init__(
        self,
        times: Callable[[int], int] = lambda number: 1,
        deliver: Callable[..., Any] = lambda fn, message: fn(message),
    ) -> None:
        super().__init__(3)
        self._times, self._delivering, self._number = times, deliver, 0

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        self._number += 1
        times = self._times(self._number)
        futures = [super(Delivering, self).submit(self._delivering, fn, *args, **kwargs) for _ in range(times)]
        return futures[0] if futures else Future()


def two_threads() -> Executor:
    return ThreadPoolExecutor(2)


def dask() -> Executor:
    """Two workers of Dask, in this process, as a project makes an executor of its cluster."""
    from distributed import Client

    client = Client(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None)
    clients.append(client)
    executor: Executor = client.get_executor()
    return executor


clients: list[Any] = []


def doubling() -> Executor:
    return Delivering(lambda number: 2)


def dropping() -> Executor:
    return Delivering(lambda number: int(number % 3 != 0))


def losing_everything() -> Executor:
    return Delivering(lambda number: 0)


def chaotic() -> Executor:
    """Deliver some messages, and some of them several times."""
    chance = random.Random(seed)  # noqa: S311 - repeatable
    return Delivering(lambda number: chance.choice((0, 1, 1, 2, 3)))


def closing() -> Executor:
    """Close all connections around each message, as Celery does for Django."""

    def deliver(fn: Any, message: dict[str, Any]) -> None:
        connections.close_all()
        if message["kind"] == "ChunkMessage":
            before_each_chunk()
        fn(message)
        connections.close_all()

    return Delivering(deliver=deliver)


def watched() -> Executor:
    """Show each message."""

    def deliver(fn: Any, message: dict[str, Any]) -> None:
        watch(message)
        fn(message)

    return Delivering(deliver=deliver)


joins = 0


def joining() -> Executor:
    """Deliver so many invitations as `joins` says, and all chunks."""
    delivered: list[Any] = []

    def deliver(fn: Any, message: dict[str, Any]) -> None:
        if message["kind"] == "JoinMessage":
            delivered.append(message)
            if len(delivered) > joins:
                return
        fn(message)

    return Delivering(deliver=deliver)
