"""The counts of what a run copied: rows read, written and rejected, bytes, and seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class RowCounts:
    """How many rows and bytes this process copied, and where the time went, in seconds.

    Rejected rows are those of the whole run, also if it was interrupted and resumed.
    """

    rows_read: int = 0
    rows_written: int = 0
    rows_rejected: int = 0
    bytes_written: int = 0
    reading: float = 0.0
    converting: float = 0.0
    writing: float = 0.0
    # Recreating indexes and foreign keys after the last row.
    indexing: float = 0.0
    # Rows in the destination that earlier processes of a resumed run committed.
    rows_before: int = 0

    @property
    def seconds(self) -> float:
        """How long the rows took, without the indexes."""
        return self.reading + self.converting + self.writing

    @property
    def rows_committed(self) -> int:
        """How many rows the run has written so far, by this process and earlier ones."""
        return self.rows_before + self.rows_written

    def add(self, other: RowCounts) -> None:
        """Add other counts to these."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)

    def reject_committed(self, rows: int) -> None:
        """Count rows as rejected that were deleted after they were written."""
        of_this_process = min(rows, self.rows_written)
        self.rows_written -= of_this_process
        self.rows_before -= rows - of_this_process
        self.rows_rejected += rows

    def since(self, before: RowCounts) -> RowCounts:
        """Return these counts of a whole run as those of this process, which found what ``before`` counts."""
        # A server that crashed may have lost some of that.
        rows_before = min(before.rows_written, self.rows_written)
        return RowCounts(
            max(self.rows_read - before.rows_read, 0),
            self.rows_written - rows_before,
            self.rows_rejected,
            max(self.bytes_written - before.bytes_written, 0),
            rows_before=rows_before,
        )
