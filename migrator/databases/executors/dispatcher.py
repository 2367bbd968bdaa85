"""The command's side of workers on other hosts: it sends them chunks, and reads in the destination how these end.

A message is a hint. The state of a chunk's record decides whether it is done, and a chunk without a sign of life goes
to another worker. So does a range of keys that is to be compared, of which a worker reports whether the rows are equal.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from django.db import Error

from ... import errors
from ...console.safe_text import visible
from ...console.wording import plural
from ...errors import MigratorError
from ...processes.workers import Event, WorkerEvent
from ..copying.load import Load
from ..engines.base.session import Row
from ..journal.records import ReportKind, WorkerReport
from ..journal.worker_mail import PartName, WorkerMail
from ..parallel.worker_tasks import CopyChunk, KeyRange
from ..verification.contents import Differences
from .briefing import Briefing
from .brokers import Broker, NotSent
from .messages import ChunkMessage, CompareMessage, PartMessage

# Seats are numbered above all processes and workers.
FIRST_SEAT = 1000
# Before any has joined; chunks are cut so that so many have enough of them.
EXPECTED_WORKERS = 8
FIRST_SEATS = 4
# So that a worker finds its next chunk in the queue.
SEATS_PER_WORKER = 2
POLL_SECONDS = 0.05
# Without a sign of life for so long, a chunk is given to someone else.
LEASE_SECONDS = 30.0
# For so long, a seat is given nothing after a worker that cannot take part, or a message that was not sent.
HOLD_SECONDS = 5.0
# How often it is asked whose sessions have ended: a worker that is missing twice was killed.
PRESENCE_SECONDS = 1.0
LEAVE_SECONDS = 3.0


@dataclass
class _Sent:
    """A chunk or range that was sent; its last sign of life, when it was taken, and by whom."""

    part: PartName
    sign: float
    taken: float | None = None
    worker: str | None = None


@dataclass(frozen=True)
class _Joined:
    """A worker that takes part: its number, and its sessions in both databases."""

    number: int
    dest: Row | None
    source: Row | None


class Dispatcher:
    """Seats for what workers on other hosts do: each has one chunk or range at a time. Leaving the context ends them.

    There are as many as the workers that have joined can be given.
    """

    def __init__(self, load: Load, broker: Broker) -> None:
        self._load, self._broker = load, broker
        self._endpoints = load.endpoints
        self._mail = WorkerMail(load.endpoints.dest.alias, broker.run)
        self._sent: dict[int, _Sent] = {}
        # Seats that are given nothing until then.
        self._held: dict[int, float] = {}
        # What has happened, until it is returned: a database error in between loses none of it.
        self._events: list[Event] = []
        self._kept: set[int] = set()
        self._joined: dict[str, _Joined] = {}
        self._next_poll = self._next_presence = 0.0
        self._missing: set[str] = set()
        self._seats = 0
        self._warnings: set[str] = set()
        self._ranges = 0
        self._answered = 0
        self._is_open = self._is_withdrawn = False

    def __enter__(self) -> Dispatcher:
        snapshot = self._endpoints.source.snapshot_name
        if snapshot is None:
            raise MigratorError(f"The snapshot of {self._endpoints.source.alias!r} has no name that workers could use.")
        body = Briefing.of(self._load.plan, snapshot).to_json()
        self._load.with_retries(lambda: self._mail.open(body))
        with suppress(NotSent):
            self._answered = self._broker.processes() or 0
        self._is_open = True
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    @property
    def numbers(self) -> set[int]:
        """The numbers of the seats."""
        return set(range(FIRST_SEAT, FIRST_SEAT + self._seats))

    @property
    def idle(self) -> set[int]:
        """The seats that have nothing and are not held."""
        return self.numbers - self._sent.keys() - self._held.keys()

    def assign(self, number: int, task: CopyChunk | KeyRange) -> None:
        """Send a chunk or range to the workers, whichever takes it."""
        message = self._message(task)
        self._sent[number] = _Sent(message.part, time.monotonic())
        try:
            self._broker.send(message)
        except NotSent as error:
            self._warn(f"A message to the workers was not sent ({error}). This is tried again.")
            self._lose(number, HOLD_SECONDS)

    def _message(self, task: CopyChunk | KeyRange) -> PartMessage:
        ends = self._mail.token, self._endpoints.source.alias, self._endpoints.dest.alias
        if isinstance(task, CopyChunk):
            return ChunkMessage(*ends, task.table, task.chunk)
        self._ranges += 1
        # Below zero, so that no late message about a chunk can be taken for one about a range.
        message = CompareMessage(*ends, task.table, -self._ranges, task.with_generated)
        self._load.with_retries(lambda: self._mail.ask(message.part, task.bounds))
        return message

    def events(self) -> list[Event]:
        """Return what has become of the chunks since the last call."""
        now = time.monotonic()
        self._offer_seats(now)
        if now >= self._next_poll:
            self._next_poll = now + POLL_SECONDS
            self._load.with_retries(self._poll)
        events, self._events = self._events, []
        return events

    def recall(self) -> list[Event]:
        """Withdraw the chunks that were not taken, because the work is to end, and return :meth:`events`."""
        if not self._is_withdrawn:
            self._load.with_retries(self._mail.withdraw)
            self._is_withdrawn = True
        for seat, sent in list(self._sent.items()):
            if sent.worker is None:
                self._lose(seat)
        return self.events()

    def close(self) -> None:
        """Withdraw the briefing, and end the sessions of workers that do not end them by themselves."""
        if not self._is_open:
            return
        self._is_open, self._seats = False, 0
        with suppress(Error, MigratorError):
            self._load.with_retries(self._mail.withdraw)
            self._read_reports()
            deadline = time.monotonic() + LEAVE_SECONDS
            while (staying := self._staying()) and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
            for joined in staying:
                self._end_sessions(joined)
            if self._load.plan.updates:  # otherwise the record of the run takes its tables along
                self._mail.forget()

    def _staying(self) -> list[_Joined]:
        present = self._endpoints.dest.workers()
        return [joined for joined in self._joined.values() if joined.number in present]

    def _end_sessions(self, joined: _Joined) -> None:
        for engine, identity in ((self._endpoints.dest, joined.dest), (self._endpoints.source, joined.source)):
            if identity is not None:
                with suppress(Error):
                    engine.end_session(identity)

    # -- what becomes of the chunks -----------------------------------------------------------------------------

    def _offer_seats(self, now: float) -> None:
        workers = max(len(self._joined), self._answered)
        wanted = max(FIRST_SEATS, SEATS_PER_WORKER * workers) if self._is_open else 0
        free = [seat for seat, until in self._held.items() if until <= now]
        for seat in free:
            del self._held[seat]
        new = range(FIRST_SEAT + self._seats, FIRST_SEAT + wanted)
        self._events += (Event(seat, WorkerEvent.READY) for seat in (*free, *new))
        self._seats = max(self._seats, wanted)

    def _poll(self) -> None:
        done = self._mail.counts_of_done([sent.part for sent in self._sent.values() if sent.part[1] >= 0])
        if self._load.rejects.skips_rows:
            self._keep_rejected([chunk for chunk, counts in done.items() if counts.rows_rejected])
        self._read_reports()
        for seat, sent in list(self._sent.items()):
            if (counts := done.get(sent.part)) is not None:
                counts.writing = time.monotonic() - (sent.taken or sent.sign)
                del self._sent[seat]
                self._events.append(Event(seat, WorkerEvent.DONE, counts))
        self._take_back_from_killed_workers()
        self._take_back_without_signs_of_life()

    def _keep_rejected(self, chunks: Collection[PartName]) -> None:
        """Write rows to the reject file before their chunks count as done."""
        rejected = self._mail.rejected(chunks)
        for report in rejected:
            if report.pk not in self._kept:
                self._load.rejects.keep(report.body)
                self._kept.add(report.pk)
        self._mail.delete(rejected)

    def _read_reports(self) -> None:
        reports = self._mail.reports()
        for report in reports:
            self._handle(report)
        self._mail.delete(reports)

    def _handle(self, report: WorkerReport) -> None:
        host = report.worker.partition(":")[0]
        seat = self._seat_of(report)
        match report.kind:
            case ReportKind.JOINED:
                self._join(report, host)
            case ReportKind.TAKEN | ReportKind.ALIVE if seat is not None:
                sent, now = self._sent[seat], time.monotonic()
                # Of a message that was delivered twice, both workers report that they begin, and one that it copies.
                if sent.worker is None or report.kind == ReportKind.ALIVE:
                    sent.worker, sent.taken = report.worker, sent.taken or now
                if sent.worker == report.worker:
                    sent.sign = now
            case ReportKind.MESSAGE:
                self._load.progress.message(visible(f"  {host}: {report.body}"))
            case ReportKind.COMPARED if seat is not None:
                del self._sent[seat]
                self._events.append(Event(seat, WorkerEvent.DONE, _equal_rows(report.body)))
            case ReportKind.FAILED if seat is not None and self._sent[seat].worker == report.worker:
                del self._sent[seat]
                self._events.append(Event(seat, WorkerEvent.FAILED, _error_of(report.body)))
            case ReportKind.CANNOT:
                self._warn(f"A worker on {host} cannot take part: {report.body}")
                if seat is not None and self._sent[seat].worker in (None, report.worker):
                    self._lose(seat, HOLD_SECONDS)

    def _seat_of(self, report: WorkerReport) -> int | None:
        """Return the seat of the chunk or range that a report is about."""
        part = report.table, report.number
        return next((seat for seat, sent in self._sent.items() if sent.part == part), None)

    def _join(self, report: WorkerReport, host: str) -> None:
        document = json.loads(report.body)
        identities = [tuple(document[name]) if document[name] else None for name in ("dest", "source")]
        if report.worker in self._joined:
            return
        self._joined[report.worker] = _Joined(document["number"], *identities)
        self._load.progress.message(visible(f"  {plural(len(self._joined), 'worker')} joined, the last one on {host}."))

    def _take_back_from_killed_workers(self) -> None:
        """Take back the chunks of workers whose sessions the server has ended, which have rolled back."""
        now = time.monotonic()
        if now < self._next_presence or not self._joined:
            return
        self._next_presence = now + PRESENCE_SECONDS
        present = self._endpoints.dest.workers()
        missing = {name for name, joined in self._joined.items() if joined.number not in present}
        for name in missing & self._missing:
            del self._joined[name]
            for seat, sent in list(self._sent.items()):
                if sent.worker == name:
                    self._lose(seat)
        self._missing = missing & self._joined.keys()

    def _take_back_without_signs_of_life(self) -> None:
        """Take back chunks without a sign of life, after ending the sessions that would keep them locked."""
        now = time.monotonic()
        for seat, sent in list(self._sent.items()):
            if now - sent.sign < LEASE_SECONDS:
                continue
            if sent.worker is None:
                self._warn(f"No worker has taken a chunk for {LEASE_SECONDS:.0f} s. {self._broker.advice}")
                self._lose(seat, LEASE_SECONDS)
                continue
            if joined := self._joined.get(sent.worker):
                self._end_sessions(joined)
                self._wait_for_end_of(joined)
                del self._joined[sent.worker]
            self._lose(seat)

    def _wait_for_end_of(self, joined: _Joined) -> None:
        deadline = time.monotonic() + LEAVE_SECONDS
        while joined.number in self._endpoints.dest.workers() and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)

    def _lose(self, seat: int, hold: float = 0.0) -> None:
        """Take the chunk of a seat back; the seat is given nothing for so many seconds."""
        self._held[seat] = time.monotonic() + hold
        is_taken = self._sent.pop(seat).worker is not None
        self._events.append(Event(seat, WorkerEvent.LOST, is_taken and not hold))

    def _warn(self, text: str) -> None:
        """Show a warning once."""
        if text not in self._warnings:
            self._warnings.add(text)
            self._load.progress.message(visible(f"  {text}"))


def _equal_rows(text: str) -> Differences | None:
    """Return what a worker has found in a range whose rows are equal; ``None`` if they may differ."""
    document: Mapping[str, Any] | None = json.loads(text)
    return None if document is None else Differences(**document)


def _error_of(text: str) -> MigratorError:
    """Return the error that a worker has reported, with the exit code of its class."""
    document: Mapping[str, Any] = json.loads(text)
    kind = getattr(errors, document["kind"], MigratorError)
    if kind not in (errors.DataRejected, errors.Refused):
        kind = MigratorError
    error: MigratorError = kind(document["message"], steps=document["steps"])
    return error
