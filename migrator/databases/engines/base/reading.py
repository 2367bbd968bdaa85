"""How rows are counted and read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ...tables import Reference, StoredColumn
from .session import DatabaseSession, Row
from .values import Unreadable

# Tables of up to so many rows are counted in one statement; after a larger table the count can be interrupted.
COUNTED_TOGETHER = 10_000


class Reading(DatabaseSession, ABC):
    """How one engine reads rows."""

    def count(self, table: str, where: str = "", params: Sequence[Any] = ()) -> int:
        """Count a table's rows exactly."""
        condition = f" WHERE {where}" if where else ""
        return int(self.fetch_value(f"SELECT COUNT(*) FROM {self.quote(table)}{condition}", params))

    def counts(self, tables: Collection[str]) -> dict[str, int]:
        """Count the rows of tables exactly, by table; small ones in one statement."""
        limited = [f"SELECT 1 FROM {self.quote(table)} LIMIT {COUNTED_TOGETHER + 1}" for table in tables]
        found = self.fetch_each([(f"SELECT COUNT(*) FROM ({query}) few", ()) for query in limited])
        few = {table: int(row[0]) for table, row in zip(tables, found, strict=True)}
        return {table: self.count(table) if rows > COUNTED_TOGETHER else rows for table, rows in few.items()}

    def is_empty(self, table: str) -> bool:
        return not self.fetch_all(f"SELECT 1 FROM {self.quote(table)} LIMIT 1")

    @contextmanager
    def following_keys(self) -> Iterator[None]:
        """Make queries that are ordered by a primary key use its index."""
        yield

    @abstractmethod
    def stream(self, sql: str, params: Sequence[Any]) -> Generator[list[Row]]:
        """Run a query and yield its rows in batches of a few megabytes at most.

        Close the generator unless it is exhausted: the session can do nothing else before.
        """

    def stream_table(self, table: str, sql: str, params: Sequence[Any]) -> Generator[list[Row]]:
        """Run a query over one table as :meth:`stream` does, while the session runs no other query.

        What it learns of the size of the rows serves later queries over the same table.
        """
        return self.stream(sql, params)

    def key_parameter(self, value: Any) -> tuple[str, Any]:
        """Return the SQL that stands for a key's value in a statement, and its parameter.

        No row of a database has an :class:`Unreadable` key, unless the engine can hold one.
        """
        return "%s", None if isinstance(value, Unreadable) else value

    def typed_parameter(self, stored: StoredColumn) -> str:
        """Return the SQL for a parameter that is a value of a column's type."""
        return "%s"

    def recover(self) -> None:
        """Continue in the same snapshot after an error of a statement, if the engine would end its transaction."""
        return

    @contextmanager
    def tentatively(self) -> Iterator[None]:
        """Let a query fail in here without ending the transaction that the session reads in."""
        yield

    @contextmanager
    def reading_everything(self) -> Iterator[None]:
        """Make queries return :class:`Unreadable` for a value that is otherwise an error, so that a comparison goes on.

        The values are those that the driver cannot convert.
        """
        yield

    def orphan_query(self, table: str, reference: Reference, select: str, *, exactly: bool = False) -> str:
        """Build the query for rows whose foreign key has no parent; ``child`` is the table's alias in it.

        ``exactly``: a text is an orphan, too, if only its collation equals it to a parent's.
        """
        own = f"child.{self.quote(reference.column)}"
        other = f"parent.{self.quote(reference.target_column)}"
        equal = f"{own} = {other}"
        if exactly:
            equal += f" AND {self.exact(own)} = {self.exact(other)}"
        return (
            f"SELECT {select} FROM {self.quote(table)} child LEFT JOIN {self.quote(reference.target_table)} parent "
            f"ON {equal} WHERE {own} IS NOT NULL AND {other} IS NULL"
        )

    def exact(self, text: str) -> str:
        """Return the SQL for a text that equals only itself."""
        return text
