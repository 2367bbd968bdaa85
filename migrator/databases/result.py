"""What a run did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import WORK_TO_DO
from .copying.recreation_failures import NotRecreated
from .planning.plan import Plan
from .row_counts import RowCounts
from .update import Update
from .verification.counts import Verification


@dataclass(frozen=True)
class RunResult:
    """What a run did. ``tallies`` are by table name; a dry run has none."""

    plan: Plan
    tallies: Mapping[str, RowCounts]
    verification: Verification | None
    seconds: float
    seconds_finishing: float = 0.0
    remark: str | None = None
    # By table name, what was changed in a destination that was filled before; None where it was filled anew.
    updates: Mapping[str, Update] | None = None
    # Rows that a run rejected which had come to its end already.
    rejected_before: int = 0
    # What a run that was abandoned has dropped, and that is not there as it was.
    not_recreated: tuple[NotRecreated, ...] = ()

    @property
    def rows_rejected(self) -> int:
        return self.rejected_before + sum(tally.rows_rejected for tally in self.tallies.values())

    @property
    def changes(self) -> int:
        """How many rows an update has changed, or would change."""
        return sum(update.changes for update in (self.updates or {}).values())

    @property
    def would_change(self) -> bool:
        """Whether this was the dry run of an update that would write something."""
        return self.verification is None and self.changes > 0

    @property
    def exit_code(self) -> int:
        """0 all well, 3 differences, 4 rows rejected or not all checked or recreated, 5 rows that would be written."""
        if self.would_change:
            return WORK_TO_DO
        if self.verification and not self.verification.is_clean:
            return 3
        unchecked = self.verification and self.verification.unchecked
        return 4 if self.rows_rejected or unchecked or self.not_recreated else 0
