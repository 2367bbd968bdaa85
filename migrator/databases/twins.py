"""Questions to a database, put to two sessions that see the same rows: while one looks through a table, so does one."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import TypeVar

from django.db import Error

from ..errors import MigratorError
from .engines.base.engine import Engine

HELPED_ROWS = 10_000  # smaller tables are not worth another session
END_SECONDS = 2.0  # for what another session is at, where nobody needs it any more

Answer = TypeVar("Answer")
Question = Callable[[Engine], Answer]


class Twins:
    """Puts questions to a session and, where the largest table has so many ``rows``, to its twin.

    Nothing depends on the twin: what it fails at is asked in the session itself, which tells the reason.
    """

    def __init__(self, engine: Engine, rows: int = 0) -> None:
        self.engine, self._is_worth_it = engine, rows > HELPED_ROWS
        self._twin: Engine | None = None
        self._waiting: deque[Callable[[Engine], None]] = deque()
        self._thread: threading.Thread | None = None
        self._is_over = False

    def __enter__(self) -> Twins:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._waiting.clear()
        self._is_over = True
        if self._thread is not None:
            self._thread.join(END_SECONDS)
        if self._thread is None or not self._thread.is_alive():
            self._close()

    def ask(self, question: Question[Answer]) -> Callable[[], Answer]:
        """Take note of a question; what this returns gives its answer, for which all questions so far are put."""
        answers: list[Answer] = []
        self._waiting.append(partial(_note, question, answers))

        def answer() -> Answer:
            if not answers:
                self._put()
            return answers[0]

        return answer

    def _put(self) -> None:
        if self._is_worth_it and len(self._waiting) > 1:
            self._is_worth_it = (twin := self._twin or self._open()) is not None
            if twin is not None:
                twin.connection.inc_thread_sharing()
                self._thread = threading.Thread(target=self._help, args=(twin,), name="twin", daemon=True)
                self._thread.start()
        self._work_off(self.engine)
        if self._thread is not None:
            self._thread.join()
            self._work_off(self.engine)

    def _open(self) -> Engine | None:
        with contextlib.suppress(Error, MigratorError):
            self._twin = self.engine.twin()
        return self._twin

    def _close(self) -> None:
        twin, self._twin = self._twin, None
        if twin is not None:
            with contextlib.suppress(Error):
                twin.close()

    def _work_off(self, engine: Engine) -> None:
        while self._waiting:
            try:
                question = self._waiting.popleft()
            except IndexError:  # the twin took the last one
                return
            try:
                question(engine)
            except BaseException:
                self._waiting.appendleft(question)
                raise

    # -- in the thread ------------------------------------------------------------------------------------------

    def _help(self, twin: Engine) -> None:
        with contextlib.suppress(Exception):
            self._work_off(twin)
        if self._is_over:  # nobody has waited for the end
            self._close()
        twin.connection.dec_thread_sharing()


def _note(question: Question[Answer], answers: list[Answer], engine: Engine) -> None:
    answers.append(question(engine))
