"""The worker's side: a message becomes a chunk that is copied, in sessions that outlive the message.

The code that delivers messages may close the connections of its thread around each, as Celery does for Django
(``celery/fixups/django.py``). Django would silently open another session, outside of the snapshot. So the sessions of a
run belong to a thread of their own, one for each thread that delivers messages.
"""

from __future__ import annotations

import logging
import queue
import sys
import threading
from collections.abc import Mapping
from typing import Any

from django.db import Error

from ...errors import MigratorError
from .enlistment import EnlistedSource, enlist
from .messages import JoinMessage, PartMessage, message_of
from .run_session import RunSession, open_session

logger = logging.getLogger("migrator.worker")
# After how many seconds without a message a worker asks whether its run still wants it: then less and less often.
IDLE_SECONDS, LONGEST_IDLE_SECONDS = 0.25, 1.0
# They replace threads by their own, which would share a session.
COOPERATIVE = ("gevent.monkey", "eventlet.patcher")

_of_thread = threading.local()


def carry_out(document: Mapping[str, Any]) -> None:
    """Begin the snapshot of a message's run, or copy its chunk unless that is done, taken, or of a run that is over.

    It returns nothing and never raises: what became of the chunk is in the destination.
    """
    thread: _SessionThread | None = getattr(_of_thread, "sessions", None)
    if thread is None or not thread.is_alive():
        thread = _of_thread.sessions = _SessionThread()
        thread.start()
    thread.carry_out(document)


class _SessionThread(threading.Thread):
    """Has the sessions of one run at a time, and closes them when that run no longer wants them."""

    def __init__(self) -> None:
        super().__init__(name="migrator", daemon=True)
        self._messages: queue.Queue[tuple[Mapping[str, Any], threading.Event]] = queue.Queue()
        # In this order: an enlisted session becomes the source's of a run.
        self._enlisted: EnlistedSource | None = None
        self._session: RunSession | None = None

    def carry_out(self, document: Mapping[str, Any]) -> None:
        """Wait until a message has had its effect, if any."""
        done = threading.Event()
        self._messages.put((document, done))
        done.wait()

    def run(self) -> None:
        idle = IDLE_SECONDS
        while True:
            try:
                document, done = self._messages.get(timeout=idle)
            except queue.Empty:
                idle = min(2 * idle, LONGEST_IDLE_SECONDS)
                if not self._is_wanted():
                    self._close()
                continue
            idle = IDLE_SECONDS
            try:
                match message_of(document):
                    case JoinMessage() as message:
                        self._enlist(message)
                    case message:
                        self._carry_out(message)
            except Exception as error:
                # Its text may have values of rows; those for people have been reported to the command.
                logger.warning("A message had no effect: %s", type(error).__name__)
                self._close()
            finally:
                done.set()

    def _is_wanted(self) -> bool:
        """Whether the sessions are wanted; True without any."""
        current = self._session or self._enlisted
        return current is None or current.is_wanted()

    def _is_free_for(self, run: str) -> bool:
        """Whether this thread can work for a run: it closes those of another, unless they cannot be replaced."""
        current = self._session or self._enlisted
        if current is not None and current.run != run:
            if self._enlisted is not None and current.is_wanted():
                return False
            self._close()
        return True

    def _enlist(self, message: JoinMessage) -> None:
        if self._is_free_for(message.run) and self._enlisted is None and self._session is None:
            self._enlisted = enlist(message, _why_impossible())

    def _carry_out(self, message: PartMessage) -> None:
        if not self._is_free_for(message.run):
            return
        if self._session is None:
            self._session = open_session(message, _why_impossible(), self._enlisted)
        if self._session is None or not self._session.carry_out(message):
            self._close()

    def _close(self) -> None:
        for opened in (self._session, self._enlisted):
            if opened is not None:
                try:
                    opened.close()
                except (Error, MigratorError):
                    logger.warning("A session could not be closed.")
        self._session = self._enlisted = None


def _why_impossible() -> str | None:
    """Return why this process cannot take part, whatever the run."""
    for name in COOPERATIVE:
        module = sys.modules.get(name)
        is_patched = getattr(module, "is_module_patched", None) or getattr(module, "is_monkey_patched", None)
        if is_patched is not None and is_patched("threading" if name.startswith("gevent") else "thread"):
            return f"its pool is {name.partition('.')[0]}; prefork, solo and threads are possible"
    return None
