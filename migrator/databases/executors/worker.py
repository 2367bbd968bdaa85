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
from .messages import ChunkMessage
from .run_session import RunSession, open_session

logger = logging.getLogger("migrator.worker")
# After how many seconds without a message a worker asks whether its run still wants it.
IDLE_SECONDS = 0.25
# They replace threads by their own, which would share a session.
COOPERATIVE = ("gevent.monkey", "eventlet.patcher")

_of_thread = threading.local()


def carry_out(document: Mapping[str, Any]) -> None:
    """Copy the chunk of a message, unless it is done, taken, or of a run that is over.

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
        self._session: RunSession | None = None

    def carry_out(self, document: Mapping[str, Any]) -> None:
        """Wait until the chunk of a message is copied, or is not."""
        done = threading.Event()
        self._messages.put((document, done))
        done.wait()

    def run(self) -> None:
        while True:
            try:
                document, done = self._messages.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                if self._session is not None and not self._session.is_wanted():
                    self._close()
                continue
            try:
                self._copy(ChunkMessage.from_document(document))
            except Exception as error:
                # Its text may have values of rows; those for people have been reported to the command.
                logger.warning("A chunk was not copied: %s", type(error).__name__)
                self._close()
            finally:
                done.set()

    def _copy(self, message: ChunkMessage) -> None:
        if self._session is not None and self._session.run != message.run:
            self._close()
        if self._session is None:
            self._session = open_session(message, _why_impossible())
        if self._session is not None and not self._session.copy(message):
            self._close()

    def _close(self) -> None:
        if self._session is not None:
            try:
                self._session.close()
            except (Error, MigratorError):
                logger.warning("A session could not be closed.")
            self._session = None


def _why_impossible() -> str | None:
    """Return why this process cannot take part, whatever the run."""
    for name in COOPERATIVE:
        module = sys.modules.get(name)
        is_patched = getattr(module, "is_module_patched", None) or getattr(module, "is_monkey_patched", None)
        if is_patched is not None and is_patched("threading" if name.startswith("gevent") else "thread"):
            return f"its pool is {name.partition('.')[0]}; prefork, solo and threads are possible"
    return None
