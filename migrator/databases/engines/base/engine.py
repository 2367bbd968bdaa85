"""What the tool asks of a database: its session, its rows and its errors."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from django.db.backends.base.base import BaseDatabaseWrapper

from ....conf import DEFAULT_LINK_TIMEOUT
from ....console.safe_text import visible
from ....errors import MigratorError
from ...tables import Reference, StoredColumn
from .catalogue import Catalogue, DeferredObject
from .constraints import Constraints
from .digests import Digests
from .hold import Hold
from .lines import Lines
from .link import watch
from .loading import Target, TextWriter, Writer
from .session import DatabaseSession, Row, cause_of
from .types import Types
from .values import Unreadable, Values
from .visibility import Visibility

# Most processes that can share a run: each has a lock of its own in the destination.
MOST_WORKERS = 64


class SnapshotLost(MigratorError):
    """The one moment of the source that a run reads cannot be read any more."""

    @classmethod
    def of(cls, alias: str, said: str = "", *, role: str = "source") -> SnapshotLost:
        """Build the error for a database that is read in one snapshot, with the server's message."""
        reason = f": {said}" if said else ""
        return cls(f"The link to the {role} {alias!r} is lost, and its snapshot with it{reason}.")


class Severity(enum.Enum):
    """What an error of the database asks for."""

    RETRY = "retry"  # the same chunk may succeed: a lost link, a deadlock, a lock timeout
    DATA = "data"  # one row is the cause: look for it
    FATAL = "fatal"  # it needs a person: a full disk, missing rights, a changed schema


@dataclass(frozen=True)
class Fault:
    """What a database said about a row: its code and message without values, and what it named.

    That is a column, or several with commas between them, and a constraint or unique index.
    """

    code: str
    message: str
    column: str | None = None
    constraint: str | None = None

    def __post_init__(self) -> None:
        # Triggers say what they want, in several lines if they want.
        object.__setattr__(self, "message", visible(self.message))


@dataclass(frozen=True)
class DatabaseInfo:
    """One side of a move, without any secret."""

    alias: str
    engine: str
    database: str
    host: str

    def __str__(self) -> str:
        return f"{self.alias!r}: {self.engine}, database {self.database!r} on {self.host}"


# In rows of each. What counts larger ones can be interrupted after each of them.
COUNTED_TOGETHER = 10_000

# A lock of somebody else is waited for in portions of this many seconds, and each that was in vain is told.
LOCK_WAIT_SECONDS = 15


