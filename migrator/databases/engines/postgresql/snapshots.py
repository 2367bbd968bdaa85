"""PostgreSQL: the snapshot of a source, which is exported, so that sessions of several processes read it."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from django.db import DatabaseError, Error

from ..base.errors import SnapshotLost
from ..base.shared_snapshots import SharedSnapshots
from . import replication
from .errors import sqlstate

# The existing ones among named tables, as SQL has them, that this role may lock against being rewritten.
LOCKABLE = """
    SELECT oid::regclass::text FROM pg_class
    WHERE oid = ANY(SELECT to_regclass(n) FROM unnest(%s::text[]) n) AND relkind IN ('r', 'p')
      AND has_table_privilege(oid, 'SELECT')
"""
HELD = "migrator_snapshot"
IN_ERROR = 3  # libpq's PQTRANS_INERROR


class Snapshots(SharedSnapshots, ABC):
    """A session that reads in one snapshot, its own or that of another session."""

    _snapshot: str | None = None
    _reads_snapshot = _is_reader = _is_held = False

    @abstractmethod
    def _open(self) -> None:
        """Connect, and set the session up."""

    def open_source(self, tables: Sequence[str] = (), readers: int = 0) -> None:
        self._begin_reading(tables)
        self.snapshot_note = replication.patience_note(self)  # the first query takes the snapshot
        if readers:
            self._snapshot = self._export_snapshot()
            self.readers = readers
        self._hold_snapshot()

    def _export_snapshot(self) -> str:
        is_held, self._is_held = self._is_held, False
        if is_held:  # a subtransaction cannot export a snapshot (PostgreSQL manual, pg_export_snapshot)
            self.execute(f"RELEASE SAVEPOINT {HELD}")
        name = str(self.fetch_value("SELECT pg_export_snapshot()"))
        if is_held:
            self._hold_snapshot()
        return name

    def _hold_snapshot(self) -> None:
        """Set a savepoint, so that an error of a statement does not end the transaction, and with it the snapshot."""
        self.execute(f"SAVEPOINT {HELD}")
        self._is_held = True

    def recover(self) -> None:
        driver: Any = self.connection.connection
        if self._is_held and driver is not None and driver.info.transaction_status == IN_ERROR:
            with contextlib.suppress(Error):
                self.execute(f"ROLLBACK TO SAVEPOINT {HELD}")

    def is_intact(self) -> bool:
        self.recover()
        return super().is_intact()

    def _begin_reading(self, kept: Sequence[str] = ()) -> None:
        """Begin a transaction whose first query takes the snapshot; lock ``kept`` tables against being rewritten."""
        self._reads_snapshot, self._is_held = True, False
        self._open()
        self.forbid_writes()
        there = self.fetch_all(LOCKABLE, ([self.identifier(table) for table in kept],)) if kept else []
        self.connection.set_autocommit(False)
        self.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        if there:
            # A table that is truncated or rewritten later looks empty in the snapshot (manual, 13.6, "Caveats").
            names = ", ".join(name.replace("%", "%%") for (name,) in there)
            self.execute(f"LOCK TABLE {names} IN ACCESS SHARE MODE")
        self.hold_snapshot()

    def forbid_writes(self) -> None:
        self.execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")

    @property
    def snapshot_name(self) -> str | None:
        return self._snapshot

    def join_named_snapshot(self, name: str) -> None:
        self._snapshot = name
        self.join_snapshot(0)

    def can_join(self, reader: int) -> bool:
        return self._snapshot is not None

    def rejoin_snapshot(self) -> bool:
        if not self._is_reader:
            return False
        with contextlib.suppress(Error, SnapshotLost):
            self.join_snapshot(0)
            return True
        return False

    def join_snapshot(self, reader: int) -> None:
        self._is_reader = True
        self.release_snapshot()
        self.connection.close()
        self._begin_reading()
        try:
            # The name comes from the server. SET accepts no parameters bound by the server.
            self.execute(f"SET TRANSACTION SNAPSHOT '{self._snapshot}'")
        except DatabaseError as error:
            if sqlstate(error) is None:  # the connection was lost meanwhile
                raise
            raise SnapshotLost.of(self.alias) from error
        self._hold_snapshot()

    def _lend_snapshot(self, other: Snapshots) -> None:
        """Let another session of this process read the same snapshot."""
        other._snapshot = self._export_snapshot()
        other.join_snapshot(0)
