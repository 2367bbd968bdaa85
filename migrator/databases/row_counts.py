"""The counts of what a run copied: rows read, written and rejected, bytes, and seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class RowCounts:
    """How many rows and bytes were copied, and where the time went, in seconds."""

    rows_read: int = 0
    rows_written: int = 0
    rows_rejected: int = 0
    bytes_written: int = 0
    reading: float = 0.0
    converting: float = 0.0
    writing: float = 0.0
    # Recreating indexes and foreign keys after the last row.
    indexing: float = 0.0

    @property
    def seconds(self) -> float:
        """How long the rows took, without the indexes."""
        return self.reading + self.converting + self.writing

    def add(self, other: RowCounts) -> None:
        """Add other counts to these."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)
