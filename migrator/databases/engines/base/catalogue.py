"""A database's own description of its tables, indexes, foreign keys and sequences."""

from __future__ import annotations

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ....console.wording import plural
from ...tables import Reference, StoredColumn, Table
from .session import DatabaseSession, Row

INDEX, FOREIGN_KEY, UNIQUE_KEY, TRIGGER = "index", "foreign key", "unique key", "trigger"
_COUNTED = {
    INDEX: ("index", "indexes"),
    FOREIGN_KEY: ("foreign key",),
    UNIQUE_KEY: ("primary or unique key", "primary and unique keys"),
    TRIGGER: ("trigger",),
}


@dataclass(frozen=True)
class DeferredObject:
    """An object that is dropped or disabled while rows are loaded, and the statements that drop and recreate it.

    ``kind`` is ``INDEX``, ``FOREIGN_KEY``, ``UNIQUE_KEY`` (also for a primary key) or ``TRIGGER``.
    """

    table: str
    kind: str
    name: str
    drop_sql: str
    create_sql: str

    def as_json(self) -> dict[str, str]:
        """Return the object as reports and the journal have it; :meth:`from_json` reads it."""
        sql = {"take_off": self.drop_sql, "put_back": self.create_sql}
        return {"table": self.table, "kind": self.kind, "name": self.name, **sql}

    @classmethod
    def from_json(cls, item: Mapping[str, str]) -> DeferredObject:
        return cls(item["table"], item["kind"], item["name"], item["take_off"], item["put_back"])


@dataclass(frozen=True)
class TableSize:
    """About how many bytes a table takes without its indexes; if only a sample was read, of so many ``rows``."""

    bytes: int
    rows: int | None = None

    def width(self, rows: int) -> float:
        """Return about how many bytes a row takes in the table, which has so many ``rows``."""
        return self.bytes / max(self.rows or rows, 1)


@dataclass(frozen=True)
class Obstacle:
    """A row that prevents an index or a key from being recreated, by its primary key.

    ``duplicate_of``: the primary key of the row that has the same values and stays. ``test``: the condition, with its
    parameters, that matches this row only.
    """

    key: Row
    test: str
    params: Sequence[Any]
    duplicate_of: Row | None = None


@dataclass(frozen=True)
class EntryLimit:
    """An index whose entries hold at most so many ``bytes`` of some ``columns``."""

    table: str
    name: str
    definition: str
    columns: frozenset[str]
    bytes: int


def kinds_text(items: Sequence[DeferredObject]) -> str:
    """Count deferred objects by kind, as a text for people, without the kinds of which there are none."""
    kinds = [item.kind for item in items]
    found = (plural(kinds.count(kind), *nouns) for kind, nouns in _COUNTED.items() if kind in kinds)
    return ", ".join(found)


@dataclass(frozen=True)
class KeySequence:
    """A table's sequence (AUTO_INCREMENT), the next key that it will generate, and the largest key in the table."""

    table: str
    column: str
    next_value: int | None
    largest: int | None
    problem: str | None = None

    @property
    def is_behind(self) -> bool:
        """Whether it would generate a key that is taken, or can generate none."""
        if self.next_value is None or self.largest is None:
            return self.problem is not None
        return self.next_value <= self.largest

    def __str__(self) -> str:
        if self.problem:
            return f"{self.table}.{self.column}: {self.problem}"
        return f"{self.table}.{self.column}: the next key would be {self.next_value}, and {self.largest} is taken"


