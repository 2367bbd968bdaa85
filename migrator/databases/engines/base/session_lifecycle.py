"""A session from its first connection to its end: how it is opened, set up, recognised and closed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper

from ....conf import DEFAULT_LINK_TIMEOUT
from .errors import SnapshotLost
from .features import Features
from .keepalive import set_keepalive
from .session import DatabaseSession, Row
from .snapshot_guard import SnapshotGuard

# The longest that a statement waits for a lock of another session; each wait that fails is reported.
LOCK_WAIT_SECONDS = 15


@dataclass(frozen=True)
class DatabaseInfo:
    """One database of a run, without its password."""

    alias: str
    engine: str
    database: str
    host: str

    def __str__(self) -> str:
        return f"{self.alias!r}: {self.engine}, database {self.database!r} on {self.host}"


class Lifecycle(DatabaseSession, ABC):
    """The life of one session."""

    vendor: ClassVar[str]
    display_name: ClassVar[str]
    features: ClassVar[Features]

    # Seconds without a sign of life after which the connection counts as lost.
    link_timeout: int = DEFAULT_LINK_TIMEOUT
    # A note for the plan on how this destination loads rows.
    loading_note: str | None = None
    # A note for the plan if rows of the source can change during the run, though it reads in one transaction.
    snapshot_note: str | None = None
    # The tables whose rows can change.
    outside_snapshot: frozenset[str] = frozenset()
    # What a session that reads in a snapshot is to the command.
    role: str = "source"
    # The number of the worker process that this session works for; ``None`` for the run itself.
    worker: int | None = None

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        super().__init__(connection)
        self._session: Any = None
        self._identity: Row | None = None
        self._guard: SnapshotGuard | None = None

    def check_address(self, *, must_exist: bool) -> None:
        """Check the address of the database before the first connection to it.

        Raises :exc:`~migrator.errors.Refused` if connecting would create a database that ``must_exist``.
        """
        return

    def own_files(self) -> tuple[Path, ...]:
        """Return the files on this machine that the database consists of or may use; none for a server's database."""
        return ()

    def connect(self) -> None:
        """Connect, unless connected, and make the kernel notice a server that is gone within ``link_timeout``."""
        option = self.features.connect_timeout_option
        with self._default_option(option, self.link_timeout):
            self.connection.ensure_connection()
        if option is not None:
            set_keepalive(self.connection.connection.fileno(), self.link_timeout)

    @contextmanager
    def _default_option(self, name: str | None, value: Any) -> Iterator[None]:
        """Pass the driver an option for the moment, unless the project's settings have it."""
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
        """Return the engine with its version, the database and the host."""

    @abstractmethod
    def open_source(self, tables: Sequence[str] = (), readers: int = 0) -> None:
        """Make the session read-only and begin the snapshot that the run reads, of these tables.

        ``readers`` other processes must be able to read the same snapshot.
        """

    @abstractmethod
    def open_destination(self) -> None:
        """Set the session up for loading: strict, without time limits that would end a long run."""

    def server_settings(self) -> list[tuple[str, str]]:
        """Return the names and values of settings that matter for a run, for people."""
        return []

    def free_bytes(self) -> int | None:
        """Return how much room is left for the database, if that is known."""
        return None

    def free_sessions(self) -> int | None:
        """Return how many more sessions the server accepts, if that is known."""
        return None

    def forbid_writes(self) -> None:
        """Make the server refuse whatever this session would write from now on, if it can."""
        return

    @contextmanager
    def without_writes(self) -> Iterator[None]:
        """Have the server refuse whatever is written in this context.

        The session keeps no setting of it: a pool may give the session to another client afterwards.
        """
        self.execute("START TRANSACTION READ ONLY")
        try:
            yield
        finally:
            with suppress(Error):
                self.execute("ROLLBACK")

    def why_read_only(self) -> str | None:
        """Return why nothing can be written here, as far as that shows without a write."""
        return None

    def why_unprotected(self) -> tuple[str, str] | None:
        """Return why others could read the connection to a remote server or pose as it, and the setting that helps."""
        return None

    def hold_snapshot(self) -> None:
        """Refuse from now on, with :exc:`SnapshotLost`, every query that would not read the snapshot just begun."""
        self.release_snapshot()
        self._guard = SnapshotGuard(self.connection, self.snapshot_lost)

    def snapshot_lost(self, said: str = "") -> SnapshotLost:
        """Build the error of a lost snapshot: with the reason if it is known here, otherwise with ``said``."""
        return SnapshotLost.of(self.alias, (self._guard and self._guard.reason()) or said, role=self.role)

    def release_snapshot(self) -> None:
        """Let the connection leave its snapshot."""
        if self._guard is not None:
            self._guard.release()
            self._guard = None

    def remember_session(self) -> None:
        """Remember the session that was just set up."""
        self._session = self.connection.connection
        self._identity = self.session_identity()

    def forget_session(self) -> None:
        """Forget the session: it belongs to another process."""
        self._session = self._identity = None

    def session_identity(self) -> Row | None:
        """Return what identifies this session in the server, and no other one ever; ``None`` without a server."""
        return None

    @property
    def lost_session(self) -> int | None:
        """The server's number for the session of the last :meth:`remember_session`."""
        return None if self._identity is None else int(self._identity[0])

    def end_lost_session(self) -> None:
        """End the session of the last :meth:`remember_session`, whose connection was lost, from a new one.

        Its server may not have noticed yet, and would keep its locks.
        """
        if self._identity is not None and self._identity != self.session_identity():
            self.end_session(self._identity)

    def end_session(self, identity: Row) -> None:
        """End a session of the same user, given its :meth:`session_identity`."""
        raise NotImplementedError

    def blockers(self) -> list[str]:
        """List the other sessions that may hold the lock that this one waited for, as far as it may see them."""
        return []

    def has_session(self) -> bool:
        """Whether the connection is still that session: Django silently replaces one that is lost."""
        return self._session is not None and self.connection.connection is self._session

    def is_intact(self) -> bool:
        """Ask the server whether that session still exists and reads the snapshot that it began."""
        if self._guard is not None and self._guard.reason() is not None:
            return False
        return self.has_session() and self.connection.is_usable()

    def close(self) -> None:
        """End the session, and with it everything that was set up for it."""
        self.release_snapshot()
        self.connection.close()
