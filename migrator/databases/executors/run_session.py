"""A worker's sessions to both databases of a run on another host, and the chunks that it copies in them."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from django.db import Error, connections
from django.utils.connection import ConnectionDoesNotExist

from ...conf import Settings, load
from ...console.progress import Progress
from ...errors import MigratorError
from ...processes.workers import leave_pool
from ..copying.load import Load
from ..copying.rejects import RejectedLines, Rejects
from ..copying.retry import Retries
from ..endpoints import Endpoints, open_engine, to_migrator_error, without_secrets
from ..engines.base.engine import Engine
from ..engines.base.errors import SnapshotLost
from ..engines.base.run_locks import MOST_PROCESSES, MOST_WORKERS
from ..journal.journal import ChunkTaken, Journal
from ..journal.records import ReportKind
from ..journal.worker_mail import ChunkName, WorkerMail
from .briefing import Briefing
from .messages import ChunkMessage

# How often a worker reports that it still copies a chunk, in seconds.
ALIVE_SECONDS = 10.0


class RunSession:
    """The sessions of one worker for one run, whose token is ``run``."""

    def __init__(self, run: str, worker: str, load: Load, mail: WorkerMail) -> None:
        self.run, self._worker, self._load, self._mail = run, worker, load, mail
        self._planned = {planned.table.name: planned for planned in load.plan.tables}

    def is_wanted(self) -> bool:
        """Whether the command of the run still exists, and wants workers."""
        dest = self._load.endpoints.dest
        try:
            return dest.has_session() and self._mail.is_wanted() and _is_led(dest)
        except Error:
            return False

    def copy(self, message: ChunkMessage) -> bool:
        """Copy the chunk of a message; return whether this worker can copy more."""
        chunk = message.table, message.chunk
        try:
            if not self._mail.is_wanted():
                return False
            self._mail.report(self._worker, ReportKind.TAKEN, chunk=chunk)
            with _signs_of_life(self._mail, self._worker, chunk):
                self._copy(message)
        except ChunkTaken:  # the message was delivered twice
            return True
        except SnapshotLost as error:
            self._report(ReportKind.CANNOT, chunk, str(error))
            return False
        except MigratorError as error:
            self._report(ReportKind.FAILED, chunk, _document(error))
        except Error as error:
            endpoints = self._load.endpoints
            self._report(
                ReportKind.FAILED, chunk, _document(to_migrator_error(error, (endpoints.dest, endpoints.source)))
            )
        return True

    def _copy(self, message: ChunkMessage) -> None:
        load, source = self._load, self._load.endpoints.source
        if not source.is_intact() and not source.rejoin_snapshot():
            raise source.snapshot_lost()
        record = load.with_retries(lambda: load.journal.chunk(message.table, message.chunk))
        if not record.is_done:
            for _ in load.copy_chunks(self._planned[message.table], [record]):
                pass

    def _report(self, kind: ReportKind, chunk: ChunkName, body: str) -> None:
        """Report to the command; without a connection, the chunk comes back to it when its time is over."""
        with suppress(Error, MigratorError):
            self._load.with_retries(lambda: self._mail.report(self._worker, kind, chunk=chunk, body=body))

    def close(self) -> None:
        """End the sessions."""
        _close((self._load.endpoints.source, self._load.endpoints.dest))


def open_session(message: ChunkMessage, why_impossible: str | None) -> RunSession | None:
    """Open a worker's sessions for the run of a message; return ``None`` if that is over, or cannot be done here.

    The command reads why it cannot be done.
    """
    settings = load()
    worker = f"{socket.gethostname()}:{os.getpid()}:{threading.get_native_id()}"
    opened: list[Engine] = []
    try:
        dest = _open(message.dest)
        opened.append(dest)
        mail = WorkerMail(message.dest, message.run)
        if (text := mail.briefing()) is None:  # before anything is locked that would keep another run out
            _close(opened)
            return None
        try:
            if why_impossible:
                raise MigratorError(why_impossible)
            if session := _join(message, Briefing.from_json(text), mail, worker, settings, opened):
                return session
        except (MigratorError, Error, OSError, TypeError, ValueError) as error:
            with suppress(Error):
                dest.connect()
                mail.report(
                    worker, ReportKind.CANNOT, chunk=(message.table, message.chunk), body=_reason(error, opened)
                )
    except (MigratorError, Error):  # the destination does not answer here
        pass
    except BaseException:
        _close(opened)
        raise
    _close(opened)
    return None


def _join(
    message: ChunkMessage, briefing: Briefing, mail: WorkerMail, worker: str, settings: Settings, opened: list[Engine]
) -> RunSession | None:
    """Open the sessions of a run that wants this worker."""
    dest = opened[0]
    dest.open_destination()
    dest.claim(list(briefing.tables))
    if not _is_led(dest):
        return None
    dest.worker = _free_number(dest)
    dest.remember_session()
    source = _open(message.source)
    opened.append(source)
    source.join_named_snapshot(briefing.snapshot)
    source.remember_session()
    endpoints = Endpoints(source, dest, settings.RETRY_FOR)
    plan = briefing.plan(endpoints)
    progress = _Messages(lambda text: mail.report(worker, ReportKind.MESSAGE, body=text))
    retries = Retries(endpoints, progress, is_ours=mail.is_wanted)
    rejects: Rejects = RejectedLines(lambda lines: mail.reject(worker, lines)) if briefing.skips_rows else Rejects()
    identities = {"dest": dest.session_identity(), "source": source.session_identity()}
    mail.report(worker, ReportKind.JOINED, body=json.dumps(identities | {"number": dest.worker}, default=str))
    journal = Journal(dest.alias, waits=False)
    return RunSession(message.run, worker, Load(plan, journal, rejects, None, retries), mail)


def _open(alias: str) -> Engine:
    """Connect to a database, in a session that ends when it is closed: a pool would keep it, with its locks."""
    with suppress(ConnectionDoesNotExist):
        leave_pool(connections[alias])
    return open_engine(alias)


def _is_led(dest: Engine) -> bool:
    """Whether the command of the run still holds the lock of the destination."""
    own, dest.worker = dest.worker, None
    try:
        return dest.is_locked()
    finally:
        dest.worker = own


def _free_number(dest: Engine) -> int:
    """Take the first lock of a worker that is free, and return its number."""
    taken = dest.workers()
    for number in range(MOST_PROCESSES, MOST_WORKERS):
        dest.worker = number
        if number not in taken and dest.lock():
            return number
    raise MigratorError(f"{MOST_WORKERS - MOST_PROCESSES} workers take part already, which is the most")


@contextmanager
def _signs_of_life(mail: WorkerMail, worker: str, chunk: ChunkName) -> Iterator[None]:
    """Report from time to time, over a connection of its own, that a chunk is being copied."""
    over = threading.Event()

    def report() -> None:
        while not over.wait(ALIVE_SECONDS):
            with suppress(Error):
                WorkerMail(mail.alias, mail.token).report(worker, ReportKind.ALIVE, chunk=chunk)
            connections[mail.alias].close()

    thread = threading.Thread(target=report, name="migrator-alive", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class _Messages(Progress):
    """Sends messages to the command; progress is what the journal has."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report

    def message(self, text: str) -> None:
        with suppress(Error):
            self._report(text.strip())


def _document(error: MigratorError) -> str:
    return json.dumps({"kind": type(error).__name__, "message": error.message, "steps": error.steps})


def _reason(error: BaseException, opened: Sequence[Engine]) -> str:
    """Return the reason for people, without a password."""
    text = str(error) if isinstance(error, MigratorError) else type(error).__name__
    if isinstance(error, Error):
        text = str(to_migrator_error(error, opened))
    for engine in opened:
        text = without_secrets(text, engine.alias)
    return text


def _close(engines: Sequence[Engine]) -> None:
    for engine in engines:
        with suppress(Error):
            engine.close()