class Catalogue(DatabaseSession):
    """The catalogue of one database, and the changes of its tables during a run."""

    @abstractmethod
    def stored_tables(self, tables: Collection[str]) -> dict[str, dict[str, StoredColumn]]:
        """Describe the columns of tables, by table and by column; a missing table has no columns."""

    def stored_columns(self, table: str) -> dict[str, StoredColumn]:
        """Describe one table's columns, as :meth:`stored_tables` does."""
        return self.stored_tables([table])[table]

    def table_names(self) -> list[str]:
        """List the database's tables, without views and the database's own tables."""
        with self.connection.cursor() as cursor:
            return self.connection.introspection.table_names(cursor)

    def table_sizes(self, tables: Sequence[Table]) -> dict[str, TableSize]:
        """Return about how large tables are, by name, as far as the engine knows without reading them whole."""
        return {}

    def triggers(self, tables: Sequence[str]) -> list[tuple[str, str]]:
        """List the triggers, made by users, that fire while these tables are loaded: pairs of table and trigger."""
        return []

    def deferrable_triggers(self, tables: Sequence[str]) -> list[DeferredObject]:
        """List those of them that can be disabled until the rows are loaded, and then restored exactly."""
        return []

    def silenceable_triggers(self, tables: Sequence[str]) -> list[DeferredObject]:
        """List the triggers of tables and their partitions that one transaction can disable for itself alone."""
        return []

    def cascading(self, tables: Sequence[str]) -> Mapping[str, DeferredObject | None]:
        """Return the foreign keys that change or delete referencing rows when a row of these tables is deleted.

        By name, as SQL has it; ``None`` if this user cannot drop and recreate the key within one transaction.
        """
        return {}

    def foreign_keys_into(self, tables: Collection[str], but: Collection[str]) -> list[tuple[str, str, str]]:
        """List the foreign keys that reference these tables, except those of the tables ``but``.

        Returns the table and column of each, as SQL has them, and the name of the table that it references.
        """
        found = []
        names = sorted(set(self.table_names()).difference(but))
        with self.connection.cursor() as cursor:
            for name in names:
                relations = self.connection.introspection.get_relations(cursor, name)
                for column, (_, target, *_) in sorted(relations.items()):
                    if target in tables:
                        found.append((self.quote(name), self.quote(column), target))
        return found

    @abstractmethod
    def deferrable(self, tables: Sequence[str], with_indexes: Collection[str]) -> list[DeferredObject]:
        """List the foreign keys of tables, and the indexes of some, that can be dropped, in the order to drop them.

        Foreign keys that aren't checked while rows are loaded are listed only for the tables ``with_indexes``.
        """

    @abstractmethod
    def unique_columns(self, table: str) -> list[Row]:
        """List pairs of a unique index that covers all rows, and a column of it; ``None`` for an expression."""

    def unique_keys(self, table: str) -> set[frozenset[str]]:
        """Return the columns of each primary key and unique index that covers all rows of a table."""
        found: defaultdict[Any, set[str | None]] = defaultdict(set)
        for index, column in self.unique_columns(table):
            found[index].add(column)
        return {frozenset(filter(None, names)) for names in found.values() if None not in names}

    @abstractmethod
    def is_indexed(self, table: str, column: str) -> bool:
        """Whether an index of all rows begins with this column. What is not a table of its own counts as indexed."""

    def deferrable_keys(self, table: Table, others: Sequence[Table]) -> dict[DeferredObject, frozenset[str]]:
        """Return the primary and unique keys of a table that can be dropped, with their columns.

        The foreign keys of this table and of ``others`` are dropped before; no other foreign key may depend on them.
        """
        return {}

    def key_columns(self, item: DeferredObject) -> tuple[str, ...]:
        """Return the columns of a unique key that was dropped, in their order; none if they are not known."""
        return ()

    def recreate(self, items: Sequence[DeferredObject]) -> None:
        """Recreate dropped objects, except those that exist."""
        for item in self._missing(items):
            self.execute(item.create_sql.replace("%", "%%"))

    def _missing(self, items: Sequence[DeferredObject]) -> list[DeferredObject]:
        existing = self.existing(items)
        return [item for item in items if item not in existing]

    def statement(self, item: DeferredObject) -> str:
        """Return the SQL that recreates an object, for a person to run."""
        return item.create_sql

    def recreate_unvalidated(self, item: DeferredObject) -> bool:
        """Recreate a foreign key without checking the rows that are there; return whether the engine can do that."""
        return False

    def check_statement(self, item: DeferredObject) -> str:
        """Return the SQL that checks the rows of such a foreign key."""
        raise NotImplementedError

    def find_obstacles(self, item: DeferredObject, key: Sequence[str], limit: int) -> list[Obstacle] | None:
        """Find rows that prevent a key from being recreated; ``None`` if no query finds them."""
        return None

    def can_index(self, item: DeferredObject, where: str, params: Sequence[Any]) -> bool:
        """Try an index on a temporary copy of some rows of its table, which is dropped afterwards.

        ``where`` is a WHERE clause, keyword included. Raises the database's error if such a copy cannot be made.
        """
        raise NotImplementedError

    def entry_limits(self, tables: Sequence[str]) -> Mapping[str, Sequence[EntryLimit]]:
        """List, by table, the indexes that do not accept every value of the table's columns."""
        return {}

    def accepts_entries(self, limit: EntryLimit, fill: Callable[[str], None]) -> bool:
        """Try such an index on a temporary table like its own, which ``fill(name)`` fills; nothing remains.

        Raises the database's error if the table can't be created, or does not accept the rows.
        """
        raise NotImplementedError

    def event_triggers(self) -> list[str]:
        """List the event triggers of the database that may forbid changes of tables."""
        return []

    def locked_tables(self, item: DeferredObject) -> frozenset[str]:
        """Return the tables that recreating a foreign key locks; keys with a common one are recreated one by one."""
        return frozenset({"any foreign key"})

    def tables_not_owned(self, tables: Sequence[str]) -> list[str]:
        """List those of these tables that this session may write to, but not alter."""
        return []

    def drop(self, items: Sequence[DeferredObject]) -> None:
        """Drop those of these indexes and constraints that exist, in this order."""
        existing = self.existing(items)
        for item in items:
            if item in existing:
                self.execute(item.drop_sql.replace("%", "%%"))

    def existing(self, items: Sequence[DeferredObject]) -> set[DeferredObject]:
        """Return which of these objects exist."""
        raise NotImplementedError

    def enforced(self, references: Sequence[tuple[str, Reference]]) -> list[bool]:
        """Whether each of these foreign keys, given with its table, is valid for every row and checked for new ones."""
        return [False] * len(references)

    def sequences(self, tables: Sequence[Table]) -> list[KeySequence]:
        """List the tables' sequences, each with the largest key that is there."""
        found = self.next_keys(tables)
        keys = [(table.name, table.key[0]) for table in tables if table.name in found and len(table.key) == 1]
        return [
            KeySequence(*key, found[key[0]], largest) for key, largest in zip(keys, self.largest(keys), strict=True)
        ]

    def largest(self, keys: Sequence[tuple[str, str]]) -> list[int | None]:
        """Return the largest values of integer columns, each given as table and column."""
        queries = [(f"SELECT MAX({self.quote(column)}) FROM {self.quote(table)}", ()) for table, column in keys]
        return [None if row[0] is None else int(row[0]) for row in self.fetch_each(queries)]

    def refresh_statistics(self, tables: Sequence[str]) -> None:
        """Refresh the query planner's statistics, if the database would not soon do so by itself."""
        return

    @abstractmethod
    def next_keys(self, tables: Sequence[Table]) -> dict[str, int]:
        """Return the next key of each of these tables that has a sequence, by table, if this user may read it."""

    @abstractmethod
    def reset_sequences(self, tables: Sequence[Table], next_keys: Mapping[str, int], *, may_lower: bool) -> None:
        """Set sequences so that the next key is above the largest one, and not below that of ``next_keys``, by table.

        A sequence that is ahead is lowered only if ``may_lower``.
        """
