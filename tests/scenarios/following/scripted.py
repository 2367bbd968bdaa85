"""Moves that follow their source and do what a test says between two rounds, instead of waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any
from unittest import mock

from django.db import connections

from migrator.console.finish_request import FinishRequest
from migrator.databases.api import Console, RunResult, batch_migrate
from migrator.databases.following import follow as following
from migrator.databases.following.record import Followed
from tests.databases.copying.test_retry import Heard
from tests.servers.databases import Pair

Step = Callable[[], object]
# What a step returns that has to be taken once more after the next round.
AGAIN = object()
# Instead of two seconds: only tests write.
QUIET_SECONDS = 0.05
PATIENCE_SECONDS = 30
# The alias of a server that a test may configure.
PRIVATE = "followed"


class Scripted(FinishRequest):
    """Takes one step before each round, and then requests the last pass."""

    def __init__(self, steps: Sequence[Step]) -> None:
        super().__init__()
        self._left = list(steps)

    def wait(self, seconds: float, check: Callable[[], None]) -> bool:
        check()
        if not self._left:
            return True
        if self._left[0]() is not AGAIN:
            self._left.pop(0)
        return False


def follow(
    pair: Pair,
    labels: Sequence[str],
    *steps: Step,
    heard: Heard | None = None,
    quiet: float = QUIET_SECONDS,
    **options: Any,
) -> RunResult:
    """Move and follow; each step is taken between two rounds, so the next one sees what the round has made of it."""
    request = Scripted(steps)
    with (
        mock.patch.object(FinishRequest, "of", classmethod(lambda cls, **keywords: request)),
        mock.patch.object(following, "QUIET_SECONDS", quiet),
    ):
        return batch_migrate(
            source=pair.source,
            dest=pair.dest,
            labels=labels,
            follow=True,
            console=Console(progress=heard or Heard()),
            **options,
        )


def followed_of(result: RunResult) -> Followed:
    """Return how a run followed that succeeded."""
    assert result.exit_code == 0, (result.verification, result.followed)
    assert result.followed is not None
    return result.followed


# -- another session, because the run has Django's own ---------------------------------------------------------------


def execute(alias: str, *statements: str) -> None:
    """Execute statements as somebody else, each in a transaction of its own."""
    with closing(connections[alias].copy()) as other, other.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def read(alias: str, sql: str) -> list[tuple[Any, ...]]:
    """Run a query as somebody else; the rows are in no order unless the query has one."""
    with closing(connections[alias].copy()) as other, other.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


@contextmanager
def session(alias: str) -> Iterator[Any]:
    """Yield the cursor of another session in a transaction, which is committed at the end of the block."""
    with closing(connections[alias].copy()) as other:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            yield cursor
        other.commit()


@contextmanager
def configured(**settings: str) -> Iterator[None]:
    """Configure that server for a while; the settings take effect without a restart."""

    def configure(statements: Sequence[str]) -> None:
        execute(PRIVATE, *statements, "SELECT pg_reload_conf()")

    configure([f"ALTER SYSTEM SET {name} = '{value}'" for name, value in settings.items()])
    try:
        for name, value in settings.items():
            wait_until(lambda name=name, value=value: read(PRIVATE, f"SHOW {name}") == [(value,)])  # type: ignore[misc]
        yield
    finally:
        configure([f"ALTER SYSTEM RESET {name}" for name in settings])


class Statements:
    """A step that executes statements as somebody else, each in a transaction of its own.

    The run's snapshot locks its tables against being rewritten. What waits for that lock gets it in the next round.
    """

    def __init__(self, alias: str, *statements: str) -> None:
        self._alias, self._statements = alias, statements
        self._thread: threading.Thread | None = None
        self._errors: list[BaseException] = []
        self._session = 0

    def __call__(self) -> object:
        if self._thread is None:
            self._thread = threading.Thread(target=self._execute, daemon=True)
            self._thread.start()
        wait_until(lambda: self._is_over() or self._is_locked_out())
        assert not self._errors, self._errors
        return None if self._is_over() else AGAIN

    def _is_over(self) -> bool:
        return self._thread is not None and not self._thread.is_alive()

    def _is_locked_out(self) -> bool:
        return bool(
            self._session and read(self._alias, f"SELECT 1 FROM pg_locks WHERE pid = {self._session} AND NOT granted")
        )

    def _execute(self) -> None:
        try:
            with closing(connections[self._alias].copy()) as other, other.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                (self._session,) = cursor.fetchone()
                for statement in self._statements:
                    cursor.execute(statement)
        except BaseException as error:
            self._errors.append(error)


@contextmanager
def meanwhile(action: Callable[[], object]) -> Iterator[threading.Thread]:
    """Do something in another thread during a block, and wait for its end after it."""
    errors: list[BaseException] = []

    def act() -> None:
        try:
            action()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=act)
    thread.start()
    try:
        yield thread
    finally:
        thread.join(2 * PATIENCE_SECONDS)
    assert not thread.is_alive()
    assert not errors, errors


def wait_until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)
