"""What a session sees of a database's tables: where they are, what they are, and what is hidden from it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from .session import DatabaseSession

# What looks like a table to a query.
TABLE, VIEW, STORED_VIEW, FOREIGN_TABLE = "table", "view", "materialized view", "foreign table"
VERSIONED_TABLE = "system-versioned table"


@dataclass(frozen=True)
class Child:
    """A table whose own ``rows`` are seen as rows of the one that it inherits from.

    ``name`` is for people and for SQL; ``identity`` is as in :class:`VisibleTable`.
    """

    name: str
    identity: Any
    rows: int


@dataclass(frozen=True)
class VisibleTable:
    """One table as a session sees it.

    ``identity`` is the same for two sessions where both see the same table of one database. ``schema`` is ``None``
    where the database has no schemas. ``hides_rows``: a policy may keep rows from this session. ``unreadable`` and
    ``unwritable`` are the columns that it may not select and insert. ``takes_rows``: rows can be loaded into it.
    ``is_temporary``: it is this session's own, and hides the table of that name. ``delete_rules`` run in place of each
    deletion of rows, or in addition to it; their names are for SQL.
    """

    identity: Any
    kind: str = TABLE
    schema: str | None = None
    hides_rows: bool = False
    can_be_counted: bool = True
    unreadable: frozenset[str] = frozenset()
    unwritable: frozenset[str] = frozenset()
    takes_rows: bool = True
    children: tuple[Child, ...] = ()
    is_temporary: bool = False
    delete_rules: tuple[str, ...] = ()


class Visibility(DatabaseSession):
    """What one database lets a session see."""

    def visible_tables(self, tables: Collection[str]) -> dict[str, VisibleTable]:
        """Describe those of these tables that are there, by name."""
        return {table: VisibleTable(table) for table in tables}

    def user(self) -> str:
        """Name the role or user whose rights are in force."""
        return str(self.connection.settings_dict.get("USER") or "")

    def new_tables_schema(self) -> str | None:
        """Name the schema in which a table would be created, ``None`` where there are no schemas."""
        return None

    def created_here(self, names: Collection[str]) -> set[str]:
        """Return those of these tables that are where one of this name would be created."""
        with self.connection.cursor() as cursor:
            return set(self.connection.introspection.table_names(cursor)) & set(names)

    def keys_to_others(self, tables: Sequence[str]) -> set[tuple[str, str]]:
        """Return the foreign keys of these tables, each after its table, that lead to any other one."""
        return set()

    def schema_change_triggers(self) -> Sequence[str]:
        """Name what the database runs, and may forbid the change with, when indexes or keys are dropped or created."""
        return ()
