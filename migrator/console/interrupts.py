"""Signals end a run between two chunks, and a copy between two pages: what runs is committed, nothing new begins."""

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
HOW_TO_GO_ON = "What was written stays; run the same command again."
AT_ONCE = "Stopped at once; what was not committed is rolled back."


class AtOnce(KeyboardInterrupt):
    """A signal that does not wait: nothing on its way that looks for bad rows or lost links may take it for one."""

    def __init__(self, words: str, number: int) -> None:
        super().__init__(words)
        self.number = number


@contextlib.contextmanager
def telling_plainly() -> Iterator[None]:
    """Turn such a signal, or the error that cleaning up after it made, into :exc:`Interrupted`."""
    try:
        yield
    except BaseException as error:
        told = _interruption(error)
        if told is None or told is error:
            raise
        raise told from None


def _interruption(error: BaseException | None, last_words: str = "") -> Interrupted | None:
    """Find the interruption that an error is, or that led to it."""
    while error is not None and not isinstance(error, Interrupted):
        if isinstance(error, AtOnce):
            return Interrupted(f"{error}\n{last_words}".rstrip(), error.number)
        error = error.__context__
    return error


class Interrupts:
    """Before anything is written a signal acts at once; after :meth:`defer` the first is only noted.

    :meth:`check` acts on what was noted, and a second signal does so at once: by an exception, or, while a database
    driver waits and lets no Python code run, by ending the process, which lets the server roll back. Signals that the
    process was started to ignore (`nohup`) stay ignored.
    """

    ends_process = False  # while a command runs that ends it: then nothing may cut off what an interrupted one says

    def __init__(self) -> None:
        self.received: int | None = None
        self.last_words = ""
        self._defers = False
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
        self._is_over = True  # from here on no signal raises, so that all of this is done
        told = _interruption(error, self.last_words)
        for number, handler in self._previous.items():
            signal.signal(number, signal.SIG_IGN if told and Interrupts.ends_process else handler)
        if self._wakeup:
            signal.set_wakeup_fd(self._previous_wakeup)
            self._wakeup[1].close()  # which also ends the thread
        if told and told is not error:
            raise told from None
        if self._late is not None and not told:
            signal.raise_signal(self._late)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._is_over:
            self._late = number
            return
        if not self._defers:
            raise AtOnce("Stopped. Nothing was written.", number)
        if self.received is not None:
            raise AtOnce(AT_ONCE, number)
        self.received = number

    def _watch(self) -> None:
        """Let a thread hear of signals too: the interpreter writes their numbers even while the driver waits."""
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
                    words = AT_ONCE if self._defers else "Stopped. Nothing was written."
                    with contextlib.suppress(OSError):  # nobody reads it
                        if sys.__stderr__ is not None:  # else what is written there may be a database by now
                            os.write(sys.__stderr__.fileno(), f"{words}\n{self.last_words}\n".encode())
                    os._exit(128 + data[0])
                return

    def defer(self, last_words: str) -> None:
        """From now on let what is being done come to an end first; ``last_words`` tell how to go on after that."""
        self._defers, self.last_words = True, last_words

    def check(self) -> None:
        """Raise :exc:`Interrupted` if a signal has come."""
        if self.received is not None:
            raise Interrupted("Stopped after the chunk that was being copied.", self.received)


@contextlib.contextmanager
def stopping_between_pages() -> Iterator[Callable[[], None]]:
    """Give a function to call between pages, which raises :exc:`Interrupted` once a signal has come."""
    with Interrupts() as interrupts:
        interrupts.defer(HOW_TO_GO_ON)
        try:
            with telling_plainly():
                yield interrupts.check
        except Interrupted as error:
            raise Interrupted(f"{error} {HOW_TO_GO_ON}", error.exit_code - 128) from error
