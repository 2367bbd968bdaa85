"""Row counts of both databases, sequences that are out of sync, and orphans."""

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
    """The row counts of one table on both sides; ``None`` for a side that lacks the table."""

    label: str
    table: str
    source_rows: int | None
    dest_rows: int | None
    rejected: int = 0

    @property
    def difference(self) -> int | None:
        """The row count of the destination minus that of the source."""
        if self.source_rows is None or self.dest_rows is None:
            return None
        return self.dest_rows - self.source_rows

    @property
    def status(self) -> str:
        """Whether the counts match, or differ by exactly the rejected rows."""
        if self.difference is None:
            return MISSING
        if self.difference == 0:
            return EQUAL
        return REJECTED if self.rejected and self.difference == -self.rejected else DIFFERENT


@dataclass(frozen=True)
class Verification:
    """What was compared, and what was found."""

    counts: tuple[TableCount, ...]
    late_sequences: tuple[KeySequence, ...]
    orphans: tuple[Orphans, ...]
    contents: tuple[Contents, ...] = ()

    @property
    def differing(self) -> tuple[TableCount, ...]:
        """The tables whose counts differ, unless rejected rows explain it."""
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
        """Whether no problem was found."""
        return not (self.differing or self.late_sequences or self.orphans or self.differing_contents)


def late_sequences(dest: Engine, tables: Sequence[Table]) -> tuple[KeySequence, ...]:
    """Return the sequences whose next key is already taken, and key columns that have lost their sequence."""
    return tuple(sequence for sequence in dest.catalogue.sequences(tables) if sequence.is_behind)


def verify(
    source: Engine, dest: Engine, tables: Sequence[Table], rejected: Mapping[str, int] | None = None
) -> Verification:
    """Compare the row counts of two databases, and check the second one's sequences and foreign keys.

    ``rejected``: by table name, how many rows the destination lacks because a run has rejected them.
    """
    rejected = rejected or {}
    there = _present(dest, tables)
    source_rows, dest_rows = source.counts(_names(_present(source, tables))), dest.counts(_names(there))
    orphans = find_orphans(ParallelQueries(dest), there, dest_rows)
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
    return Verification(counts, late_sequences(dest, there), tuple(orphans.result()))


def _present(engine: Engine, tables: Sequence[Table]) -> list[Table]:
    stored = engine.catalogue.stored_tables(_names(tables))
    return [table for table in tables if stored[table.name]]


def _names(tables: Sequence[Table]) -> list[str]:
    return [table.name for table in tables]
