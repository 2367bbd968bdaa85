"""What a run found and did while it followed its source."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..update import Update
from ..verification.counts import Verification


@dataclass
class Followed:
    """How a source was followed: counts of all rounds, the proof, and the last pass. Times are in seconds, and UTC."""

    rounds: int = 0
    # Of rows, as transactions made them, and the keys that were looked up for them.
    changes: int = 0
    keys: int = 0
    # Keys that had to wait for a later round, because their transactions were not visible yet.
    carried: int = 0
    # By table name, what was written.
    updates: dict[str, Update] = field(default_factory=dict)
    # Why changes may have been missed, so that all rows were compared once.
    lost_feeds: list[str] = field(default_factory=list)
    # When all values were equal, while the site still wrote.
    proven_at: dt.datetime | None = None
    verification: Verification | None = None
    # From the request for the last pass until the destination was equal to the source, and the rows that it wrote.
    stop_seconds: float = 0.0
    last_rows: int = 0
    # The moment of the source that the destination has.
    equal_at: dt.datetime | None = None
    # By label, the primary keys of rows that changed after the last pass; an empty list if any row may have.
    late: Mapping[str, list[str]] = field(default_factory=dict)

    def add(self, table: str, update: Update) -> None:
        """Add what a round did to a table."""
        self.updates.setdefault(table, Update()).add(update)

    @property
    def rows(self) -> int:
        """How many rows were written or deleted."""
        return sum(update.changes for update in self.updates.values())
