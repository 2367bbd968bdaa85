"""How rows are written: as values, as lines of text, in the binary form, or without leaving the database."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

from ...tables import StoredColumn
from .catalogue import DeferredObject
from .loading import Target, TextWriter, Writer
from .session_lifecycle import Lifecycle


class Writing(Lifecycle, ABC):
    """How one engine writes rows."""

    @abstractmethod
    def writer(self, table: str, targets: Sequence[Target]) -> Writer:
        """Return the bulk loader of values for a table."""

    def row_writer(self, table: str, targets: Sequence[Target]) -> Writer:
        """Return the loader whose errors are most exact about a single row."""
        return self.writer(table, targets)

    def text_writer(self, table: str, targets: Sequence[Target]) -> TextWriter | None:
        """Return the loader of lines of text for a table; ``None`` if it can't load lines now."""
        return None

    def takes_binary(self, source: Lifecycle, columns: Iterable[StoredColumn]) -> bool:
        """Whether columns of the same types in both databases can be moved in the source's own binary form."""
        return False

    def binary_writer(self, table: str, targets: Sequence[Target]) -> TextWriter:
        """Return the loader of that form for a table."""
        raise NotImplementedError

    def most_row_bytes(self) -> int | None:
        """Return how many bytes a row may have on its way into this database, if there is such a limit."""
        return None

    def attach_source(self, source: Lifecycle) -> None:
        """Prepare to read the source's snapshot in statements of this database, if that is possible.

        Called once, before anything is read; the source may take its snapshot again.
        """
        return

    def can_copy_within(self, source: Lifecycle) -> bool:
        """Whether :meth:`copy_within` is prepared, for tables whose columns all have the same types there."""
        return False

    def expect_recreation(self, items: Sequence[DeferredObject]) -> None:
        """Pass :meth:`copy_within` the dropped objects, some of which it may recreate along with the rows."""
        return

    def copy_within(
        self, table: str, columns: Sequence[str], tail: str, params: Sequence[Any]
    ) -> tuple[int, int] | None:
        """Copy a table's rows, chosen by the clauses in ``tail``, from the attached source, in one statement.

        Returns the rows and bytes that were written; ``None`` if it isn't possible now.
        """
        return None

    def detach_source(self) -> None:
        """Read nothing of the source in statements of this database, until :meth:`copy_within` is called again."""
        return

    def rows_within(self, rows: int) -> int:
        """Return how many rows, of so many in a table, :meth:`copy_within` copies in one chunk; 0 without it."""
        return 0

    def delete_rows(self, table: str) -> None:
        """Empty one table, within a transaction."""
        self.execute(f"DELETE FROM {self.quote(table)}")

    def empty(self, tables: Sequence[str]) -> None:
        """Empty these tables, children first, and never any other table."""
        for table in tables:
            self.delete_rows(table)

    def bind_now(self) -> None:
        """Check deferred constraints now, while the rows that break them are known."""
        return
