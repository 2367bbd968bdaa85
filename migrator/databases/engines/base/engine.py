"""What the tool asks of a database: its session, its rows and its errors."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from django.db.backends.base.base import BaseDatabaseWrapper

from ...tables import Reference
from .catalogue import Catalogue
from .digests import Digests
from .lines import Lines
from .loading import Target, TextWriter, Writer
from .session import Row, Session, cause_of
from .values import Values


class Severity(enum.Enum):
    """What an error of the database asks for."""

    RETRY = "retry"  # the same chunk may succeed: a lost link, a deadlock, a lock timeout
    DATA = "data"  # one row is the cause: look for it
    FATAL = "fatal"  # it needs a person: a full disk, missing rights, a changed schema


@dataclass(frozen=True)
class Fault:
    """What a database said about a row: its code and message without values, and the column if it named one."""

    code: str
    message: str
    column: str | None = None


@dataclass(frozen=True)
class Endpoint:
    """One side of a move, without any secret."""

    alias: str
    engine: str
    database: str
    host: str

    def __str__(self) -> str:
        return f"{self.alias!r}: {self.engine}, database {self.database!r} on {self.host}"


class Engine(Session, ABC):
    """One database, asked through its Django connection."""

    vendor: ClassVar[str]
    display_name: ClassVar[str]
    values_class: ClassVar[type[Values]]
    catalogue_class: ClassVar[type[Catalogue]]
    digests_class: ClassVar[type[Digests]]
    lines_class: ClassVar[type[Lines]]
    # Foreign keys do not bind while rows are loaded, and an explicit check at the end finds what dangles.
    can_switch_off_foreign_keys: ClassVar[bool] = False
    # Rows in the source can change under a run even though it reads in one transaction.
    snapshot_note: str | None = None
    # The tables of which that is so.
    outside_snapshot: frozenset[str] = frozenset()
    # Rows are loaded in a way that the plan should tell of.
    loading_note: str | None = None

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        super().__init__(connection)
        self._session: Any = None
        self.values = self.values_class(connection)
        self.catalogue = self.catalogue_class(connection)
        self.digests = self.digests_class(connection)
        self.lines = self.lines_class(connection)

    def check_address(self, *, must_exist: bool) -> None:
        """Look at where the database is said to be, before the first connection to it.

        Raises :exc:`~migrator.errors.Refused` where connecting would create what ``must_exist``.
        """
        return

    @abstractmethod
    def describe(self) -> Endpoint:
        """Tell engine, version, database and host."""

    @abstractmethod
    def open_source(self) -> None:
        """Make the session read-only and begin the one snapshot that the run reads."""

    @abstractmethod
    def open_destination(self) -> None:
        """Set the session up for loading: strict, without time limits that end a long run."""

    def remember_session(self) -> None:
        """Take note of the session that was set up just now."""
        self._session = self.connection.connection

    def is_intact(self) -> bool:
        """Tell whether that very session is still there: Django opens another in place of one that is lost."""
        return self._session is not None and self.connection.connection is self._session and self.connection.is_usable()

    def close(self) -> None:
        """End the session, and with it whatever was set up for it."""
        self.connection.close()

    @abstractmethod
    def is_same_database(self, other: Engine) -> bool:
        """Probe whether two connections of this engine reach the same physical database."""

    @abstractmethod
    def lock(self) -> bool:
        """Take the lock that keeps a second run off this destination; ``False`` where another run holds it."""

    @abstractmethod
    def unlock(self) -> None:
        """Give that lock back."""

    def count(self, table: str, where: str = "", params: Sequence[Any] = ()) -> int:
        """Count a table's rows exactly."""
        condition = f" WHERE {where}" if where else ""
        return int(self.fetch_value(f"SELECT COUNT(*) FROM {self.quote(table)}{condition}", params))

    def is_empty(self, table: str) -> bool:
        return not self.fetch_all(f"SELECT 1 FROM {self.quote(table)} LIMIT 1")

    @abstractmethod
    def stream(self, sql: str, params: Sequence[Any]) -> Iterator[list[Row]]:
        """Run a query and give its rows in batches that stay within a few megabytes."""

    @abstractmethod
    def writer(self, table: str, targets: Sequence[Target]) -> Writer:
        """Give the bulk loader for a table."""

    def careful_writer(self, table: str, targets: Sequence[Target]) -> Writer:
        """Give a loader whose errors tell most of a single row."""
        return self.writer(table, targets)

    def text_writer(self, table: str, targets: Sequence[Target]) -> TextWriter | None:
        """Give the loader of lines of text for a table; ``None`` where there is none now."""
        return None

    def join(self, source: Engine) -> None:
        """Prepare to read the source's snapshot in statements of this database, where that can be done.

        Called once, before anything is read; the source may take its snapshot anew.
        """
        return

    def can_read(self, source: Engine) -> bool:
        """Tell whether :meth:`copy_within` is prepared, for tables whose columns all have the same types there."""
        return False

    def copy_within(
        self, table: str, columns: Sequence[str], tail: str, params: Sequence[Any]
    ) -> tuple[int, int] | None:
        """Copy a table's rows, chosen by the clauses in ``tail``, from the source that was joined, in one statement.

        Returns the rows and bytes that were written; ``None`` where it cannot be done now.
        """
        return None

    def delete_rows(self, table: str) -> None:
        """Empty one table, within a transaction."""
        self.execute(f"DELETE FROM {self.quote(table)}")

    def empty(self, tables: Sequence[str]) -> None:
        """Empty these tables, children first, and no other table ever."""
        for table in tables:
            self.delete_rows(table)

    def bind_now(self) -> None:
        """Make deferred constraints speak now, while the rows that break them are known."""
        return

    def orphan_query(self, table: str, reference: Reference, select: str) -> str:
        """Build the query for rows whose reference leads nowhere; ``child`` names the table in it."""
        quote = self.quote
        return (
            f"SELECT {select} FROM {quote(table)} child LEFT JOIN {quote(reference.target_table)} parent "
            f"ON child.{quote(reference.column)} = parent.{quote(reference.target_column)} "
            f"WHERE child.{quote(reference.column)} IS NOT NULL AND parent.{quote(reference.target_column)} IS NULL"
        )

    def owns(self, error: BaseException) -> bool:
        """Tell whether an error came from this engine's driver."""
        database: Any = self.connection.Database  # type: ignore[attr-defined]
        return isinstance(cause_of(error), database.Error)

    @abstractmethod
    def severity(self, error: BaseException) -> Severity:
        """Tell whether to try again, to look for the row, or to stop."""

    @abstractmethod
    def fault(self, error: BaseException, table: str) -> Fault:
        """Read the code, the message without values and the column out of an error."""
