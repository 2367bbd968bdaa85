"""What the command of a run and its workers on other hosts exchange, through the destination of the run."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.db.models.query import QuerySet

from ..chunks import Bounds
from ..primary_keys import decode_key, encode_key
from ..row_counts import RowCounts
from .records import Briefing, Chunk, ChunkState, ReportKind, WorkerReport
from .tables import JournalTables

PAGE = 1000

# A table and the number of one of its chunks, or below zero that of a range that is compared.
PartName = tuple[str, int]


class WorkerMail(JournalTables):
    """The briefing of one run, which its ``token`` distinguishes from all others, and the reports of its workers.

    Tokens are never used again, so that a message of an earlier run finds no briefing.
    """

    def __init__(self, alias: str, token: str) -> None:
        super().__init__(alias)
        self.token = token

    # -- the command --------------------------------------------------------------------------------------------

    def open(self, body: str) -> None:
        """Create the tables if they are missing, and publish the briefing in place of any earlier one."""
        present = self._present()
        with transaction.atomic(using=self.alias), self._connection.cursor() as cursor:
            self._create(cursor, [one for one in (Briefing, WorkerReport) if one._meta.db_table not in present])
            self._delete(Briefing)
            self._briefings().bulk_create([Briefing(token=self.token, body=body)])

    def withdraw(self) -> None:
        """Withdraw the briefing: workers end their sessions, and a message that is delivered later has no effect."""
        self._delete(Briefing)

    def reports(self) -> list[WorkerReport]:
        """Return the reports of this run's workers in their order, without rejected rows and ranges.

        Those that were read have to be deleted: a report may become visible after one with a higher key, so the keys do
        not say which are new.
        """
        of_run = self._reports().filter(token=self.token).exclude(kind__in=(ReportKind.REJECTED, ReportKind.RANGE))
        return list(of_run.order_by("id")[:PAGE])

    def counts_of_done(self, chunks: Collection[PartName]) -> dict[PartName, RowCounts]:
        """Return what was copied of those chunks that are committed."""
        found: dict[PartName, RowCounts] = {}
        if chunks:
            of_all: QuerySet[Chunk] = QuerySet(Chunk, using=self.alias)
            for chunk in of_all.filter(_any_of(chunks), state=ChunkState.DONE):
                found[chunk.table, chunk.number] = chunk.counts()
        return found

    def rejected(self, chunks: Collection[PartName]) -> list[WorkerReport]:
        """Return the rows that workers have rejected in chunks that are committed."""
        return list(self._reports().filter(_any_of(chunks), kind=ReportKind.REJECTED)) if chunks else []

    def rejected_before(self) -> list[WorkerReport]:
        """Return all rows that workers have rejected and no command has written to its file."""
        if WorkerReport._meta.db_table not in self._present():
            return []
        return list(self._reports().filter(kind=ReportKind.REJECTED).order_by("id"))

    def delete(self, reports: Sequence[WorkerReport]) -> None:
        """Delete reports that have been read."""
        for start in range(0, len(reports), PAGE):
            keys = ", ".join(str(report.pk) for report in reports[start : start + PAGE])
            self._delete(WorkerReport, f" WHERE id IN ({keys})")

    def ask(self, part: PartName, bounds: Bounds) -> None:
        """Keep a range of keys that is to be compared: a message has its number, and no keys."""
        table, number = part
        body = json.dumps([encode_key(bounds.lower), encode_key(bounds.upper)])
        report: Any = WorkerReport(
            token=self.token, worker="", kind=ReportKind.RANGE, table=table, number=number, body=body
        )
        self._reports().bulk_create([report])

    def forget(self) -> None:
        """Drop the tables: no record of a run is left that would take them along."""
        present = self._present()
        with transaction.atomic(using=self.alias), self._connection.cursor() as cursor:
            for model in (WorkerReport, Briefing):
                if model._meta.db_table in present:
                    cursor.execute(f"DROP TABLE {self._quoted(model)}")

    # -- a worker -----------------------------------------------------------------------------------------------

    def briefing(self) -> str | None:
        """Return the briefing of this run; ``None`` if its command no longer wants workers, or never did."""
        if Briefing._meta.db_table not in self._present():
            return None
        return self._briefings().filter(token=self.token).values_list("body", flat=True).first()

    def asked(self, part: PartName) -> Bounds | None:
        """Return a range of keys that is to be compared; ``None`` if it no longer is."""
        table, number = part
        of_part = self._reports().filter(token=self.token, kind=ReportKind.RANGE, table=table, number=number)
        if (body := of_part.values_list("body", flat=True).first()) is None:
            return None
        return Bounds(*map(decode_key, json.loads(body)))

    def is_wanted(self) -> bool:
        """Whether the command still wants workers."""
        return self._briefings().filter(token=self.token).exists()

    def report(self, worker: str, kind: ReportKind, *, part: PartName | None = None, body: str = "") -> None:
        """Report to the command."""
        table, number = part or (None, None)
        report: Any = WorkerReport(token=self.token, worker=worker, kind=kind, table=table, number=number, body=body)
        self._reports().bulk_create([report])

    def reject(self, worker: str, lines: Sequence[tuple[PartName, str]]) -> None:
        """Keep rejected rows, in the transaction of their chunk."""
        reports: list[Any] = [
            WorkerReport(
                token=self.token, worker=worker, kind=ReportKind.REJECTED, table=table, number=number, body=line
            )
            for (table, number), line in lines
        ]
        self._reports().bulk_create(reports)

    def _briefings(self) -> QuerySet[Any]:
        return QuerySet(Briefing, using=self.alias)

    def _reports(self) -> QuerySet[Any]:
        return QuerySet(WorkerReport, using=self.alias)


def _any_of(chunks: Collection[PartName]) -> Q:
    numbers: dict[str, list[int]] = {}
    for table, number in chunks:
        numbers.setdefault(table, []).append(number)
    condition = Q()
    for table, of_table in numbers.items():
        condition |= Q(table=table, number__in=of_table)
    return condition
