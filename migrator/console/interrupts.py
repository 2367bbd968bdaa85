"""Signals end a run between two chunks, and a copy between two pages: work in progress is committed first."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any

from ..errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE_SECONDS = 1.0
RUN_AGAIN = "What was written stays. Run the same command again to continue."
UNWRITTEN = "Stopped. Nothing was written."
AT_ONCE = "Stopped at once. What was not committed is rolled back."


class AtOnce(KeyboardInterrupt):
    """A signal that acts at once; not an :exc:`Exception`, so no handler of bad rows or lost connections catches it."""

    def __init__(self, text: str, number: int) -> None:
        super().__init__(text)
        self.number = number


@contextlib.contextmanager
def raising_interrupted() -> Iterator[None]:
    """Convert such a signal, or the error that cleaning up after it raised, into :exc:`Interrupted`."""
    try:
        yield
    except BaseException as error:
        interruption = _interruption(error)
        if interruption is None or interruption is error:
            raise
        raise interruption from None


def _interruption(error: BaseException | None, advice: str = "") -> Interrupted | None:
    """Return the interruption that an error is, or that caused it; or ``None``."""
    while error is not None and not isinstance(error, Interrupted):
        if isinstance(error, AtOnce):
            return Interrupted(str(error), error.number, steps=advice.splitlines())
        error = error.__context__
    return error


class Interrupts:
    """Before the first write a signal acts at once; after :meth:`defer` the first one is only recorded.

    :meth:`check` acts on a recorded signal, and a second signal acts at once: by an exception, or, while a database
    driver waits and no Python code can run, by ending the process, which makes the server roll back. Signals that the
    process was started to ignore (``nohup``) stay ignored.
    """

    ends_process = False  # while a command runs: after an interruption, signals are ignored until its message is out

    def __init__(self) -> None:
        self.received: int | None = None
        self.advice = ""
        self._defers = False
        # Called by each check, in the process that made this object.
        self.beat: Callable[[], None] = lambda: None
        self._process = os.getpid()
        self._is_over = False
        self._late: int | None = None
        self._previous: dict[int, Any] = {}
        self._wakeup: tuple[socket.socket, socket.socket] | None = None
        self._previous_wakeup = -1

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, self._note)
            self._watch()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over = True  # from here on no signal raises, so that all of this runs
        interruption = _interruption(error, self.advice)
        for number, handler in self._previous.items():
            signal.signal(number, signal.SIG_IGN if interruption and Interrupts.ends_process else handler)
        if self._wakeup:
            signal.set_wakeup_fd(self._previous_wakeup)
            self._wakeup[1].close()  # which also ends the thread
        if interruption and interruption is not error:
            raise interruption from None
        if self._late is not None and not interruption:
            signal.raise_signal(self._late)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._is_over:
            self._late = number
            return
        if not self._defers:
            raise AtOnce(UNWRITTEN, number)
        if self.received is not None:
            raise AtOnce(AT_ONCE, number)
        self.received = number

    def _watch(self) -> None:
        """Start a thread that hears of signals, too: the interpreter writes their numbers even while a driver waits.

        See ``signal.set_wakeup_fd`` (docs.python.org/3/library/signal.html).
        """
        listening, writing = self._wakeup = socket.socketpair()
        writing.setblocking(False)
        self._previous_wakeup = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._listen, args=(listening,), name="signals", daemon=True).start()

    def _listen(self, listening: socket.socket) -> None:
        with listening:
            heard = 0
            while data := listening.recv(1):
                heard += data[0] in SIGNALS
                if heard < (2 if self._defers else 1):
                    continue
                listening.settimeout(GRACE_SECONDS)
                try:
                    while listening.recv(1):
                        pass
                except TimeoutError:
                    text = AT_ONCE if self._defers else UNWRITTEN
                    with contextlib.suppress(OSError):  # its reader is gone
                        if sys.__stderr__ is not None:  # otherwise its descriptor may be a database's by now
                            os.write(sys.__stderr__.fileno(), f"{text}\n{self.advice}\n".encode())
                    os._exit(128 + data[0])
                return

    def defer(self, advice: str) -> None:
        """From now on complete the work in progress first; ``advice`` says how to continue after an interruption."""
        self._defers, self.advice = True, advice

    def check(self) -> None:
        """Raise :exc:`Interrupted` if a signal was received."""
        if self.received is not None:
            raise Interrupted("Stopped after the chunk that was being copied.", self.received)
        if os.getpid() == self._process:
            self.beat()


@contextlib.contextmanager
def stopping_between_pages() -> Iterator[Callable[[], None]]:
    """Return a function to call between pages, which raises :exc:`Interrupted` after a signal."""
    with Interrupts() as interrupts:
        interrupts.defer(RUN_AGAIN)
        try:
            with raising_interrupted():
                yield interrupts.check
        except Interrupted as error:
            raise Interrupted(f"{error} {RUN_AGAIN}", error.exit_code - 128) from error
