"""What differs between engines, as facts: each attribute of :class:`Features` answers the question above it."""

from __future__ import annotations

from dataclasses import dataclass

from ...tables import Kind


@dataclass(frozen=True, kw_only=True)
class Features:
    """The facts about one engine. The defaults are the safe answers."""

    # -- sessions --

    # What does the driver call the seconds that connecting may take? ``None`` without a server.
    connect_timeout_option: str | None = "connect_timeout"
    # Does opening several readers of one snapshot block writers to the source for a moment?
    parallel_readers_block_writers: bool = False
    # Does a snapshot have a name, by which sessions of other hosts can read it as long as its own session lives?
    has_named_snapshots: bool = False
    # Can sessions of other hosts begin the same snapshot, at the same moment and no later?
    begins_snapshots_with_others: bool = False
    # Can several sessions write to different tables at the same time?
    supports_parallel_writers: bool = False

    # -- loading --

    # Can a session load rows without its foreign keys being checked? The orphans are then found by a query at the end.
    can_switch_off_foreign_keys: bool = False
    # Can one transaction disable triggers for what it writes, on tables that it owns?
    can_silence_triggers: bool = False
    # How many rows are worth a commit?
    rows_worth_a_commit: int = 0
    # Does one statement recreate all indexes of a table, so that the table is read once?
    recreates_indexes_together: bool = False
    # Does CREATE INDEX also index rows deleted just now, as long as an older transaction may still see them?
    indexes_deleted_rows: bool = False

    # -- values --

    # Is the stored value of any column, read raw, the same value in a column of the same type?
    raw_values_are_exact: bool = False
    # Which kind of value is such a raw value?
    raw_kind: Kind = Kind.OTHER
    # Does this process compute the checksums itself, and no server?
    computes_checksums_locally: bool = False

    # -- names and SQL --

    # Which collation distinguishes names by their case, if the database's own may not?
    names_collation: str | None = None
    # Does a table look missing to a user who has no rights on it?
    hides_tables_without_rights: bool = False
    # Which function counts a text's characters?
    character_length: str = "LENGTH"
