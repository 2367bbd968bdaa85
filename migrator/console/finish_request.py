"""A request to finish work that would go on by itself: ENTER at the terminal, or a signal."""

from __future__ import annotations

import contextlib
import select
import signal
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any, TextIO

SIGNAL = signal.SIGUSR1
CHECK_SECONDS = 0.2


@contextlib.contextmanager
def not_yet() -> Iterator[None]:
    """Ignore the signal, which would otherwise end the process, until someone listens to it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(SIGNAL, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(SIGNAL, previous)


class FinishRequest:
    """Hears of the request while it is entered. ``terminal`` is where ENTER is read, ``None`` if no one is there."""

    def __init__(self, terminal: TextIO | None = None) -> None:
        self._terminal = terminal
        self._is_made = False
        self._previous: Any = None

    @classmethod
    def of(cls, *, asks: bool) -> FinishRequest:
        """Listen to standard input if the command may ask there, and to the signal in any case."""
        return cls(sys.stdin if asks else None)

    def __enter__(self) -> FinishRequest:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(SIGNAL, self._note)
        if self._terminal is not None:
            with contextlib.suppress(OSError, ValueError, termios.error):  # it is a pipe
                termios.tcflush(self._terminal, termios.TCIFLUSH)  # an ENTER from before does not count
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._previous is not None:
            signal.signal(SIGNAL, self._previous)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._is_made = True

    @property
    def hears_terminal(self) -> bool:
        """Whether there is a terminal where ENTER is read."""
        return self._terminal is not None

    def wait(self, seconds: float, check: Callable[[], None]) -> bool:
        """Wait for the request for so many seconds at most; return whether it was made. ``check`` is called often."""
        deadline = time.monotonic() + seconds
        while not self._is_made and (left := deadline - time.monotonic()) > 0:
            check()
            if self._terminal is None:
                time.sleep(min(CHECK_SECONDS, left))
            elif select.select([self._terminal], [], [], min(CHECK_SECONDS, left))[0]:
                if self._terminal.readline():
                    self._is_made = True
                else:
                    self._terminal = None  # its end: no one is there any more
        check()
        return self._is_made
