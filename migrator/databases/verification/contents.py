"""What is compared of a table, and what was found: the records of a comparison of values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..chunks import Restriction
from ..engines.base.engine import Engine
from ..engines.base.session import Row
from ..planning.plan import TablePlan
from ..tables import Kind, StoredColumn, Table
from .compared_side import Mapped
from .rows import CHANGED, EXTRA, MISSING, RowDifference

BY_CHECKSUM, BY_ROW, SAMPLED, NOT_COMPARED = "checksum", "rows", "sample", "not compared"
EQUAL, DIFFERENT, UNCHECKED = "equal", "different", "unchecked"

# Rows that differ of one table that are listed.
MOST_DIFFERENCES = 1_000


@dataclass(frozen=True)
class Sample:
    """How many rows of a table are compared, and the seed that chooses them by the digests of their keys."""

    rows: int
    seed: int


@dataclass(frozen=True)
class Pairing:
    """A table as both sides have it, and which of its rows are compared.

    Generated columns are compared if ``table`` has them: an expression may mean something else to the other database.
    """

    table: Table
    source: Engine
    dest: Engine
    # Of the source; an estimate is enough.
    rows: int
    restriction: Restriction | None = None
    # By column, the values that the destination has in place of the source's.
    mappings: Mapped = field(default_factory=dict)
    # The destination may hold rows that the source does not have.
    allows_extra: bool = False
    # How many rows the run rejected.
    rejected: int = 0
    # The neutral keys of rows that are known to have been rejected, and so are not missing.
    rejected_keys: frozenset[Row] = frozenset()

    @classmethod
    def of(
        cls, planned: TablePlan, *, with_generated: bool = False, allows_extra: bool = False, rejected: int = 0
    ) -> Pairing:
        """Return what is compared of a table of a plan."""
        table, route = planned.table, planned.route
        return cls(
            table.with_generated() if with_generated else table,
            route.source,
            route.dest,
            planned.source_rows,
            route.restriction,
            route.mappings,
            allows_extra,
            rejected,
        )

    @property
    def has_translated_keys(self) -> bool:
        """Whether the destination has the rows under other keys."""
        return not self.mappings.keys().isdisjoint(self.table.key)

    @property
    def sorts_keys_alike(self) -> bool:
        """Whether both sides sort the keys the same way, as they do whole numbers, but not what has a collation."""
        return bool(self.table.key) and not self.has_translated_keys and self.has_keys_of(Kind.INTEGER)

    def has_keys_of(self, *kinds: Kind) -> bool:
        """Whether all columns of the key are of these kinds."""
        return all(self.table.column(name).kind in kinds for name in self.table.key)


@dataclass(kw_only=True)
class Differences:
    """What was compared of some rows, and what differs; ``differences`` is no longer than the caller asked for."""

    checked: int = 0
    missing: int = 0
    extra: int = 0
    changed: int = 0
    # Rows whose digests differ although their values are equal.
    equivalent: int = 0
    differences: list[RowDifference] = field(default_factory=list)
    # Why rows could not be compared, or cannot be named.
    reason: str = ""
    # How long it took, in all processes together.
    seconds: float = 0.0

    @property
    def differing(self) -> int:
        """How many rows are not the same on both sides."""
        return self.missing + self.extra + self.changed

    @property
    def is_truncated(self) -> bool:
        """Whether more rows differ than are listed."""
        return self.differing > len(self.differences)

    def add(self, difference: RowDifference, most: int) -> None:
        """Count a row that differs, and list it while the list is shorter than ``most``."""
        self.missing += difference.kind == MISSING
        self.extra += difference.kind == EXTRA
        self.changed += difference.kind == CHANGED
        if len(self.differences) < most:
            self.differences.append(difference)

    def merge(self, other: Differences, most: int) -> None:
        """Add what was found in other rows, and list them while the list is shorter than ``most``."""
        for name in ("checked", "missing", "extra", "changed", "equivalent", "seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.differences += other.differences[: max(most - len(self.differences), 0)]
        self.reason = self.reason or other.reason


@dataclass(kw_only=True)
class Contents(Differences):
    """What was compared of one table, and what differs."""

    label: str
    table: Table
    method: str
    # Of a sample, by column: in how many rows of the source and of the destination it is NULL, if these differ.
    nulls: dict[str, tuple[int, int]] = field(default_factory=dict)
    rejected: int = 0

    @property
    def status(self) -> str:
        """Whether the compared rows are the same; rows that the run rejected may be missing."""
        if self.method == NOT_COMPARED:
            return UNCHECKED
        is_equal = self.missing == self.rejected and not (self.extra or self.changed or self.nulls)
        return EQUAL if is_equal else DIFFERENT


def lacking(engine: Engine, table: Table, stored: Mapping[str, StoredColumn]) -> list[str]:
    """List what a database lacks of a table, whose stored columns are these by name: itself, or some columns."""
    if not stored:
        return [no_table(engine.alias, table.name)]
    return [f"{engine.alias!r} lacks {column.name!r}" for column in table.columns if column.name not in stored]


def no_table(alias: str, table: str) -> str:
    """Return the statement that a database lacks a table."""
    return f"{alias!r} has no table {table!r}"
