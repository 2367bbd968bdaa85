"""A database's own description of what its tables refuse: unique indexes, checks, exclusion constraints, partitions."""

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
# What numbers the rows of a probe.
NUMBER = "migrator_number"


@dataclass(frozen=True)
class UniqueIndex:
    """A unique index or key of a table; its name is empty if nobody gave it one.

    ``columns`` are its parts in order, ``None`` for an expression; ``expressions`` are all of them as SQL of its own
    engine, if that is known; ``condition`` is the predicate of a partial one, as SQL of its own engine, too;
    ``definition`` is what two indexes of one engine are compared by. ``covers_children``: it
    holds for every row that a query over the table gives, those of tables that inherit from it included.
    ``ignores_case`` and ``ignores_spaces`` are columns whose texts it takes for equal if they differ only in the case
    of ASCII letters, or in spaces at the end, whatever their own collations say.
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
        """Whether its parts are columns, and it holds for all rows."""
        return self.condition is None and None not in self.columns


@dataclass(frozen=True)
class Check:
    """A CHECK constraint: ``expression`` is SQL of its own engine, ``columns`` those that it reads, if known.

    ``is_validated``: no row that is there can break it. ``is_partitioning``: it is what has a place in a partition.
    """

    name: str
    expression: str
    columns: tuple[str, ...] = ()
    is_validated: bool = False
    is_partitioning: bool = False


@dataclass(frozen=True)
class ExclusionPart:
    """What an exclusion constraint compares of two rows, as SQL of its own engine, and the operator that it uses.

    ``is_equality``: rows that it is true of are in one group of ``GROUP BY``. ``bounds``: the least and the greatest
    value of a range, NULL if there is none, and whether the greatest is in the range: of two ranges that have something
    in common, neither ends before the other begins.
    """

    expression: str
    operator: str
    is_equality: bool
    bounds: tuple[str, str, str] | None = None


@dataclass(frozen=True)
class Exclusion:
    """An exclusion constraint: no two rows may have all of its ``parts`` true.

    ``condition`` says which rows it is about; a row with NULL in a part is none of them. ``covers_children`` is as for
    :class:`UniqueIndex`.
    """

    name: str
    parts: tuple[ExclusionPart, ...]
    condition: str | None = None
    covers_children: bool = True


class Constraints(DatabaseSession):
    """What one database refuses, by table, as its catalogue says. Every answer has each table that was asked for."""

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
        """Make an empty temporary table with these columns of a table after one that numbers its rows, for a while.

        It is :data:`PROBE`, and has no constraint of its own. Each step in it that may fail needs a savepoint.
        """
        raise NotImplementedError
