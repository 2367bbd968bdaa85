"""Work on the shadow put off until a transaction is over, for what may yet be rolled back must not be followed."""

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
        """Run once no side is in a transaction."""
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
    """Do it now, or when the transactions of ``sides`` have ended, in whatever way they end.

    After a rollback it is done at the next use of a session in this thread, and at the latest at the end of the request
    or of the process: the other side may keep what this one has lost.
    """
    work = _Work(sides, do)
    _list().append(work)
    work.wait_or_run()


def run_what_is_over() -> None:
    """Do what still waits for transactions that are over: nothing says that they were rolled back."""
    for work in list(_list()):
        if not any(side.transactions for side in work.sides):
            work.run()


def run_waiting(**kwargs: Any) -> None:
    """Do what still waits."""
    for work in list(_list()):
        work.run()


def _run_at_exit() -> None:
    with suppress(Exception):  # a store may be gone before the process
        run_waiting()


request_finished.connect(run_waiting, dispatch_uid="migrator.sessions.transition")
atexit.register(_run_at_exit)
