"""The result of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import WORK_TO_DO
from .copying.recreation_failures import NotRecreated
from .following.record import Followed
from .forecasting.model import Forecast
from .phases import Phase
from .planning.plan import Plan
from .row_counts import RowCounts
from .update import Update
from .verification.counts import Verification


@dataclass(frozen=True)
class RunResult:
    """What a run did; ``row_counts`` are by table name, and empty after a dry run."""

    plan: Plan
    row_counts: Mapping[str, RowCounts]
    verification: Verification | None
    # How long each phase took, in order. Together they are the whole run, except what is in `seconds_waiting`.
    timings: tuple[tuple[str, float], ...] = ()
    # How long the run waited for the user's answer.
    seconds_waiting: float = 0.0
    # Why no row was copied.
    remark: str | None = None
    # Whether nothing was written because that was asked for.
    is_dry_run: bool = False
    # Whether an unfinished run was ended without completing it.
    is_abandoned: bool = False
    # By table name, what an update changed; None if this run was not an update.
    updates: Mapping[str, Update] | None = None
    # Rows that a run rejected which had finished before.
    rejected_before: int = 0
    # How the source was followed after the copy, if it was.
    followed: Followed | None = None
    # The file that holds the rejected rows, if it was given.
    rejects: Path | None = None
    # What an abandoned run had dropped and could not recreate as it was.
    not_recreated: tuple[NotRecreated, ...] = ()
    # How long the move is likely to take, if only that was asked for.
    forecast: Forecast | None = None

    @property
    def seconds(self) -> float:
        """How long the run took, without the wait for the user's answer."""
        return sum(spent for _, spent in self.timings)

    def seconds_of(self, *phases: Phase) -> float:
        """Return how long these phases took together."""
        return sum(spent for phase, spent in self.timings if phase in phases)

    @property
    def seconds_finishing(self) -> float:
        """How long indexes, foreign keys and sequences took after the last row."""
        return self.seconds_of(Phase.INDEXES, Phase.SEQUENCES)

    @property
    def seconds_comparing(self) -> float:
        """How long an update compared both databases: the next one takes about as long, plus what it writes."""
        return self.seconds_of(Phase.COMPARING)

    @property
    def rows_rejected(self) -> int:
        return self.rejected_before + sum(counts.rows_rejected for counts in self.row_counts.values())

    @property
    def rows_written(self) -> int:
        """How many rows this process wrote."""
        return sum(counts.rows_written for counts in self.row_counts.values())

    @property
    def rows_before(self) -> int:
        """How many rows earlier processes of a resumed run had committed."""
        return sum(counts.rows_before for counts in self.row_counts.values())

    @property
    def changes(self) -> int:
        """How many rows an update has changed, or would change."""
        return sum(update.changes for update in (self.updates or {}).values())

    @property
    def would_change(self) -> bool:
        """Whether this was the dry run of an update that would write something."""
        return self.is_dry_run and self.changes > 0

    @property
    def exit_code(self) -> int:
        """0 success, 3 differences, 4 rows rejected, unchecked or objects missing, 5 rows would be written."""
        if self.would_change:
            return WORK_TO_DO
        if self.verification and not self.verification.is_clean:
            return 3
        if self.followed and self.followed.late:
            return 3
        unchecked = self.verification and self.verification.unchecked
        return 4 if self.rows_rejected or unchecked or self.not_recreated else 0
