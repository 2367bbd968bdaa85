"""What a session sees of a database's tables: their schema, their kind, and what is hidden from the session."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from .session import DatabaseSession

# The kinds of objects that a query can read like tables.
TABLE, VIEW, STORED_VIEW, FOREIGN_TABLE = "table", "view", "materialized view", "foreign table"
VERSIONED_TABLE = "system-versioned table"


@dataclass(frozen=True)
class Child:
    """A table that inherits from another, whose queries also return its ``rows``.

    ``name`` is for people and for SQL; ``identity`` is as in :class:`VisibleTable`.
    """

    name: str
    identity: Any
    rows: int


@dataclass(frozen=True)
class VisibleTable:
    """One table as a session sees it.

    ``identity`` is equal for two sessions if both see the same table of one database. ``schema`` is ``None`` if the
    database has no schemas. ``hides_rows``: a policy may hide rows from this session. ``unreadable`` and
    ``unwritable`` are the columns that it may not select and insert. ``takes_rows``: rows can be loaded into it.
    ``is_temporary``: it belongs to this session, and hides the table of that name. ``delete_rules`` run instead of each
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
        """Describe those of these tables that exist, by name."""
        return {table: VisibleTable(table) for table in tables}

    def user(self) -> str:
        """Return the role or user whose rights are in effect."""
        return str(self.connection.settings_dict.get("USER") or "")

    def new_tables_schema(self) -> str | None:
        """Return the schema in which a table would be created, ``None`` if the database has no schemas."""
        return None

    def created_here(self, names: Collection[str]) -> set[str]:
        """Return those of these tables that exist in the place where CREATE TABLE would create them."""
        with self.connection.cursor() as cursor:
            return set(self.connection.introspection.table_names(cursor)) & set(names)

    def keys_to_others(self, tables: Sequence[str]) -> set[tuple[str, str]]:
        """Return the foreign keys of these tables, as pairs of table and name, that reference any other table."""
        return set()

    def stored_views(self, tables: Collection[str]) -> Sequence[str]:
        """List the materialized views over these tables, each after those that it reads; their names are for SQL."""
        return ()

    def schema_change_triggers(self) -> Sequence[str]:
        """List the event triggers that run, and may forbid the change, when indexes or keys are dropped or created."""
        return ()
