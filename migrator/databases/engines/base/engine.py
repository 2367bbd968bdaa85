"""What the tool needs of a database: its session, its rows, its errors, and the parts that know its SQL."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

from django.db.backends.base.base import BaseDatabaseWrapper

from ...findings import Finding
from ...tables import Table
from .catalogue import Catalogue
from .change_feed import ChangeFeed
from .constraints import Constraints
from .digests import Digests
from .errors import Errors
from .reading import Reading
from .run_locks import RunLocks
from .server_lines import Lines
from .shared_snapshots import SharedSnapshots
from .types import Types
from .values import Values
from .visible_tables import Visibility
from .writing import Writing


class Engine(SharedSnapshots, RunLocks, Reading, Writing, Errors, ABC):
    """One database, through its Django connection. How it differs from others is in :attr:`features`."""

    values_class: ClassVar[type[Values]]
    catalogue_class: ClassVar[type[Catalogue]]
    constraints_class: ClassVar[type[Constraints]]
    digests_class: ClassVar[type[Digests]]
    types_class: ClassVar[type[Types]]
    lines_class: ClassVar[type[Lines]]
    visibility_class: ClassVar[type[Visibility]]

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        super().__init__(connection)
        self.values = self.values_class(connection)
        self.catalogue = self.catalogue_class(connection)
        self.constraints = self.constraints_class(connection)
        self.digests = self.digests_class(connection)
        self.lines = self.lines_class(connection)
        self.visibility = self.visibility_class(connection)
        self.types = self.types_class(connection)

    def open_parallel_session(self) -> Engine | None:
        """Open a second read-only session in this process that sees the same rows; ``None`` if that isn't possible.

        If :attr:`parallel_session_may_be_later`, it may see the rows of a later moment.
        """
        return None

    @property
    def parallel_session_may_be_later(self) -> bool:
        """Whether nothing proves that :meth:`open_parallel_session` reads the same snapshot."""
        return False

    def open_helper_session(self) -> Engine | None:
        """Open a second read-only session, in a process of its own, that sees the same rows.

        ``None`` if there can be none, if it isn't worth its start, or if a server does the work anyway.
        """
        return None

    def renew_snapshot(self, tables: Sequence[str]) -> None:
        """End the snapshot of :meth:`open_source`, and begin another one of the present moment."""
        self.close()
        self.open_source(tables)
        self.remember_session()

    def feed_obstacles(self) -> Iterator[Finding]:
        """Yield why the changes of this source cannot be followed, each with what would allow it."""
        yield Finding(
            self.alias,
            f"{self.display_name} does not report which rows change, so --follow cannot follow it",
            "Move without --follow while the site runs, then stop it, and call again with --update.",
        )

    def open_change_feed(self, tables: Sequence[Table], check: Callable[[], None]) -> ChangeFeed:
        """Begin to follow the changes of tables, before a snapshot; ``check`` is called while that waits.

        Raises :exc:`~migrator.errors.Refused` if it cannot begin now.
        """
        raise NotImplementedError
