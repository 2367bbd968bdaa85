"""SQLite: what differs from other engines."""

from __future__ import annotations

from ..base.features import Features

FEATURES = Features(
    connect_timeout_option=None,
    can_switch_off_foreign_keys=True,
    rows_worth_a_commit=50_000,  # each waits several times for the disk
    # A column of the same declared type has the same affinity (sqlite.org/datatype3.html).
    raw_values_are_exact=True,
    computes_checksums_locally=True,
)
