"""MySQL and MariaDB: what differs from other engines."""

from __future__ import annotations

from ..base.features import Features

FEATURES = Features(
    parallel_readers_block_writers=True,
    begins_snapshots_with_others=True,
    supports_parallel_writers=True,
    can_switch_off_foreign_keys=True,
    recreates_indexes_together=True,
    names_collation="utf8mb4_bin",
    hides_tables_without_rights=True,
    character_length="CHAR_LENGTH",
)
