"""What a copy has written: digests in a private file, by which a later pass recognizes its own sessions.

Neither keys nor data are stored. What is about to be written is noted first and confirmed afterwards: notes of a run
that was killed in between are not trusted.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from ...console.private_files import append_private, check_target
from ...errors import Refused, UsageError
from ...stores.base import Record, Store

_SCHEMA = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS batches (id INTEGER PRIMARY KEY, confirmed INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS sessions (
    key BLOB PRIMARY KEY, source BLOB NOT NULL, source_expires INTEGER, dest BLOB NOT NULL, dest_expires INTEGER,
    before BLOB, before_expires INTEGER, batch INTEGER NOT NULL
) WITHOUT ROWID;
"""
_TABLES = {"about", "batches", "sessions"}


class Entry(NamedTuple):
    """What was read and what was written for one session."""

    source: bytes
    source_expires: int | None
    dest: bytes
    dest_expires: int | None
    before: bytes | None
    before_expires: int | None
    confirmed: bool

    def read(self, session: Record, store: Store) -> bool:
        """Whether the source still holds what was copied."""
        return self.source == _digest(session.raw) and store.same_expiry(self.source_expires, session.expires)

    def wrote(self, session: Record, store: Store) -> bool:
        """Whether the destination still holds what this copy wrote."""
        written = _digest(session.raw)
        if written == self.dest and store.same_expiry(self.dest_expires, session.expires):
            return True
        # A run was killed between the note and the write: what an earlier run wrote is still ours.
        return written == self.before and store.same_expiry(self.before_expires, session.expires)


class Manifest:
    """The file. Several processes may hold it open."""

    def __init__(self, path: Path, identity: str) -> None:
        self.path = path
        if path.exists():
            check_target(path)
        else:
            append_private(path).close()  # with its mode set before it has any content
        with ExitStack() as on_error:
            self._database = sqlite3.connect(path, timeout=60, isolation_level=None)
            on_error.callback(self._database.close)
            try:
                self._check_tables()
                self._database.executescript("PRAGMA synchronous = NORMAL;" + _SCHEMA)
            except sqlite3.DatabaseError as error:
                raise UsageError(f"{str(path)!r} is not the manifest of a copy: {error}. Name another file.") from error
            self._check(identity)
            on_error.pop_all()

    def _check_tables(self) -> None:
        """Raise :exc:`UsageError` for another application's database, before anything is added to it."""
        names = {name for (name,) in self._database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not names <= _TABLES:
            raise UsageError(
                f"{str(self.path)!r} is not the manifest of a copy: it is a database with other tables. "
                "Name another file."
            )

    def _check(self, identity: str) -> None:
        known = dict(self._database.execute("SELECT name, value FROM about"))
        if not known:
            self._database.execute("INSERT INTO about VALUES ('identity', ?)", [identity])
        elif known.get("identity") != identity:
            raise Refused(
                f"The manifest {str(self.path)!r} belongs to another copy: from {known.get('identity')}. "
                "Name the file of this copy, or a new one."
            )

    def __enter__(self) -> Manifest:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    @property
    def is_finished(self) -> bool:
        """Whether the last pass was completed."""
        found = self._database.execute("SELECT value FROM about WHERE name = 'finished'").fetchone()
        return bool(found and found[0] == "yes")

    def set_finished(self, finished: bool) -> None:
        """Note whether the last pass was completed."""
        self._database.execute("INSERT OR REPLACE INTO about VALUES ('finished', ?)", ["yes" if finished else "no"])

    def lookup(self, keys: Iterable[str]) -> dict[str, Entry]:
        """Return what is noted about these keys, by key."""
        by_digest = {_digest(key): key for key in keys}
        marks = ", ".join("?" * len(by_digest))
        rows = self._database.execute(
            "SELECT key, source, source_expires, dest, dest_expires, before, before_expires, confirmed FROM sessions"
            f" JOIN batches ON batches.id = batch WHERE key IN ({marks})",
            list(by_digest),
        )
        return {by_digest[row[0]]: Entry(row[1], row[2], row[3], row[4], row[5], row[6], bool(row[7])) for row in rows}

    def intend(self, pairs: Sequence[tuple[Record, Record]]) -> int:
        """Note what is about to be written for (source, destination) pairs; return the batch number to confirm."""
        with _transaction(self._database) as database:
            batch = database.execute("INSERT INTO batches DEFAULT VALUES").lastrowid or 0
            database.executemany(
                "INSERT INTO sessions VALUES (?, ?, ?, ?, ?, NULL, NULL, ?) ON CONFLICT (key) DO UPDATE SET"
                " source = excluded.source, source_expires = excluded.source_expires, before = dest,"
                " before_expires = dest_expires, dest = excluded.dest, dest_expires = excluded.dest_expires,"
                " batch = excluded.batch",
                [
                    (
                        _digest(old.key),
                        _digest(old.raw),
                        old.expires,
                        _digest(new.raw),
                        new.expires,
                        batch,
                    )
                    for old, new in pairs
                ],
            )
        return batch

    def confirm(self, batch: int) -> None:
        """Confirm a batch: all of it is in the destination."""
        self._database.execute("UPDATE batches SET confirmed = 1 WHERE id = ?", [batch])

    def forget(self, keys: Iterable[str]) -> None:
        """Delete what is noted about these keys."""
        self._database.executemany("DELETE FROM sessions WHERE key = ?", [(_digest(key),) for key in keys])


class _transaction:  # noqa: N801  (used as a function)
    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def __enter__(self) -> sqlite3.Connection:
        self._database.execute("BEGIN IMMEDIATE")
        return self._database

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.execute("ROLLBACK" if kind else "COMMIT")


def _digest(value: str | bytes) -> bytes:
    return hashlib.blake2b(value.encode() if isinstance(value, str) else value, digest_size=16).digest()
