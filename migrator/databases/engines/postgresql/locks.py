"""PostgreSQL: the advisory locks that keep a second run off the schemas that a run writes to."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from ..base.run_locks import MOST_WORKERS
from ..base.session import DatabaseSession
from ..base.visible_tables import Visibility

# "migrator" in ASCII; advisory locks are local to a database (PostgreSQL manual, "Advisory Locks"). Schemas other than
# public have a number of their own instead of the first four letters.
RUN_LOCK = 0x6D69_6772_6174_6F72
HIGH, LOW = RUN_LOCK >> 32, RUN_LOCK & 0xFFFF_FFFF
USUAL_SCHEMA = "public"

Lock = tuple[int, int]


class Locks:
    """The locks of one session: the run's own, or those of a ``worker``."""

    def __init__(self, session: DatabaseSession, visibility: Visibility) -> None:
        self._session, self._visibility = session, visibility
        self._schemas: tuple[str, ...] = ()

    def claim(self, tables: Sequence[str]) -> None:
        """Use from now on the locks of the schemas of these tables and of the journal."""
        seen = self._visibility.visible_tables(tables)
        self._schemas = tuple(sorted({self._own_schema(), *(str(one.schema) for one in seen.values())}))

    def _own_schema(self) -> str:
        return self._visibility.new_tables_schema() or USUAL_SCHEMA

    def _of(self, worker: int | None) -> list[Lock]:
        """Return both halves of each lock's number, by schema."""
        low = LOW if worker is None else LOW + 1 + worker
        schemas = self._schemas or (self._own_schema(),)
        return [(HIGH if name == USUAL_SCHEMA else zlib.crc32(name.encode()) & 0x7FFF_FFFF, low) for name in schemas]

    def take(self, worker: int | None) -> bool:
        """Take all of them or none; return whether that worked."""
        taken: list[Lock] = []
        for high, low in self._of(worker):
            if not self._session.fetch_value("SELECT pg_try_advisory_lock(%s)", (high << 32 | low,)):
                self._release(taken)
                return False
            taken.append((high, low))
        return True

    def release(self, worker: int | None) -> None:
        """Release all of them."""
        self._release(self._of(worker))

    def _release(self, locks: Sequence[Lock]) -> None:
        for high, low in locks:
            self._session.fetch_value("SELECT pg_advisory_unlock(%s)", (high << 32 | low,))

    def holder(self, worker: int | None) -> int | None:
        """Return the server's number for a session that holds one of them."""
        holder: int | None = self._session.fetch_value(
            "SELECT pid FROM pg_locks WHERE granted AND locktype = 'advisory' AND classid = ANY(%s::oid[]) "
            "AND objid = %s AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            ([high for high, _ in self._of(worker)], self._of(worker)[0][1]),
        )
        return holder

    def workers(self) -> set[int]:
        """Return the numbers of all workers that have locks in these schemas."""
        rows = self._session.fetch_all(
            "SELECT objid FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 AND classid = ANY(%s::oid[]) "
            "AND objid BETWEEN %s AND %s "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            ([high for high, _ in self._of(None)], LOW + 1, LOW + MOST_WORKERS),
        )
        return {int(row[0]) - LOW - 1 for row in rows}
