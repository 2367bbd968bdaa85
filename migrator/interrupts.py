"""Signals end a run between two chunks: what runs is committed, nothing new begins."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from .errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """Before anything is written a signal acts at once; after :meth:`defer` the first is only noted.

    :meth:`check` acts on what was noted, and a second signal does so at once.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._defers = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if not self._defers:
            raise Interrupted("Stopped. Nothing was written.", number)
        if self.received is not None:
            raise Interrupted("Stopped at once; the chunk that was being copied was rolled back.", number)
        self.received = number

    def defer(self) -> None:
        """From now on let what is being done come to an end first."""
        self._defers = True

    def check(self) -> None:
        """Raise :exc:`Interrupted` if a signal has come."""
        if self.received is not None:
            raise Interrupted("Stopped after the chunk that was being copied.", self.received)
