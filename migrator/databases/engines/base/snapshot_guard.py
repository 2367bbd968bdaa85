"""A guard that keeps a connection in the one session and transaction in which a snapshot is read.

Django silently reconnects after any code has closed a connection, and its ``close_if_unusable_or_obsolete()``, which
``close_old_connections()`` calls, closes every connection whose autocommit is off (Django documentation, "Databases",
"Persistent connections"). The next query would then read another snapshot.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

CLOSED = "code outside of this run closed the connection"
ENDED = "code outside of this run ended the transaction"
GUARDED = ("ensure_connection", "close", "close_if_unusable_or_obsolete", "commit", "rollback", "set_autocommit")


class SnapshotGuard:
    """Refuses every query over ``connection`` that would not run in its present session and transaction.

    ``lost`` builds the error from the reason. Until :meth:`release`, nothing closes the connection: another thread may
    be reading from it, and SQLite's driver crashes if a connection is closed in the middle of a statement.
    """

    def __init__(self, connection: BaseDatabaseWrapper, lost: Callable[[str], Exception]) -> None:
        self._connection, self._lost = connection, lost
        self._session = connection.connection
        self._is_closed = self._has_ended = False
        # In the object itself, so that they also hold for the ORM and the project's own code.
        vars(connection).update(
            ensure_connection=self._check,
            close=self._close,
            close_if_unusable_or_obsolete=lambda: None,
            commit=self._ending(connection.commit),
            rollback=self._ending(connection.rollback),
            set_autocommit=self._ending(connection.set_autocommit),
        )

    def reason(self) -> str | None:
        """Return why the snapshot can no longer be read, ``None`` while it can."""
        if self._is_closed or self._connection.connection is not self._session:
            return CLOSED
        return ENDED if self._has_ended else None

    def release(self) -> None:
        """Give the connection its usual behaviour again."""
        for name in GUARDED:
            vars(self._connection).pop(name, None)

    def _close(self) -> None:
        self._is_closed = True

    def _check(self) -> None:
        if (reason := self.reason()) is not None:
            raise self._lost(reason)

    def _ending(self, usual: Callable[..., Any]) -> Callable[..., Any]:
        def end(*args: Any, **options: Any) -> Any:
            self._has_ended = True
            return usual(*args, **options)

        return end
