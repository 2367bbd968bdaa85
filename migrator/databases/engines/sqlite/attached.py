"""SQLite: the source's file attached to the destination's connection, so that rows are copied without leaving SQLite.

A whole table is copied with its indexes where they are alike there, so that these need not be made anew.

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

from ....errors import MigratorError
from ..base.catalogue import Catalogue, DeferredObject
from ..base.session import cause_of, prepared
from .indexes import are_complete, copies_as_stored, forms

NAME = "migrator_source"
ATTEMPTS = 5
# As much may have to be copied again after a run was cut off, and is waited for when one shall end.
CHUNK_BYTES = 2 * 1024 * 1024 * 1024
READING = (sqlite3.SQLITE_READ, sqlite3.SQLITE_SELECT, sqlite3.SQLITE_PRAGMA)

RECOVERY = "recover its rows into another file with the .recover command of SQLite's shell"

File = tuple[int, int]


class Attached:
    """A source that is read through the destination's own connection, and never written to by it."""

    def __init__(
        self, dest: Catalogue, path: str, file: File, size: int, watch: sqlite3.Connection, version: int
    ) -> None:
        self._dest, self._path, self._file, self._size = dest, path, file, size
        self._watch, self._version = watch, version
        self._session: Any = None

    def copy(
        self, table: str, columns: Sequence[str], tail: str, params: Sequence[Any], taken_off: Sequence[DeferredObject]
    ) -> tuple[int, int] | None:
        """Copy the rows that ``tail`` chooses, in the current transaction; return their number and size.

        An index of ``taken_off`` is back afterwards if it could be copied with all rows. Returns ``None`` where the
        file is no longer what the snapshot shows, or cannot be attached.
        """
        if not self._attach():
            return None
        try:
            return self._copy(table, columns, tail, params, taken_off)
        except DatabaseError as error:
            if not is_damage(error):
                raise
            raise MigratorError(
                f"The file {self._path!r}, or that of {self._dest.alias!r}, is damaged: {cause_of(error)}; {RECOVERY}."
            ) from error

    def _copy(
        self, table: str, columns: Sequence[str], tail: str, params: Sequence[Any], taken_off: Sequence[DeferredObject]
    ) -> tuple[int, int] | None:
        dest = self._dest
        dest.fetch_all(f"SELECT 1 FROM {NAME}.sqlite_master LIMIT 1")  # from here on the transaction sees one state
        if not self._is_as_it_was():
            return None
        before = self._used_bytes()
        name = dest.quote(table)
        statement = f"INSERT INTO main.{name} SELECT * FROM {NAME}.{name}"
        if tail or not self._has_columns(table, columns) or not self._brings_indexes(table, statement, taken_off):
            names = ", ".join(map(dest.quote, columns))
            # Rows themselves, not the entries of an index that has all columns.
            rest = tail or " NOT INDEXED"
            statement = f"INSERT INTO main.{name} ({names}) SELECT {names} FROM {NAME}.{name}{rest}"
        with dest.connection.cursor() as cursor:
            cursor.execute(*prepared(statement, params))
            rows = cursor.rowcount
        return rows, max(0, self._used_bytes() - before)

    def rows_in_chunk(self, rows: int) -> int:
        """Tell how many rows, of so many in a table, fill a chunk: all of them where the whole file is no larger."""
        return rows * CHUNK_BYTES // max(CHUNK_BYTES, self._size)

    def detach(self) -> None:
        """Let names mean tables of the destination alone: one that is missing there would be looked for here."""
        if self._session is not None and self._session is self._dest.connection.connection:
            with contextlib.suppress(DatabaseError):
                self._dest.execute(f"DETACH DATABASE {NAME}")
        self._session = None

    def close(self) -> None:
        """Stop watching; the attached file goes with the session."""
        self._watch.close()

    def _attach(self) -> bool:
        driver = self._dest.connection.connection
        if self._session is not driver:
            with contextlib.suppress(DatabaseError):
                driver.set_authorizer(_reads_alone)
                # Of a file that is opened for reading only SQLite forgets the CHECKs, and so no table is like another.
                self._dest.execute(f"ATTACH DATABASE %s AS {NAME}", (_address(self._path, "rw"),))
                # Another file may have taken its place.
                self._session = driver if file_at(self._path) == self._file else None
        return self._session is driver

    def _is_as_it_was(self) -> bool:
        with contextlib.suppress(sqlite3.Error):
            return _version(self._watch) == self._version
        return False

    def _has_columns(self, table: str, columns: Sequence[str]) -> bool:
        """Tell whether these are all columns, in the same order on both sides."""
        pragma = f"table_xinfo({self._dest.quote(table)})"
        here, there = (
            [str(row[1]) for row in self._dest.fetch_all(f"PRAGMA {name}.{pragma}")] for name in ("main", NAME)
        )
        return here == there and sorted(here) == sorted(columns)

    def _brings_indexes(self, table: str, statement: str, taken_off: Sequence[DeferredObject]) -> bool:
        """Put back the indexes that a statement can copy with the rows; tell whether it takes rows as they are stored.

        An index whose entries are not as many as the rows is none to copy, and nor are those of a part of the rows or
        of an expression, which may be out of date.
        """
        dest = self._dest
        if dest.fetch_all(f"SELECT 1 FROM main.{dest.quote(table)} LIMIT 1"):
            return False
        there = forms(dest, NAME, table)
        dest.put_back(taken_off)
        here = forms(dest, "main", table)
        alike = {form for form in here.values() if form is not None and form in there.values()}
        for item in taken_off:
            if here[item.name] not in alike:
                dest.take_off(item)
        copied = [name for name, form in there.items() if form in alike]
        if (
            all(form in alike for form in forms(dest, "main", table).values())
            and copies_as_stored(dest, statement)
            and are_complete(dest, NAME, table, copied)
        ):
            return True
        for item in taken_off:
            dest.take_off(item)
        return False

    def _used_bytes(self) -> int:
        pages, free, size = (
            int(self._dest.fetch_value(f"PRAGMA main.{name}")) for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages - free) * size


def attached(dest: Catalogue, path: str, file: File, begin: Callable[[], None]) -> Attached | None:
    """Prepare to attach ``file``, which is at ``path``, and whose snapshot ``begin`` takes anew.

    Returns ``None`` where it is another file by now, or written to so often that no quiet moment is found.
    """
    with contextlib.suppress(sqlite3.Error, OSError), contextlib.ExitStack() as unused:
        watch = sqlite3.connect(_address(path, "ro"), uri=True, isolation_level=None, check_same_thread=False)
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


def is_damage(error: BaseException) -> bool:
    """Whether SQLite says of a file that its pages are not what they should be."""
    return str(getattr(cause_of(error), "sqlite_errorname", "")).startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB"))


def _address(path: str, mode: str) -> str:
    return f"{Path(path).as_uri()}?mode={mode}"


def _reads_alone(action: int, one: str | None, other: str | None, database: str | None, inside: str | None) -> int:
    """Let SQLite refuse whatever would write to the attached file (sqlite.org/c3ref/set_authorizer.html)."""
    return sqlite3.SQLITE_DENY if database == NAME and action not in READING else sqlite3.SQLITE_OK


def _version(watch: sqlite3.Connection) -> int:
    """Return a number that is another one once somebody else has committed (sqlite.org/pragma.html, data_version)."""
    return int(watch.execute("PRAGMA data_version").fetchone()[0])
