"""A worker's sessions to both databases of a run on another host: it copies chunks and compares ranges in them."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

from django.db import Error, connections

from ...conf import Settings, load
from ...console.progress import Progress
from ...errors import MigratorError
from ..copying.load import Load
from ..copying.rejects import RejectedLines, Rejects
from ..copying.retry import Retries
from ..endpoints import Endpoints, to_migrator_error, without_secrets
from ..engines.base.engine import Engine
from ..engines.base.errors import SnapshotLost
from ..engines.base.run_locks import MOST_PROCESSES, MOST_WORKERS
from ..journal.journal import ChunkTaken, Journal
from ..journal.records import ReportKind
from ..journal.worker_mail import PartName, WorkerMail
from ..verification.contents import Pairing
from ..verification.table_comparison import TableComparison
from .briefing import Briefing
from .enlistment import EnlistedSource
from .messages import ChunkMessage, CompareMessage, PartMessage
from .own_sessions import close_all, open_own

# How often a worker reports that it is still busy, in seconds.
ALIVE_SECONDS = 10.0


class RunSession:
    """The sessions of one worker for one run, whose token is ``run``."""

    def __init__(self, run: str, worker: str, load: Load, mail: WorkerMail) -> None:
        self.run, self._worker, self._load, self._mail = run, worker, load, mail
        self._planned = {planned.table.name: planned for planned in load.plan.tables}
        self._comparisons: dict[tuple[str, bool], TableComparison] = {}

    def is_wanted(self) -> bool:
        """Whether the command of the run still exists, and wants workers."""
        dest = self._load.endpoints.dest
        try:
            return dest.has_session() and self._mail.is_wanted() and _is_led(dest)
        except Error:
            return False

    def carry_out(self, message: PartMessage) -> bool:
        """Copy or compare what a message says; return whether this worker can do more."""
        part = message.part
        try:
            if not self._mail.is_wanted():
                return False
            self._mail.report(self._worker, ReportKind.TAKEN, part=part)
            with _signs_of_life(self._mail, self._worker, part):
                self._keep_snapshot()
                if isinstance(message, ChunkMessage):
                    self._copy(message)
                else:
                    self._compare(message)
        except ChunkTaken:  # the message was delivered twice
            return True
        except SnapshotLost as error:
            self._report(ReportKind.CANNOT, part, str(error))
            return False
        except MigratorError as error:
            self._report(ReportKind.FAILED, part, _document(error))
        except Error as error:
            endpoints = self._load.endpoints
            self._report(
                ReportKind.FAILED, part, _document(to_migrator_error(error, (endpoints.dest, endpoints.source)))
            )
        return True

    def _keep_snapshot(self) -> None:
        source = self._load.endpoints.source
        if not source.is_intact() and not source.rejoin_snapshot():
            raise source.snapshot_lost()

    def _compare(self, message: CompareMessage) -> None:
        """Compare a range, and report how many rows are equal.

        If some may differ, only that is reported: the command finds out which, so that no value has to travel.
        """
        load, planned = self._load, self._planned[message.table]
        if (bounds := load.with_retries(lambda: self._mail.asked(message.part))) is None:
            return
        key = message.table, message.with_generated
        if key not in self._comparisons:
            pairing = Pairing.of(planned, with_generated=message.with_generated)
            self._comparisons[key] = TableComparison(pairing, 0)
        found = load.with_retries(lambda: self._comparisons[key].of_range(bounds))
        is_equal = not (found.differing or found.reason)
        numbers = {name: getattr(found, name) for name in ("checked", "equivalent", "seconds")}
        self._report(ReportKind.COMPARED, message.part, json.dumps(numbers if is_equal else None))

    def _copy(self, message: ChunkMessage) -> None:
        load = self._load
        record = load.with_retries(lambda: load.journal.chunk(message.table, message.chunk))
        if not record.is_done:
            for _ in load.copy_chunks(self._planned[message.table], [record]):
                pass

    def _report(self, kind: ReportKind, part: PartName, body: str) -> None:
        """Report to the command; without a connection, the chunk comes back to it when its time is over."""
        with suppress(Error, MigratorError):
            self._load.with_retries(lambda: self._mail.report(self._worker, kind, part=part, body=body))

    def close(self) -> None:
        """End the sessions."""
        close_all((self._load.endpoints.source, self._load.endpoints.dest))


def open_session(
    message: PartMessage, why_impossible: str | None, enlisted: EnlistedSource | None
) -> RunSession | None:
    """Open a worker's sessions for the run of a message; return ``None`` if that is over, or cannot be done here.

    The command reads why it cannot be done. ``enlisted`` is the source's session if it was opened before.
    """
    settings = load()
    worker = f"{socket.gethostname()}:{os.getpid()}:{threading.get_native_id()}"
    opened: list[Engine] = []
    try:
        dest = open_own(message.dest)
        opened.append(dest)
        mail = WorkerMail(message.dest, message.run)
        if (text := mail.briefing()) is None:  # before anything is locked that would keep another run out
            close_all(opened)
            return None
        try:
            if why_impossible:
                raise MigratorError(why_impossible)
            if session := _join(message, Briefing.from_json(text), mail, worker, settings, opened, enlisted):
                return session
        except (MigratorError, Error, OSError, TypeError, ValueError) as error:
            with suppress(Error):
                dest.connect()
                mail.report(worker, ReportKind.CANNOT, part=message.part, body=_reason(error, opened))
    except (MigratorError, Error):  # the destination does not answer here
        pass
    except BaseException:
        close_all(opened)
        raise
    close_all(opened)
    return None


def _join(
    message: PartMessage,
    briefing: Briefing,
    mail: WorkerMail,
    worker: str,
    settings: Settings,
    opened: list[Engine],
    enlisted: EnlistedSource | None,
) -> RunSession | None:
    """Open the sessions of a run that wants this worker."""
    dest = opened[0]
    dest.open_destination()
    dest.claim(list(briefing.tables))
    if not _is_led(dest):
        return None
    dest.worker = _free_number(dest)
    dest.remember_session()
    source = enlisted.engine if enlisted else open_own(message.source)
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
def _signs_of_life(mail: WorkerMail, worker: str, part: PartName) -> Iterator[None]:
    """Report from time to time, over a connection of its own, that this worker is still busy with a chunk or range."""
    over = threading.Event()

    def report() -> None:
        while not over.wait(ALIVE_SECONDS):
            with suppress(Error):
                WorkerMail(mail.alias, mail.token).report(worker, ReportKind.ALIVE, part=part)
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
