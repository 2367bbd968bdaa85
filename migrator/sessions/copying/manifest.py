"""What a copy has written: digests in a private file, by which a later pass recognizes its own sessions.

Neither keys nor data are stored. What is about to be written is noted first and confirmed afterwards: notes of a run
that was killed in between are not trusted.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
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


class Noted(NamedTuple):
    """What a manifest says about earlier passes: whether the last was completed, and whether one was after a switch."""

    is_finished: bool = False
    has_switched: bool = False


def noted_in(path: Path, identity: str) -> Noted:
    """Return what a file says about earlier passes of this copy; a missing file says nothing, and none is created.

    Raises :exc:`UsageError` for a file that is not a manifest, :exc:`Refused` for the manifest of another copy.
    """
    check_target(path)
    if not path.exists():
        return Noted()
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=60)) as database:
        try:
            tables = _tables(database, path)
            about = dict(database.execute("SELECT name, value FROM about")) if "about" in tables else {}
        except sqlite3.DatabaseError as error:
            raise _not_a_manifest(path, error) from error
    _check_identity(path, about, identity)
    return Noted(about.get("finished") == "yes", about.get("switched") == "yes")


def _tables(database: sqlite3.Connection, path: Path) -> set[str]:
    """Return the names of its tables; raise :exc:`UsageError` for another application's database."""
    names = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not names <= _TABLES:
        raise _not_a_manifest(path, "it is a database with other tables")
    return names


def _not_a_manifest(path: Path, why: object) -> UsageError:
    return UsageError(f"{str(path)!r} is not the manifest of a copy: {why}. Name another file. Nothing was written.")


def _check_identity(path: Path, about: Mapping[str, str], identity: str) -> None:
    if about and about.get("identity") != identity:
        raise Refused(
            f"The manifest {str(path)!r} belongs to another copy: from {about.get('identity')}. This one is from "
            f"{identity}. Name the file of this copy, or a new one. If only the settings have changed since, name both "
            "engines with --source-engine and --dest-engine, as they were then. Nothing was written."
        )


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
                _tables(self._database, path)  # before anything is added to it
                self._database.executescript("PRAGMA synchronous = NORMAL;" + _SCHEMA)
            except sqlite3.DatabaseError as error:
                raise _not_a_manifest(path, error) from error
            about = dict(self._database.execute("SELECT name, value FROM about"))
            _check_identity(path, about, identity)
            if not about:
                self._database.execute("INSERT INTO about VALUES ('identity', ?)", [identity])
            on_error.pop_all()

    def __enter__(self) -> Manifest:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()

    def set_finished(self, finished: bool) -> None:
        """Note whether the last pass was completed."""
        self._note("finished", finished)

    def set_switched(self) -> None:
        """Note that a pass was made after the switch."""
        self._note("switched", True)

    def _note(self, name: str, value: bool) -> None:
        self._database.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", [name, "yes" if value else "no"])

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