class Engine(DatabaseSession, ABC):
    """One database, asked through its Django connection."""

    vendor: ClassVar[str]
    display_name: ClassVar[str]
    values_class: ClassVar[type[Values]]
    catalogue_class: ClassVar[type[Catalogue]]
    constraints_class: ClassVar[type[Constraints]]
    digests_class: ClassVar[type[Digests]]
    types_class: ClassVar[type[Types]]
    lines_class: ClassVar[type[Lines]]
    visibility_class: ClassVar[type[Visibility]]
    # Foreign keys do not bind while rows are loaded, and an explicit check at the end finds what dangles.
    can_switch_off_foreign_keys: ClassVar[bool] = False
    # Sums of digests are added up by this process, and by no server.
    adds_up_here: ClassVar[bool] = False
    # Rows in the source can change under a run even though it reads in one transaction.
    snapshot_note: str | None = None
    # The tables of which that is so.
    outside_snapshot: frozenset[str] = frozenset()
    # What the driver calls the seconds that connecting may take; ``None`` where there is no server.
    connect_option: ClassVar[str | None] = "connect_timeout"
    # Seconds without a sign of life after which the link counts as lost.
    link_timeout: int = DEFAULT_LINK_TIMEOUT
    # Rows are loaded in a way that the plan should tell of.
    loading_note: str | None = None
    # The collation that tells names apart by their case, where that of the database may not.
    names_collation: ClassVar[str | None] = None
    # An index that is built takes in rows deleted just now, as long as an older transaction may still see them.
    indexes_deleted_rows: ClassVar[bool] = False
    # Several sessions can fill tables side by side.
    can_be_filled_side_by_side: ClassVar[bool] = False
    # Before readers can begin at one moment, whoever writes to the source has to wait for that moment.
    readers_hold_writers_up: ClassVar[bool] = False
    # How many other sessions can read the snapshot beside this one, and why they are fewer than were asked for.
    readers: int = 0
    readers_note: str | None = None
    # What a session that reads in a snapshot is to the command.
    role: str = "source"
    # The number of the process that this session works for; ``None`` for the run itself.
    worker: int | None = None

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        super().__init__(connection)
        self._session: Any = None
        self._identity: Row | None = None
        self._hold: Hold | None = None
        self.values = self.values_class(connection)
        self.catalogue = self.catalogue_class(connection)
        self.constraints = self.constraints_class(connection)
        self.digests = self.digests_class(connection)
        self.lines = self.lines_class(connection)
        self.visibility = self.visibility_class(connection)
        self.types = self.types_class(connection)

    def check_address(self, *, must_exist: bool) -> None:
        """Look at where the database is said to be, before the first connection to it.

        Raises :exc:`~migrator.errors.Refused` where connecting would create what ``must_exist``.
        """
        return

    def own_files(self) -> tuple[Path, ...]:
        """Return the files of this machine that the database consists of or may come to use; none of a server's."""
        return ()

    def connect(self) -> None:
        """Connect, unless that is done, and see to it that a server which is gone is missed after some seconds."""
        with self._default_option(self.connect_option, self.link_timeout):
            self.connection.ensure_connection()
        if self.connect_option is not None:
            watch(self.connection.connection.fileno(), self.link_timeout)

    @contextmanager
    def _default_option(self, name: str | None, value: Any) -> Iterator[None]:
        """Give the driver an option for a moment, unless the project's settings have it."""
        options = self.connection.settings_dict["OPTIONS"]
        if name is None or name in options:
            yield
            return
        options[name] = value
        try:
            yield
        finally:
            del options[name]

    @abstractmethod
    def describe(self) -> DatabaseInfo:
        """Tell engine, version, database and host."""

    @abstractmethod
    def open_source(self, tables: Sequence[str] = (), readers: int = 0) -> None:
        """Make the session read-only and begin the one snapshot that the run reads, of these tables.

        So many ``readers`` in other processes shall be able to read that very snapshot.
        """

    @abstractmethod
    def open_destination(self) -> None:
        """Set the session up for loading: strict, without time limits that end a long run."""

    def forbid_writes(self) -> None:
        """Let the server refuse whatever this session would write from now on, where it can."""
        return

    def why_read_only(self) -> str | None:
        """Tell why nothing can be written here, as far as that shows without a write."""
        return None

    def why_unprotected(self) -> tuple[str, str] | None:
        """Tell what lets others read the link to a server elsewhere, or answer in its place, and what closes it."""
        return None

    def hold_snapshot(self) -> None:
        """Refuse from now on, with :exc:`SnapshotLost`, every query that would not read the snapshot just begun."""
        self.release_snapshot()
        self._hold = Hold(self.connection, self.snapshot_lost)

    def snapshot_lost(self, said: str = "") -> SnapshotLost:
        """Return the error of a snapshot that is lost: with the reason if it is known here, or with what was said."""
        return SnapshotLost.of(self.alias, (self._hold and self._hold.reason()) or said, role=self.role)

    def release_snapshot(self) -> None:
        """Let the connection leave its snapshot."""
        if self._hold is not None:
            self._hold.release()
            self._hold = None

    def remember_session(self) -> None:
        """Take note of the session that was set up just now."""
        self._session = self.connection.connection
        self._identity = self.session_identity()

    def forget_session(self) -> None:
        """Take note that the session belongs to another process, and is none of this one's business."""
        self._session = self._identity = None

    def session_identity(self) -> Row | None:
        """Tell what names this session in the server, and no other one ever; ``None`` where there is no server."""
        return None

    @property
    def lost_session(self) -> int | None:
        """The server's number for the session of the last :meth:`remember_session`."""
        return None if self._identity is None else int(self._identity[0])

    def end_lost_session(self) -> None:
        """End the session of the last :meth:`remember_session`, whose link was lost, from a new one.

        Its server may not have noticed yet, and keeps its locks for it.
        """
        if self._identity is not None and self._identity != self.session_identity():
            self.end_session(self._identity)

    def end_session(self, identity: Row) -> None:
        """End a session of the same user, named by its :meth:`session_identity`."""
        raise NotImplementedError

    def blockers(self) -> list[str]:
        """Name the other sessions that may hold what this one waited for, as far as it may see them."""
        return []

    def has_session(self) -> bool:
        """Tell whether the connection is still that very session: Django opens another in place of one that is lost."""
        return self._session is not None and self.connection.connection is self._session

    def is_intact(self) -> bool:
        """Ask the server whether that very session is still there, and reads the snapshot that it began."""
        if self._hold is not None and self._hold.reason() is not None:
            return False
        return self.has_session() and self.connection.is_usable()

    def close(self) -> None:
        """End the session, and with it whatever was set up for it."""
        self.release_snapshot()
        self.connection.close()

    def join_snapshot(self, reader: int) -> None:
        """Read, in another process, the snapshot of the session that was inherited.

        Raises :exc:`SnapshotLost` where that is not possible any more.
        """
        raise NotImplementedError

    def rejoin_snapshot(self) -> bool:
        """Join the same snapshot once more after the link was lost; ``False`` where that cannot be."""
        return False

    def lose_reader(self, reader: int) -> None:
        """Take note that a reader's process has ended."""
        return

    def open_parallel_session(self) -> Engine | None:
        """Open another session here that only reads, and sees the very rows that this one sees.

        If :attr:`parallel_session_may_be_later`, those of any later moment. ``None`` if the engine cannot.
        """
        return None

    def open_helper_session(self) -> Engine | None:
        """Open another session, in a process of its own, that only reads, and sees the very rows that this one sees.

        ``None`` where there can be none, where one is not worth it, and where a server does the work anyway.
        """
        return None

    @property
    def parallel_session_may_be_later(self) -> bool:
        """Tell whether nothing proves that :meth:`open_parallel_session` sees the same moment."""
        return False

    def can_join(self, reader: int) -> bool:
        """Tell whether a process of this number can join the snapshot."""
        return False

    @abstractmethod
    def is_same_database(self, other: Engine) -> bool:
        """Probe whether two connections of this engine reach the same physical database."""

    def follows(self, other: Engine) -> bool:
        """Tell whether this is a replica of the other, a database of this engine: what is written there comes here."""
        return False

    def claim(self, tables: Sequence[str]) -> None:
        """Take note of the tables that a run writes to: its lock has to keep others off wherever they are."""
        return

    @abstractmethod
    def lock(self) -> bool:
        """Take the lock that keeps a second run off this destination; ``False`` where another run holds it.

        With a ``worker`` it is that worker's own lock, which its server holds until it knows of the worker's end.
        """

    def lock_holder(self) -> int | None:
        """Give the server's number for the session that holds that lock."""
        return None

    @abstractmethod
    def unlock(self) -> None:
        """Give that lock back."""

    def workers(self) -> set[int]:
        """Tell which workers of a run the server still has sessions of, be their processes alive or not."""
        return set()

    def count(self, table: str, where: str = "", params: Sequence[Any] = ()) -> int:
        """Count a table's rows exactly."""
        condition = f" WHERE {where}" if where else ""
        return int(self.fetch_value(f"SELECT COUNT(*) FROM {self.quote(table)}{condition}", params))

    def counts(self, tables: Collection[str]) -> dict[str, int]:
        """Count the rows of tables exactly, those of small ones together."""
        limited = [f"SELECT 1 FROM {self.quote(table)} LIMIT {COUNTED_TOGETHER + 1}" for table in tables]
        found = self.fetch_each([(f"SELECT COUNT(*) FROM ({query}) few", ()) for query in limited])
        few = {table: int(row[0]) for table, row in zip(tables, found, strict=True)}
        return {table: self.count(table) if rows > COUNTED_TOGETHER else rows for table, rows in few.items()}

    def is_empty(self, table: str) -> bool:
        return not self.fetch_all(f"SELECT 1 FROM {self.quote(table)} LIMIT 1")

    @contextmanager
    def following_keys(self) -> Iterator[None]:
        """Let queries in the order of a primary key follow its index."""
        yield

    @abstractmethod
    def stream(self, sql: str, params: Sequence[Any]) -> Generator[list[Row]]:
        """Run a query and give its rows in batches that stay within a few megabytes.

        Close what this gives where it is not read to its end: the session can do nothing else before.
        """

    def stream_table(self, table: str, sql: str, params: Sequence[Any]) -> Generator[list[Row]]:
        """Run a query over one table as :meth:`stream` does, where nothing else is asked before its end.

        What is learned of the size of its rows serves later queries over the same table.
        """
        return self.stream(sql, params)

    def key_parameter(self, value: Any) -> tuple[str, Any]:
        """Give the SQL that stands for a key's value in a statement, and its parameter.

        What is :class:`Unreadable` is in no row of a database that gives no such value.
        """
        return "%s", None if isinstance(value, Unreadable) else value

    def recover(self) -> None:
        """Go on in the same snapshot after an error of a statement, if the engine ends its transaction otherwise."""
        return

    def most_row_bytes(self) -> int | None:
        """Return how many bytes a row may have on its way into this database, if there is such a limit."""
        return None

    def typed_parameter(self, stored: StoredColumn) -> str:
        """Return the SQL for a parameter that is a value of a column's type."""
        return "%s"

    @contextmanager
    def tentatively(self) -> Iterator[None]:
        """Let a query fail in here without an end of the transaction that the session reads in."""
        yield

    @contextmanager
    def reading_everything(self) -> Iterator[None]:
        """Let queries give :class:`Unreadable` for what is otherwise an error: a comparison goes on past such rows."""
        yield

    @abstractmethod
    def writer(self, table: str, targets: Sequence[Target]) -> Writer:
        """Give the bulk loader for a table."""

    def row_writer(self, table: str, targets: Sequence[Target]) -> Writer:
        """Give a loader whose errors tell most of a single row."""
        return self.writer(table, targets)

    def text_writer(self, table: str, targets: Sequence[Target]) -> TextWriter | None:
        """Give the loader of lines of text for a table; ``None`` where there is none now."""
        return None

    def takes_binary(self, source: Engine, columns: Iterable[StoredColumn]) -> bool:
        """Tell whether columns of the same types in both databases can be moved as the source's own binary form."""
        return False

    def binary_writer(self, table: str, targets: Sequence[Target]) -> TextWriter:
        """Give the loader of that form for a table."""
        raise NotImplementedError

    def attach_source(self, source: Engine) -> None:
        """Prepare to read the source's snapshot in statements of this database, where that can be done.

        Called once, before anything is read; the source may take its snapshot anew.
        """
        return

    def can_copy_within(self, source: Engine) -> bool:
        """Tell whether :meth:`copy_within` is prepared, for tables whose columns all have the same types there."""
        return False

    def expect_recreation(self, items: Sequence[DeferredObject]) -> None:
        """Let :meth:`copy_within` know what is off, some of which it may be able to put back along with the rows."""
        return

    def copy_within(
        self, table: str, columns: Sequence[str], tail: str, params: Sequence[Any]
    ) -> tuple[int, int] | None:
        """Copy a table's rows, chosen by the clauses in ``tail``, from the source that was joined, in one statement.

        Returns the rows and bytes that were written; ``None`` where it cannot be done now.
        """
        return None

    def detach_source(self) -> None:
        """Read nothing of the source in statements of this database any more, until :meth:`copy_within` is called."""
        return

    def rows_in_chunk(self, rows: int, *, is_within: bool) -> int:
        """Tell how many rows, of so many in a table, are worth a commit of this destination.

        ``is_within``: they are copied by :meth:`copy_within`.
        """
        return 0

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

    def orphan_query(self, table: str, reference: Reference, select: str, *, exactly: bool = False) -> str:
        """Build the query for rows whose reference leads nowhere; ``child`` names the table in it.

        ``exactly``: a text leads nowhere, too, where only its collation takes another one for it.
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
        """Give the SQL for a text that equals none but itself."""
        return text

    def owns(self, error: BaseException) -> bool:
        """Tell whether an error came from this engine's driver."""
        database: Any = self.connection.Database  # type: ignore[attr-defined]
        return isinstance(cause_of(error), database.Error)

    @abstractmethod
    def severity(self, error: BaseException) -> Severity:
        """Tell whether to try again, to look for the row, or to stop."""

    def is_about_rows(self, error: BaseException) -> bool:
        """Tell whether a statement over many rows failed because of what is in some of them."""
        return self.severity(error) is Severity.DATA

    @abstractmethod
    def fault(self, error: BaseException, table: str) -> Fault:
        """Read the code, the message without values and the column out of an error."""
