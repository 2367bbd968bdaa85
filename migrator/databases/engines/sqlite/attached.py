"""SQLite: the source's file attached to the destination's connection, so that rows are copied without leaving SQLite.

Only what the run's snapshot shows may be copied. A third connection watches the file: as long as it sees no commit
since before that snapshot was taken, whoever reads the file now reads the very same.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from django.db import DatabaseError

from ..base.session import Session, prepared

NAME = "migrator_source"
ATTEMPTS = 5
# As much may have to be copied again after a run was cut off, and is waited for when one shall end.
CHUNK_BYTES = 256 * 1024 * 1024

File = tuple[int, int]


class Attached:
    """A source that is read through the destination's own connection, and never written to by it."""

    def __init__(
        self, dest: Session, path: str, file: File, size: int, watch: sqlite3.Connection, version: int
    ) -> None:
        self._dest, self._path, self._file, self._size = dest, path, file, size
        self._watch, self._version = watch, version
        self._session: Any = None

    def copy(self, table: str, columns: Sequence[str], tail: str, params: Sequence[Any]) -> tuple[int, int] | None:
        """Copy the rows that ``tail`` chooses, in the current transaction; return their number and size.

        Returns ``None`` where the file is no longer what the snapshot shows, or cannot be attached.
        """
        if not self._attach():
            return None
        dest, name, names = self._dest, self._dest.quote(table), ", ".join(map(self._dest.quote, columns))
        into, chosen = f"{name} ({names})", names
        if not tail and self._are_whole_rows(table, columns):
            into, chosen = name, "*"
        dest.fetch_all(f"SELECT 1 FROM {NAME}.sqlite_master LIMIT 1")  # from here on the transaction sees one state
        if not self._is_as_it_was():
            return None
        before = self._used_bytes()
        with dest.connection.cursor() as cursor:
            statement = f"INSERT INTO main.{into} SELECT {chosen} FROM {NAME}.{name}{tail}"
            cursor.execute(*prepared(statement, params))
            rows = cursor.rowcount
        return rows, max(0, self._used_bytes() - before)

    def rows_in_chunk(self, rows: int) -> int:
        """Tell how many rows, of so many in a table, fill a chunk: all of them where the whole file is no larger."""
        return rows * CHUNK_BYTES // max(CHUNK_BYTES, self._size)

    def close(self) -> None:
        """Stop watching; the attached file goes with the session."""
        self._watch.close()

    def _attach(self) -> bool:
        driver = self._dest.connection.connection
        if self._session is not driver:
            with contextlib.suppress(DatabaseError):
                self._dest.execute(f"ATTACH DATABASE %s AS {NAME}", (_address(self._path),))
                # Another file may have taken its place.
                self._session = driver if file_at(self._path) == self._file else None
        return self._session is driver

    def _is_as_it_was(self) -> bool:
        with contextlib.suppress(sqlite3.Error):
            return _version(self._watch) == self._version
        return False

    def _are_whole_rows(self, table: str, columns: Sequence[str]) -> bool:
        """Tell whether these are all columns, in the same order on both sides.

        A whole table is then copied as it is stored, if SQLite finds nothing else in the way, and not value by value.
        """
        pragma = f"table_xinfo({self._dest.quote(table)})"
        here, there = (
            [str(row[1]) for row in self._dest.fetch_all(f"PRAGMA {name}.{pragma}")] for name in ("main", NAME)
        )
        return here == there and sorted(here) == sorted(columns)

    def _used_bytes(self) -> int:
        pages, free, size = (
            int(self._dest.fetch_value(f"PRAGMA main.{name}")) for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size


def attached(dest: Session, path: str, file: File, begin: Callable[[], None]) -> Attached | None:
    """Prepare to attach ``file``, which is at ``path``, and whose snapshot ``begin`` takes anew.

    Returns ``None`` where it is another file by now, or written to so often that no quiet moment is found.
    """
    with contextlib.suppress(sqlite3.Error, OSError), contextlib.ExitStack() as unused:
        watch = sqlite3.connect(_address(path), uri=True, isolation_level=None, check_same_thread=False)
        unused.callback(watch.close)
        for _ in range(ATTEMPTS):
            version = _version(watch)
            begin()
            if _version(watch) == version and file_at(path) == file:
                found = Attached(dest, path, file, os.path.getsize(path), watch, version)
                unused.pop_all()
                return found
    return None


def file_at(path: str) -> File | None:
    """Tell which file is at a path, whatever it is called."""
    with contextlib.suppress(OSError):
        found = os.stat(path)
        return found.st_dev, found.st_ino
    return None


def _address(path: str) -> str:
    return f"{Path(path).as_uri()}?mode=ro"


def _version(watch: sqlite3.Connection) -> int:
    """Return a number that is another one once somebody else has committed (sqlite.org/pragma.html, data_version)."""
    return int(watch.execute("PRAGMA data_version").fetchone()[0])
