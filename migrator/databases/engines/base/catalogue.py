"""A database's own description of its tables, indexes, foreign keys and counters."""

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


@dataclass(frozen=True)
class DeferredObject:
    """What is off a table while rows are loaded, and the statements that take and restore it.

    ``kind`` is ``INDEX``, ``FOREIGN_KEY``, ``UNIQUE_KEY``, which a primary key is as well, or ``TRIGGER``.
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
class Obstacle:
    """A row that keeps an index or a key from being recreated, by its primary key.

    ``duplicate_of``: the primary key of the row that has the same values and stays. ``test``: the condition, with its
    parameters, that finds this row and no other.
    """

    key: Row
    test: str
    params: Sequence[Any]
    duplicate_of: Row | None = None


@dataclass(frozen=True)
class EntryLimit:
    """An index whose entries hold so many ``bytes`` of some ``columns`` at most."""

    table: str
    name: str
    definition: str
    columns: frozenset[str]
    bytes: int


def kinds_text(items: Sequence[DeferredObject]) -> str:
    """Count what is off, for people, by kind."""
    kinds = [item.kind for item in items]
    objects = [plural(kinds.count(INDEX), "index", "indexes"), plural(kinds.count(FOREIGN_KEY), "foreign key")]
    if keys := kinds.count(UNIQUE_KEY):
        objects.append(plural(keys, "primary or unique key", "primary and unique keys"))
    if triggers := kinds.count(TRIGGER):
        objects.append(plural(triggers, "trigger"))
    return ", ".join(objects)


@dataclass(frozen=True)
class KeySequence:
    """A table's generator of new keys, the next value it will give, and the largest that is there."""

    table: str
    column: str
    next_value: int | None
    largest: int | None
    problem: str | None = None

    @property
    def is_behind(self) -> bool:
        """Whether it would give a key that is taken, or gives none any more."""
        if self.next_value is None or self.largest is None:
            return self.problem is not None
        return self.next_value <= self.largest

    def __str__(self) -> str:
        if self.problem:
            return f"{self.table}.{self.column}: {self.problem}"
        return f"{self.table}.{self.column}: the next key would be {self.next_value}, and {self.largest} is taken"


