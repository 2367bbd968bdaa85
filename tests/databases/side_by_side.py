"""Runs of several processes, watched and disturbed from within: what is planted on a connection is forked with it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from django.db import connections

from migrator.console.progress import Progress
from migrator.databases.api import Console, RunResult, batch_migrate
from tests.databases.snapshots import differences, insert_rows, snapshot
from tests.servers.databases import PAIRS, Pair
from tests.testapp.models import Article, Tag, TreeNode

SERVER_PAIRS = [PAIRS[4], PAIRS[5], PAIRS[7], PAIRS[8]]
MODELS = (Tag, Article, Article.tags.through, TreeNode)
LABELS = ["testapp.Tag", "testapp.Article", "testapp.TreeNode"]
ROWS = 60
CHUNK = 5


def fill(alias: str, rows: int = ROWS) -> None:
    """Insert rows into four tables; nodes point at others before and behind them."""
    numbers = range(1, rows + 1)
    insert_rows(Tag, alias, [{"id": n, "name": f"tag {n}"} for n in numbers])
    insert_rows(Article, alias, [{"id": n, "name": f"article {n}"} for n in numbers])
    insert_rows(Article.tags.through, alias, [{"id": n, "article_id": n, "tag_id": n} for n in numbers])
    insert_rows(TreeNode, alias, [{"id": n, "name": f"{n}", "parent_id": rows + 1 - n} for n in numbers])


class Heard(Progress):
    """Keep what is said to the person watching."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def message(self, text: str) -> None:
        self.messages.append(text)

    def finished(self, label: str, total: int, unit: str = "rows") -> None:
        self.messages.append(f"{label}: {total} {unit}")

    def with_words(self, words: str) -> list[str]:
        """Return the messages that have these words."""
        return [text for text in self.messages if words in text]


def move(pair: Pair, heard: Heard | None = None, **options: Any) -> RunResult:
    """Move the four tables by three processes."""
    arguments: dict[str, Any] = {"labels": LABELS, "chunk_size": CHUNK, "jobs": 3} | options
    return batch_migrate(source=pair.source, dest=pair.dest, console=Console(progress=heard or Heard()), **arguments)


def assert_equal(pair: Pair) -> None:
    """Assert that both sides hold the same rows of the four tables."""
    assert differences(snapshot(pair.source, MODELS), snapshot(pair.dest, MODELS)) == []


Reaction = Callable[[], Any]


class InWorkers:
    """Do something in a worker right before a statement of the destination that fits, so often and no more.

    The count is kept in files, for each worker has its own copy of this object.
    """

    def __init__(self, directory: Path, fits: Callable[[str, Any], bool], action: Reaction, *, times: int = 1) -> None:
        self._directory, self._fits, self._action, self._times = directory, fits, action, times
        self._parent = os.getpid()

    def on(self, alias: str) -> AbstractContextManager[None]:
        """Plant it on a connection, for a while."""
        return connections[alias].execute_wrapper(self)

    @property
    def done(self) -> int:
        """How often it was done."""
        return len(list(self._directory.glob("done-*")))

    def __call__(self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        plain = str(sql).replace('"', "").replace("`", "")
        if os.getpid() != self._parent and self._fits(plain, params) and self._is_its_turn():
            self._action()
        return execute(sql, params, many, context)

    def _is_its_turn(self) -> bool:
        for number in range(self._times):
            try:
                (self._directory / f"done-{number}").touch(exist_ok=False)
            except FileExistsError:
                continue
            return True
        return False


def saying(words: str) -> Callable[[str, Any], bool]:
    """Fit statements that have these words."""
    return lambda sql, params: words in sql


def until(is_true: Callable[[], object], seconds: float = 20) -> bool:
    """Wait until something is true; return whether it is."""
    deadline = time.monotonic() + seconds
    while not is_true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
