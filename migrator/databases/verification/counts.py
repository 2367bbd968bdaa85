"""Proof after the copy: exact counts, counters above the largest key, and no reference that leads nowhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..engines.base.catalogue import KeySequence
from ..engines.base.engine import Engine
from ..planning.foreign_keys import Orphans, find_orphans
from ..planning.parallel_queries import ParallelQueries
from ..tables import Table
from .contents import UNCHECKED, Contents

EQUAL, DIFFERENT, REJECTED, MISSING = "equal", "different", "rejected", "missing"


@dataclass(frozen=True)
class TableCount:
    """The rows of one table on both sides; ``None`` where the table is not there."""

    label: str
    table: str
    source_rows: int | None
    dest_rows: int | None
    rejected: int = 0

    @property
    def difference(self) -> int | None:
        """Rows in the destination less rows in the source."""
        if self.source_rows is None or self.dest_rows is None:
            return None
        return self.dest_rows - self.source_rows

    @property
    def status(self) -> str:
        """Whether the counts agree, or differ just by the rejected rows."""
        if self.difference is None:
            return MISSING
        if self.difference == 0:
            return EQUAL
        return REJECTED if self.rejected and self.difference == -self.rejected else DIFFERENT


@dataclass(frozen=True)
class Verification:
    """What was compared, and what was found."""

    counts: tuple[TableCount, ...]
    late_counters: tuple[KeySequence, ...]
    dangling: tuple[Orphans, ...]
    contents: tuple[Contents, ...] = ()

    @property
    def differing(self) -> tuple[TableCount, ...]:
        """The tables whose counts do not agree and are not explained by rejected rows."""
        return tuple(count for count in self.counts if count.status in (DIFFERENT, MISSING))

    @property
    def differing_contents(self) -> tuple[Contents, ...]:
        """The tables whose rows do not hold the same values."""
        return tuple(contents for contents in self.contents if contents.status == DIFFERENT)

    @property
    def unchecked(self) -> tuple[Contents, ...]:
        """The tables whose rows could not be compared."""
        return tuple(contents for contents in self.contents if contents.status == UNCHECKED)

    @property
    def is_clean(self) -> bool:
        """Whether nothing at all is wrong."""
        return not (self.differing or self.late_counters or self.dangling or self.differing_contents)


def late_counters(dest: Engine, tables: Sequence[Table]) -> tuple[KeySequence, ...]:
    """Find the counters that would give a key which is taken, and key columns that have lost theirs."""
    return tuple(counter for counter in dest.catalogue.sequences(tables) if counter.is_behind)


def verify(
    source: Engine, dest: Engine, tables: Sequence[Table], rejected: Mapping[str, int] | None = None
) -> Verification:
    """Compare the counts of two databases, and look at the second one's counters and references.

    ``rejected`` gives, by table name, how many rows the destination lacks because a run has rejected them.
    """
    rejected = rejected or {}
    there = _present(dest, tables)
    source_rows, dest_rows = source.counts(_names(_present(source, tables))), dest.counts(_names(there))
    dangling = find_orphans(ParallelQueries(dest), there, dest_rows)
    counts = tuple(
        TableCount(
            table.label,
            table.name,
            source_rows.get(table.name),
            dest_rows.get(table.name),
            rejected.get(table.name, 0),
        )
        for table in tables
    )
    return Verification(counts, late_counters(dest, there), tuple(dangling.result()))


def _present(engine: Engine, tables: Sequence[Table]) -> list[Table]:
    stored = engine.catalogue.stored_tables(_names(tables))
    return [table for table in tables if stored[table.name]]


def _names(tables: Sequence[Table]) -> list[str]:
    return [table.name for table in tables]
