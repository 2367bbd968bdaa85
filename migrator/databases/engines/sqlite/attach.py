"""SQLite: the source's file attached to the destination's connection, so that rows are copied inside SQLite.

``INSERT INTO … SELECT *`` into an empty table copies the rows as they are stored if both tables have the same
definition, then the entries of their indexes in stored order (sqlite.org/src, ``xferOptimization()`` in insert.c).
Rebuilding the indexes afterwards would sort all entries.

Only what the run's snapshot shows may be copied. A third connection watches the file: as long as it sees no commit
since before that snapshot was taken, a new read of the file returns the same rows as the snapshot.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from django.db import DatabaseError

from ....errors import MigratorError
from ..base.catalogue import Catalogue, DeferredObject
from ..base.session import DatabaseSession, cause_of, prepared

NAME = "migrator_source"
ATTEMPTS = 5
# An interrupted run may have to repeat this much, and a stop waits for this much.
CHUNK_BYTES = 512 * 1024 * 1024
READING = (sqlite3.SQLITE_READ, sqlite3.SQLITE_SELECT, sqlite3.SQLITE_PRAGMA)
# SQLite's own collations sort the same on every connection (sqlite.org/datatype3.html#collating_sequences).
COLLATIONS = ("BINARY", "NOCASE", "RTRIM")
# Only a program that copies rows as they are stored has these opcodes (sqlite.org/opcode.html).
AS_STORED = {"RowCell", "RowData"}

RECOVERY = "recover its rows into another file with the .recover command of SQLite's shell"

# Device and inode: the identity of a file, whatever its path.
File = tuple[int, int]
# Whether an index is unique, and the position, direction and collation of each of its columns.
IndexForm = tuple[bool, tuple[tuple[int, int, str], ...]]


class AttachedSource:
    """A source that is read through the destination's own connection, which never writes to it."""

    def __init__(
        self, dest: Catalogue, path: str, file: File, size: int, watch: sqlite3.Connection, version: int
    ) -> None:
        self._dest, self._path, self._file, self._size = dest, path, file, size
        self._watch, self._version = watch, version
        self._session: Any = None

    def copy(
        self, table: str, columns: Sequence[str], tail: str, params: Sequence[Any], deferred: Sequence[DeferredObject]
    ) -> tuple[int, int] | None:
        """Copy the rows that ``tail`` selects, in the current transaction; return their number and their bytes.

        An index of ``deferred`` exists again afterwards if it could be copied with all rows. Return ``None`` if the
        file has changed since the snapshot, or cannot be attached. Raises :exc:`MigratorError` for a damaged file.
        """
        if not self._attach():
            return None
        try:
            return self._copy(table, columns, tail, params, deferred)
        except DatabaseError as error:
            if not is_damage(error):
                raise
            raise MigratorError(
                f"The file {self._path!r}, or that of {self._dest.alias!r}, is damaged: {cause_of(error)}; {RECOVERY}."
            ) from error

    def _copy(
        self, table: str, columns: Sequence[str], tail: str, params: Sequence[Any], deferred: Sequence[DeferredObject]
    ) -> tuple[int, int] | None:
        dest = self._dest
        dest.fetch_all(f"SELECT 1 FROM {NAME}.sqlite_master LIMIT 1")  # from here on the transaction sees one state
        if not self._is_unchanged():
            return None
        before = self._used_bytes()
        name = dest.quote(table)
        statement = f"INSERT INTO main.{name} SELECT * FROM {NAME}.{name}"
        if tail or not self._has_columns(table, columns) or not self._can_copy_indexes(table, statement, deferred):
            names = ", ".join(map(dest.quote, columns))
            # NOT INDEXED reads the rows themselves, not the entries of a covering index, which may be damaged.
            rest = tail or " NOT INDEXED"
            statement = f"INSERT INTO main.{name} ({names}) SELECT {names} FROM {NAME}.{name}{rest}"
        with dest.connection.cursor() as cursor:
            cursor.execute(*prepared(statement, params))
            rows = cursor.rowcount
        return rows, max(0, self._used_bytes() - before)

    def rows_in_chunk(self, rows: int) -> int:
        """Return how many of a table's ``rows`` fill a chunk: all of them if the whole file is not larger."""
        return rows * CHUNK_BYTES // max(CHUNK_BYTES, self._size)

    def detach(self) -> None:
        """Detach the file: SQLite looks there for a table that the destination lacks (sqlite.org/lang_naming.html)."""
        if self._session is not None and self._session is self._dest.connection.connection:
            with contextlib.suppress(DatabaseError):
                self._dest.execute(f"DETACH DATABASE {NAME}")
        self._session = None

    def close(self) -> None:
        """Stop watching; the file is detached when the session ends."""
        self._watch.close()

    def _attach(self) -> bool:
        driver = self._dest.connection.connection
        if self._session is not driver:
            with contextlib.suppress(DatabaseError):
                driver.set_authorizer(_deny_writes)
                # With mode=ro, SQLite would drop CHECK constraints from the schema, so that tables with one never equal
                # those of the destination (sqlite.org/src, sqlite3AddCheckConstraint() in build.c).
                self._dest.execute(f"ATTACH DATABASE %s AS {NAME}", (_uri(self._path, "rw"),))
                # Another file may be at this path by now.
                self._session = driver if file_at(self._path) == self._file else None
        return self._session is driver

    def _is_unchanged(self) -> bool:
        with contextlib.suppress(sqlite3.Error):
            return _data_version(self._watch) == self._version
        return False

    def _has_columns(self, table: str, columns: Sequence[str]) -> bool:
        """Whether these are all columns of the table, in the same order on both sides."""
        pragma = f"table_xinfo({self._dest.quote(table)})"
        here, there = (
            [str(row[1]) for row in self._dest.fetch_all(f"PRAGMA {name}.{pragma}")] for name in ("main", NAME)
        )
        return here == there and sorted(here) == sorted(columns)

    def _can_copy_indexes(self, table: str, statement: str, deferred: Sequence[DeferredObject]) -> bool:
        """Recreate the indexes that a statement can copy with the rows; return whether it copies rows as stored.

        An index is not copied if it has more or fewer entries than the table has rows, or if it is partial or over an
        expression, whose entries may be out of date.
        """
        dest = self._dest
        if dest.fetch_all(f"SELECT 1 FROM main.{dest.quote(table)} LIMIT 1"):
            return False
        there = index_forms(dest, NAME, table)
        dest.recreate(deferred)
        here = index_forms(dest, "main", table)
        common = {form for form in here.values() if form is not None and form in there.values()}
        dest.drop([item for item in deferred if here[item.name] not in common])
        copied = [name for name, form in there.items() if form in common]
        if (
            all(form in common for form in index_forms(dest, "main", table).values())
            and copies_as_stored(dest, statement)
            and are_complete(dest, NAME, table, copied)
        ):
            return True
        dest.drop(deferred)
        return False

    def _used_bytes(self) -> int:
        pages, free, size = (
            int(self._dest.fetch_value(f"PRAGMA main.{name}")) for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size


def attach_source(dest: Catalogue, path: str, file: File, begin: Callable[[], None]) -> AttachedSource | None:
    """Prepare to attach ``file`` at ``path``; ``begin`` takes the run's snapshot of it again.

    Return ``None`` if another file is at that path by now, or if commits are too frequent to take the snapshot between
    two of them.
    """
    with contextlib.suppress(sqlite3.Error, OSError), contextlib.ExitStack() as unused:
        watch = sqlite3.connect(_uri(path, "ro"), uri=True, isolation_level=None, check_same_thread=False)
        unused.callback(watch.close)
        for _ in range(ATTEMPTS):
            version = _data_version(watch)
            begin()
            if _data_version(watch) == version and file_at(path) == file:
                found = AttachedSource(dest, path, file, os.path.getsize(path), watch, version)
                unused.pop_all()
                return found
    return None


def file_at(path: str) -> File | None:
    """Return the identity of the file at a path, or ``None`` if no file is there."""
    with contextlib.suppress(OSError):
        found = os.stat(path)
        return found.st_dev, found.st_ino
    return None


def is_damage(error: BaseException) -> bool:
    """Whether SQLite reports that a file is malformed or not a database (sqlite.org/rescode.html)."""
    return str(getattr(cause_of(error), "sqlite_errorname", "")).startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB"))


def _uri(path: str, mode: str) -> str:
    return f"{Path(path).as_uri()}?mode={mode}"


def _deny_writes(action: int, one: str | None, other: str | None, database: str | None, inside: str | None) -> int:
    """Have SQLite reject statements that would write to the attached file (sqlite.org/c3ref/set_authorizer.html)."""
    return sqlite3.SQLITE_DENY if database == NAME and action not in READING else sqlite3.SQLITE_OK


def _data_version(watch: sqlite3.Connection) -> int:
    """Return a number that changes when another connection commits (sqlite.org/pragma.html#pragma_data_version)."""
    return int(watch.execute("PRAGMA data_version").fetchone()[0])


# -- indexes that both files have -------------------------------------------------------------------------------------


def index_forms(session: DatabaseSession, schema: str, table: str) -> dict[str, IndexForm | None]:
    """Describe the indexes of a table by name; ``None`` if the columns alone do not determine the entries."""
    found: dict[str, IndexForm | None] = {}
    for _, name, unique, _, is_partial in session.fetch_all(f"PRAGMA {schema}.index_list({session.quote(table)})"):
        entries = session.fetch_all(f"PRAGMA {schema}.index_xinfo({session.quote(name)})")
        columns = tuple((position, descends, order) for _, position, _, descends, order, is_key in entries if is_key)
        is_plain = not is_partial and all(at >= 0 and order in COLLATIONS for at, _, order in columns)
        found[name] = (bool(unique), columns) if is_plain else None
    return found


def are_complete(session: DatabaseSession, schema: str, table: str, indexes: Iterable[str]) -> bool:
    """Whether each of these indexes has an entry for every row, which a damaged one may not have."""
    name = f"{schema}.{session.quote(table)}"
    scans = ("NOT INDEXED", *(f"INDEXED BY {session.quote(index)}" for index in indexes))
    # A plain COUNT(*) scans the smallest b-tree of the table, whatever INDEXED BY says (sqlite.org/src, select.c,
    # isSimpleCount()); a condition prevents that.
    return len({session.fetch_value(f"SELECT COUNT(*) FROM {name} {scan} WHERE 1") for scan in scans}) == 1


def copies_as_stored(session: DatabaseSession, statement: str) -> bool:
    """Whether SQLite compiles an ``INSERT`` into a copy of rows as they are stored."""
    return any(opcode in AS_STORED for _, opcode, *_ in session.fetch_all(f"EXPLAIN {statement}"))
