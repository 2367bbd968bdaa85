"""A database's own description of its constraints: unique indexes, checks, exclusion constraints, partitions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import ClassVar

from ...tables import Kind, StoredColumn
from .characters import Ranges
from .portable_sql import TargetSql, Translation, Untranslatable
from .session import DatabaseSession

PROBE = "migrator_probe"
# The column that numbers the rows of a probe.
NUMBER = "migrator_number"


@dataclass(frozen=True)
class UniqueIndex:
    """A unique index or key of a table; its name is empty if it was created without one.

    ``columns`` are its parts in order, ``None`` for an expression. ``expressions`` are all parts as SQL of its own
    engine, if known; ``condition`` is the predicate of a partial index, also as SQL of its own engine. ``definition``:
    two indexes of one engine are equal if theirs are. ``covers_children``: it holds for every row that a query over the
    table returns, including those of tables that inherit from it. ``ignores_case`` and ``ignores_spaces`` are columns
    in which it considers texts equal that differ only in the case of ASCII letters, or in trailing spaces, whatever
    the columns' collations.
    """

    name: str
    columns: tuple[str | None, ...]
    condition: str | None = None
    nulls_distinct: bool = True
    definition: str | None = None
    covers_children: bool = True
    ignores_case: frozenset[str] = frozenset()
    ignores_spaces: frozenset[str] = frozenset()
    expressions: tuple[str, ...] = ()

    @property
    def is_plain(self) -> bool:
        """Whether its parts are columns, and it covers all rows."""
        return self.condition is None and None not in self.columns


@dataclass(frozen=True)
class Check:
    """A CHECK constraint: ``expression`` is SQL of its own engine, ``columns`` those that it reads, if known.

    ``is_validated``: no existing row violates it. ``is_partitioning``: it is true of rows that fit into a partition.
    """

    name: str
    expression: str
    columns: tuple[str, ...] = ()
    is_validated: bool = False
    is_partitioning: bool = False


@dataclass(frozen=True)
class ExclusionPart:
    """The expression that an exclusion constraint compares in two rows, as SQL of its own engine, and its operator.

    ``is_equality``: ``GROUP BY`` puts rows that it is true of into one group. ``bounds``: the lower and upper bound of
    a range, NULL if unbounded, and whether the upper bound is inclusive. Of two ranges that overlap, neither ends
    before the other begins.
    """

    expression: str
    operator: str
    is_equality: bool
    bounds: tuple[str, str, str] | None = None


@dataclass(frozen=True)
class Exclusion:
    """An exclusion constraint: no two rows may have all of its ``parts`` true.

    ``condition`` selects the rows that it applies to; it never applies to a row with NULL in a part.
    ``covers_children`` is as in :class:`UniqueIndex`.
    """

    name: str
    parts: tuple[ExclusionPart, ...]
    condition: str | None = None
    covers_children: bool = True


class Constraints(DatabaseSession):
    """The constraints of one database, by table. Every answer has an entry for each table in the question."""

    translation_class: ClassVar[type[Translation]] = Translation

    def portable(self, expression: str, columns: Mapping[str, Kind], target: TargetSql) -> str | None:
        """Translate a condition that this engine printed to SQL of another one, over columns given by their kinds.

        Returns ``None`` if the condition isn't certain to mean the same there.
        """
        try:
            return self.translation_class(expression, columns, target).translated()
        except Untranslatable:
            return None

    def unique_indexes(self, tables: Collection[str]) -> dict[str, list[UniqueIndex]]:
        """Return the unique indexes of each table, primary keys included."""
        raise NotImplementedError

    def characters(self, table: str, column: str) -> tuple[str, Ranges] | None:
        """Return the name and the characters of a text column's character set; ``None`` if it has all, or isn't known.

        Only sets whose characters are one byte each are known.
        """
        return None

    def checks(self, tables: Collection[str]) -> dict[str, list[Check]]:
        """Return the CHECK constraints of each table that are enforced for new rows, those of its domains included."""
        raise NotImplementedError

    def exclusions(self, tables: Collection[str]) -> dict[str, list[Exclusion]]:
        """Return the exclusion constraints of each table."""
        return {table: [] for table in tables}

    def probe(self, table: str, columns: Collection[StoredColumn]) -> AbstractContextManager[None]:
        """Create an empty temporary table with a column that numbers its rows, and these columns of a table.

        Its name is :data:`PROBE`; only the numbers are constrained. Each step in the context that may fail needs a
        savepoint.
        """
        raise NotImplementedError
