"""Work on the shadow that waits for the end of a transaction: what may be rolled back must not be mirrored."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from django.core.signals import request_finished
from django.db import transaction

from .sides import TransitionSide

_waiting = threading.local()


class _Work:
    def __init__(self, sides: tuple[TransitionSide, ...], do: Callable[[], None]) -> None:
        self.sides, self.do = sides, do

    def wait_or_run(self) -> None:
        """Run as soon as no side is in a transaction."""
        for side in self.sides:
            for alias in side.transactions:
                transaction.on_commit(partial(self.wait_or_run), using=alias)
                return
        self.run()

    def run(self) -> None:
        waiting = _list()
        if self in waiting:
            waiting.remove(self)
            self.do()


def _list() -> list[_Work]:
    if not hasattr(_waiting, "work"):
        _waiting.work = []
    found: list[_Work] = _waiting.work
    return found


def after_transactions(do: Callable[[], None], *sides: TransitionSide) -> None:
    """Call ``do`` now, or after the transactions of ``sides`` have ended, by a commit or a rollback.

    After a rollback it is called at the next use of a session in this thread, and at the latest at the end of the
    request or of the process: the other side may hold what this one has lost.
    """
    work = _Work(sides, do)
    _list().append(work)
    work.wait_or_run()


def run_after_ended_transactions() -> None:
    """Do the work that waits for transactions that have ended: Django has no signal for a rollback."""
    for work in list(_list()):
        if not any(side.transactions for side in work.sides):
            work.run()


def run_waiting(**kwargs: Any) -> None:
    """Do all work that still waits."""
    for work in list(_list()):
        work.run()


def _run_at_exit() -> None:
    with suppress(Exception):  # a store may be closed before the process exits
        run_waiting()


request_finished.connect(run_waiting, dispatch_uid="migrator.sessions.transition")
atexit.register(_run_at_exit)
