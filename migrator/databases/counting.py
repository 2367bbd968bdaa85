"""Two databases compared by their counts, on their own and without a copy before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import UsageError
from .ends import open_for_reading
from .engines.base.engine import Endpoint
from .selection import select
from .verify import Verification, verify


@dataclass(frozen=True)
class Comparison:
    """Two databases and what was found between them."""

    source: Endpoint
    dest: Endpoint
    verification: Verification

    @property
    def exit_code(self) -> int:
        """0 where everything agrees, 3 where something differs."""
        return 0 if self.verification.is_clean else 3


def verify_counts(*, source: str, dest: str, labels: Sequence[str] = (), exclude: Sequence[str] = ()) -> Comparison:
    """Count the tables of the project's models in both databases, exactly, each side in one snapshot.

    Also looks at the destination's counters and foreign keys. Writes nothing. Raises
    :exc:`~migrator.errors.UsageError` for unknown aliases and labels.
    """
    if source == dest:
        raise UsageError(f"--source and --dest are both {source!r}.")
    selection = select(source=source, dest=dest, labels=labels, exclude=exclude)
    with open_for_reading(source, dest) as (left, right):
        found = verify(left, right, selection.tables)
        return Comparison(left.describe(), right.describe(), found)
