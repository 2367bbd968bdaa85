"""PostgreSQL: what differs from other engines."""

from __future__ import annotations

from ...tables import Kind
from ..base.features import Features

FEATURES = Features(
    has_named_snapshots=True,
    supports_parallel_writers=True,
    can_silence_triggers=True,
    # PostgreSQL source, src/backend/access/heap/README.HOT, "recently dead" rows. The run's own ANALYZE is such an
    # older transaction, too.
    indexes_deleted_rows=True,
    # Every type has a text form that its own input function reads back unchanged (PostgreSQL manual, CREATE TYPE).
    raw_values_are_exact=True,
    raw_kind=Kind.TEXT,
)
