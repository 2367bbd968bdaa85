"""Questions to a database, put to two sessions: while one looks through a table, so does the other."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from queue import Empty, PriorityQueue
from types import TracebackType
from typing import Any, Generic, TypeVar

from django.db import Error

from ...errors import MigratorError
from ..engines.base.engine import Engine

HELPED_ROWS = 10_000  # smaller tables are not worth another session
END_SECONDS = 2.0  # for what another session is at, where nobody needs it any more

Answer = TypeVar("Answer")


@dataclass(frozen=True, order=True)
class _Question(Generic[Answer]):
    """A question with its answer, if there is one; ``may_be_later`` tells of a later moment's whether it is enough.

    They are put in the order of their first two values: the longest first, and else as they were asked.
    """

    rank: int
    number: int
    put: Callable[[Engine], Answer] = field(compare=False)
    may_be_later: Callable[[Answer], bool] | None = field(compare=False)
    answers: list[Answer] = field(compare=False, default_factory=list)

    def will_do(self, answer: Answer, *, is_later: bool) -> bool:
        return not is_later or (self.may_be_later is not None and self.may_be_later(answer))


class ParallelQueries:
    """Puts questions to a session and, where the largest table has so many ``rows``, to its twin.

    Nothing depends on the twin: what it fails at is asked in the session itself, which tells the reason. A twin that
    sees a later moment than the session is asked only what may be answered from there.
    """

    def __init__(self, engine: Engine, rows: int = 0) -> None:
        self.engine, self._is_worth_it = engine, rows > HELPED_ROWS
        self._twin: Engine | None = None
        self._own: PriorityQueue[_Question[Any]] = PriorityQueue()
        self._shared: PriorityQueue[_Question[Any]] = PriorityQueue()
        self._numbers = count()
        self._thread: threading.Thread | None = None
        self._is_over = False

    def __enter__(self) -> ParallelQueries:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._own, self._shared = PriorityQueue(), PriorityQueue()
        self._is_over = True
        if self._thread is not None:
            self._thread.join(END_SECONDS)
        if self._thread is None or not self._thread.is_alive():
            self._close()

    def should_halve(self, rows: int) -> bool:
        """Tell whether a question about so many rows is better put as one about each half of them."""
        return rows > HELPED_ROWS and not self.engine.has_later_twin

    def begin(self) -> None:
        """Let the twin begin with the questions so far, while the session itself is busy with something else."""
        if self._thread is None and self._is_worth_it and not self._shared.empty():
            self._is_worth_it = (twin := self._twin or self._open()) is not None
            if twin is not None:
                twin.connection.inc_thread_sharing()
                self._thread = threading.Thread(target=self._help, args=(twin,), name="twin", daemon=True)
                self._thread.start()

    def ask(
        self, put: Callable[[Engine], Answer], rows: int = 0, may_be_later: Callable[[Answer], bool] | None = None
    ) -> Callable[[], Answer]:
        """Take note of a question; what this returns gives its answer, for which all questions so far are put.

        That about the most ``rows`` is put first, so that no session is left with it in the end. ``may_be_later``
        tells of an answer from a later moment whether it will do; where it will not, the session itself is asked as
        well.
        """
        question = _Question(-rows, next(self._numbers), put, may_be_later)
        is_shared = may_be_later is not None or not self.engine.has_later_twin
        (self._shared if is_shared else self._own).put(question)

        def answer() -> Answer:
            if not question.answers:
                self._put()
            return question.answers[0]

        return answer

    def _put(self) -> None:
        if self._own.qsize() + self._shared.qsize() > 1:
            self.begin()
        self._work_off(self.engine)
        if self._thread is not None:
            self._thread.join()
            self._thread = None
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
        while (question := self._take(engine)) is not None:
            try:
                answer = question.put(engine)
            except BaseException:  # whoever wants this answer meets the error, too
                (self._own if engine is self.engine else self._shared).put(question)
                raise
            if engine is self.engine or question.will_do(answer, is_later=self.engine.has_later_twin):
                question.answers.append(answer)
            else:
                self._own.put(question)

    def _take(self, engine: Engine) -> _Question[Any] | None:
        for waiting in (self._own, self._shared) if engine is self.engine else (self._shared,):
            with contextlib.suppress(Empty):
                return waiting.get_nowait()
        return None

    # -- in the thread ------------------------------------------------------------------------------------------

    def _help(self, twin: Engine) -> None:
        with contextlib.suppress(Exception):
            self._work_off(twin)
        if self._is_over:  # nobody has waited for the end
            self._close()
        twin.connection.dec_thread_sharing()