class Catalogue(DatabaseSession):
    """What one database says of its own tables, and what is changed about them during a run."""

    @abstractmethod
    def stored_tables(self, tables: Collection[str]) -> dict[str, dict[str, StoredColumn]]:
        """Describe the columns of each of these tables from the catalogue; none where there is no such table."""

    def stored_columns(self, table: str) -> dict[str, StoredColumn]:
        """Describe one table's columns as :meth:`stored_tables` does."""
        return self.stored_tables([table])[table]

    def table_names(self) -> list[str]:
        """List the database's tables, without views and what the database has made for itself."""
        with self.connection.cursor() as cursor:
            return self.connection.introspection.table_names(cursor)

    def table_bytes(self, table: str) -> int:
        """Tell about how many bytes a table takes, or takes at most; 0 where that is not known without reading it."""
        return 0

    def triggers(self, tables: Sequence[str]) -> list[tuple[str, str]]:
        """Give the users' triggers that fire while these tables are loaded, each after its table."""
        return []

    def deferrable_triggers(self, tables: Sequence[str]) -> list[DeferredObject]:
        """List those of them that can be off until the rows are there, and then be as they were."""
        return []

    def silenceable_triggers(self, tables: Sequence[str]) -> list[DeferredObject]:
        """List the triggers of tables and their partitions that one transaction can switch off for itself alone."""
        return []

    def cascading(self, tables: Sequence[str]) -> list[str]:
        """Name the foreign keys that act on the rows pointing into these tables when a row is deleted under a run."""
        return []

    def foreign_keys_into(self, tables: Collection[str], but: Collection[str]) -> list[tuple[str, str, str]]:
        """Give the foreign keys that lead into these tables, except those of the tables ``but``.

        Of each its table and column, as SQL has them, and the name of the table that it leads to.
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
        """List the foreign keys of tables, and the indexes of some, that can be taken off, in the order to do that in.

        Foreign keys that do not bind while rows are loaded are given only where indexes are.
        """

    @abstractmethod
    def unique_columns(self, table: str) -> list[Row]:
        """Give pairs of a unique index that holds for all rows, and a column; ``None`` where that is an expression."""

    def unique_keys(self, table: str) -> set[frozenset[str]]:
        """Give the columns of every primary key and unique index that holds for all rows of a table."""
        found: defaultdict[Any, set[str | None]] = defaultdict(set)
        for index, column in self.unique_columns(table):
            found[index].add(column)
        return {frozenset(filter(None, names)) for names in found.values() if None not in names}

    def deferrable_keys(self, table: Table, others: Sequence[Table]) -> dict[DeferredObject, frozenset[str]]:
        """Give the primary and unique keys that can be taken off a table, with their columns.

        The foreign keys of this table and of ``others`` are off by then, and no other foreign key may need them.
        """
        return {}

    def recreate(self, items: Sequence[DeferredObject]) -> None:
        """Restore what was taken off, whatever is there already being left alone."""
        for item in items:
            if not self.exists(item):
                self.execute(item.create_sql.replace("%", "%%"))

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
        """Find rows that keep a key from being recreated; ``None`` if no query finds them."""
        return None

    def can_index(self, item: DeferredObject, where: str, params: Sequence[Any]) -> bool:
        """Try an index on a temporary copy of some rows of its table, which is gone afterwards.

        ``where`` is a WHERE clause, keyword included. Raises the database's error if such a copy cannot be made.
        """
        raise NotImplementedError

    def entry_limits(self, tables: Sequence[str]) -> Mapping[str, Sequence[EntryLimit]]:
        """List, by table, the indexes that do not take every value which the table's columns hold."""
        return {}

    def accepts_entries(self, limit: EntryLimit, fill: Callable[[str], None]) -> bool:
        """Try such an index on a temporary table like its own, which ``fill`` fills by its name; nothing stays.

        Raises the database's error if there can be no such table, or it takes not even the rows.
        """
        raise NotImplementedError

    def event_triggers(self) -> list[str]:
        """Name the triggers of the database that may forbid changes of tables."""
        return []

    def locked_tables(self, item: DeferredObject) -> frozenset[str]:
        """Name what keeps two foreign keys from being put back at once where both touch it."""
        return frozenset({"any foreign key"})

    def tables_not_owned(self, tables: Sequence[str]) -> list[str]:
        """Name the tables among these that this session may fill and not alter."""
        return []

    def drop(self, item: DeferredObject) -> None:
        """Take one index or constraint off, unless it is gone already."""
        if self.exists(item):
            self.execute(item.drop_sql.replace("%", "%%"))

    def exists(self, item: DeferredObject) -> bool:
        """Tell whether the index or constraint is there."""
        raise NotImplementedError

    def enforced(self, references: Sequence[tuple[str, Reference]]) -> list[bool]:
        """Tell of foreign keys, each with its table, whether every row was held against them, and new ones will be."""
        return [False] * len(references)

    def sequences(self, tables: Sequence[Table]) -> list[KeySequence]:
        """List the tables' sequences, each with the largest key that is there."""
        found = self.next_keys(tables)
        keys = [(table.name, table.key[0]) for table in tables if table.name in found and len(table.key) == 1]
        return [
            KeySequence(*key, found[key[0]], largest) for key, largest in zip(keys, self.largest(keys), strict=True)
        ]

    def largest(self, keys: Sequence[tuple[str, str]]) -> list[int | None]:
        """Give the largest value of columns of whole numbers, each named with its table."""
        queries = [(f"SELECT MAX({self.quote(column)}) FROM {self.quote(table)}", ()) for table, column in keys]
        return [None if row[0] is None else int(row[0]) for row in self.fetch_each(queries)]

    def refresh_statistics(self, tables: Sequence[str]) -> None:
        """Let the query planner know what was loaded, where it would not soon find out by itself."""
        return

    @abstractmethod
    def next_keys(self, tables: Sequence[Table]) -> dict[str, int]:
        """Give the next key of each of these tables that has a counter, by its name, as far as that may be read."""

    @abstractmethod
    def reset_sequences(self, tables: Sequence[Table], next_keys: Mapping[str, int], *, may_lower: bool) -> None:
        """Set counters so that the next key is one above the largest, and not below that of ``next_keys``, by table.

        A counter that is further already is set back only where it ``may_lower`` them.
        """
