"""SQLite: sessions, the snapshot, the lock file, and the source attached to the destination."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import sys
from collections.abc import Generator, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit

from django.db import DatabaseError

from ....errors import Refused
from ..base.catalogue import DeferredObject
from ..base.engine import Engine
from ..base.loading import Target, Writer
from ..base.session import DatabaseSession, Row, batches
from ..base.session_lifecycle import DatabaseInfo, Lifecycle
from ..base.values import Unreadable
from .attach import AttachedSource, File, attach_source, file_at
from .catalogue import SQLiteCatalogue
from .constraints import SQLiteConstraints
from .date_formats import is_readable
from .digests import SQLiteDigests
from .errors import NO_UTF_8, SQLiteErrors
from .features import FEATURES
from .loading import InsertWriter
from .server_lines import SQLiteLines
from .server_settings import settings_of
from .session_process import HelperProcess
from .types import SQLiteTypes
from .values import SQLiteValues
from .visible_tables import SQLiteVisibility

WORTH_A_PROCESS = 16 * 1024 * 1024  # in bytes of a file: starting a process takes as long as reading about so much
LOCK_ENDING = ".migrator-lock"
# The database, and the files next to it while it is in use (sqlite.org/tempfiles.html).
OWN_ENDINGS = ("", "-journal", "-wal", "-shm", LOCK_ENDING)
READ_ONLY_URI = re.compile(r"[?&](mode=ro|immutable=1)\b")


class SQLite(SQLiteErrors, Engine):
    """SQLite, of the version that Python carries."""

    vendor = "sqlite"
    display_name = "SQLite"
    features = FEATURES
    values_class = SQLiteValues
    catalogue_class = SQLiteCatalogue
    constraints_class = SQLiteConstraints
    digests_class = SQLiteDigests
    lines_class = SQLiteLines
    visibility_class = SQLiteVisibility
    types_class = SQLiteTypes

    def __init__(self, connection: Any) -> None:
        super().__init__(connection)
        self._lock_file: IO[str] | None = None
        self._new_file: Path | None = None
        self._attached: AttachedSource | None = None
        # By table name.
        self._deferred: dict[str, list[DeferredObject]] = {}
        # A session of its own that has known the data's version since before the snapshot.
        self._watcher: SQLite | None = None
        self._version: int | None = None
        # The file that existed when it was opened.
        self._file: File | None = None

    def check_address(self, *, must_exist: bool) -> None:
        name = str(self.connection.settings_dict["NAME"])
        is_file = not (name == ":memory:" or name.startswith("file:"))
        if is_file and not os.path.exists(name):
            if must_exist:
                raise Refused(f"Cannot connect to {self.alias!r}: the file {name!r} does not exist.")
            self._new_file = Path(name)
        if is_file:
            self._file = file_at(name)

    def own_files(self) -> tuple[Path, ...]:
        name = str(self.connection.settings_dict["NAME"])
        if name.startswith("file:"):
            name = unquote(urlsplit(name).path)
        return () if name in ("", ":memory:") else tuple(Path(f"{name}{ending}") for ending in OWN_ENDINGS)

    def describe(self) -> DatabaseInfo:
        version = self.fetch_value("SELECT sqlite_version()")
        return DatabaseInfo(self.alias, f"{self.display_name} {version}", _path(self) or ":memory:", "this machine")

    def server_settings(self) -> list[tuple[str, str]]:
        return settings_of(self)

    def free_bytes(self) -> int | None:
        path = _path(self)
        return shutil.disk_usage(os.path.dirname(path) or ".").free if path else None

    def open_source(self, tables: Sequence[str] = (), readers: int = 0) -> None:
        if readers:
            self.readers_note = f"the snapshot of a {self.display_name} session cannot be shared"
        if str(self.fetch_value("PRAGMA journal_mode")).lower() not in ("wal", "memory"):
            self.snapshot_note = (
                "The SQLite source is not in WAL mode: writers to it are blocked until this run has read it."
            )
        self._prepare_reading()
        if self._file is not None:
            self._watcher = SQLite(self.connection.copy())
            self._watcher.connection.inc_thread_sharing()  # any thread that needs the proof asks it
        self._begin()

    def _prepare_reading(self) -> None:
        self.connection.ensure_connection()
        read = partial(is_readable, self.fetch_value("PRAGMA encoding"))
        self.connection.connection.create_function("migrator_reads", 2, read, deterministic=True)
        self.lines.prepare()
        self.digests.prepare()
        self.forbid_writes()

    def _begin(self) -> None:
        """Take the snapshot, instead of an earlier one."""
        if self.connection.connection.in_transaction:
            self.execute("ROLLBACK")
        if self._watcher is not None:
            self._version = self._watcher.fetch_value("PRAGMA data_version")
        self._begin_reading()

    def _begin_reading(self) -> None:
        self.execute("BEGIN")
        self.fetch_all("SELECT 1 FROM sqlite_master LIMIT 1")  # the first read takes the snapshot
        self.hold_snapshot()

    def open_parallel_session(self) -> SQLite | None:
        """Open another session, and check that no commit happened since before the snapshot.

        ``PRAGMA data_version`` changes with every commit of others (sqlite.org/pragma.html#pragma_data_version).
        """
        if self._watcher is None:
            return None
        if not self._has_own_memory():
            return self.open_helper_session()
        second, self._watcher = self._watcher, None
        with contextlib.suppress(DatabaseError, OSError):
            second.execute("PRAGMA busy_timeout = 0")  # a session that has to wait doesn't help
            second._prepare_reading()
            second._begin_reading()
            if second.fetch_value("PRAGMA data_version") == self._version:
                return second
        second.close()
        return None

    def open_helper_session(self) -> SQLite | None:
        watcher, has_snapshot = self._watcher, self.connection.connection.in_transaction
        # Python does not know its executable if another program embeds it.
        if self._file is None or not sys.executable or (has_snapshot and watcher is None):
            return None
        with contextlib.suppress(OSError):
            path = _path(self)
            if os.path.getsize(path) > WORTH_A_PROCESS:
                process = HelperProcess(path, keeps_snapshot=has_snapshot)
                helper = HelperSession(
                    self.connection.copy(), process, watcher if has_snapshot else None, self._version
                )
                helper.execute("PRAGMA query_only = ON")
                return helper
        return None

    def _has_own_memory(self) -> bool:
        """Whether sessions have memory of their own (sqlite.org/malloc.html, "Lookaside memory allocator").

        Debian's SQLite is built without: two sessions wait for each other at every text, and take longer than one.
        """
        return ("OMIT_LOOKASIDE",) not in self.fetch_all("PRAGMA compile_options")

    def open_destination(self) -> None:
        self.execute(
            "PRAGMA foreign_keys = OFF"
        )  # without effect inside a transaction (sqlite.org/pragma.html#pragma_foreign_keys)
        self.execute("PRAGMA cache_size = -32768")

    def forbid_writes(self) -> None:
        self.execute("PRAGMA query_only = ON")

    @contextlib.contextmanager
    def without_writes(self) -> Iterator[None]:
        self.forbid_writes()
        try:
            yield
        finally:
            self.execute("PRAGMA query_only = OFF")

    def why_read_only(self) -> str | None:
        name, path = str(self.connection.settings_dict["NAME"]), _path(self)
        if name.startswith("file:") and READ_ONLY_URI.search(name):
            return "its NAME opens it read-only"
        if path and not os.access(path, os.W_OK):
            return "this user may not write to the file"
        if path and not os.access(os.path.dirname(path), os.W_OK):
            return "this user may not write to its directory, where SQLite keeps a journal"
        return _why_shared(path)

    def attach_source(self, source: Lifecycle) -> None:
        # A database in memory has no file; a NAME that is a URI may disable locks (sqlite.org/uri.html, nolock).
        if isinstance(source, SQLite) and source._file is not None and _path(self) and not source.has_renamed_tables:
            self._attached = attach_source(self.catalogue, _path(source), source._file, source._begin)

    def can_copy_within(self, source: Lifecycle) -> bool:
        return self._attached is not None and isinstance(source, SQLite)

    def expect_recreation(self, items: Sequence[DeferredObject]) -> None:
        self._deferred = {}
        for item in items:
            self._deferred.setdefault(item.table, []).append(item)

    def copy_within(
        self, table: str, columns: Sequence[str], tail: str, params: Sequence[Any]
    ) -> tuple[int, int] | None:
        if self._attached is None:
            return None
        return self._attached.copy(table, columns, tail, params, self._deferred.get(table, ()))

    def detach_source(self) -> None:
        if self._attached is not None:
            self._attached.detach()

    def rows_within(self, rows: int) -> int:
        return 0 if self._attached is None else self._attached.rows_in_chunk(rows)

    def close(self) -> None:
        if self._attached is not None:
            self._attached.close()
        if self._watcher is not None:
            self._watcher.close()
        self.release_snapshot()
        if self.connection.connection is not None:  # a database in memory outlives its session
            with contextlib.suppress(Exception):
                self.connection.connection.rollback()
            for pragma in ("query_only = OFF", "foreign_keys = ON"):
                self.execute(f"PRAGMA {pragma}")
        super().close()
        if self._new_file is not None and self._new_file.exists() and not self._new_file.stat().st_size:
            self._new_file.unlink()  # connecting created it, and nothing was written

    def is_same_database(self, other: Lifecycle) -> bool:
        mine, theirs = _path(self), _path(other)
        if not mine and not theirs:
            return bool(self.connection.settings_dict["NAME"] == other.connection.settings_dict["NAME"])
        return bool(mine and theirs) and os.path.samefile(mine, theirs)

    def lock(self) -> bool:
        path = _path(self)
        if not path or self._lock_file is not None:  # a file lock outlives the connection
            return True
        if reason := _why_shared(path):  # another run could hold the lock of another name
            raise Refused(f"{self.alias!r}: {reason}. Nothing was written. Remove the other names, or copy the file.")
        lock_path = f"{path}{LOCK_ENDING}"
        try:
            file = os.fdopen(os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+")
        except OSError as error:  # a symbolic link in its place, for example
            said = error.strerror or error  # the system has no text for a FIFO
            raise Refused(f"The lock {lock_path!r} cannot be created: {said}. Nothing was written.") from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        if os.fstat(file.fileno()).st_nlink == 0:  # its holder removed the file while this one opened it
            file.close()
            return self.lock()
        self._lock_file = file
        return True

    def is_locked(self) -> bool:
        try:
            file = os.open(f"{_path(self)}{LOCK_ENDING}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return False
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(file)  # which releases it
        return False

    def unlock(self) -> None:
        if self._lock_file is not None:
            Path(f"{_path(self)}{LOCK_ENDING}").unlink(missing_ok=True)
            self._lock_file.close()
            self._lock_file = None

    def stream(self, sql: str, params: Sequence[Any]) -> Generator[list[Row]]:
        with self.connection.cursor() as cursor:
            yield from batches(cursor, sql, params)

    def key_parameter(self, value: Any) -> tuple[str, Any]:
        if not isinstance(value, Unreadable) or value.stored is None:
            return super().key_parameter(value)
        encoding = self.fetch_value("PRAGMA encoding")
        if encoding == "UTF-8":
            return "CAST(%s AS TEXT)", value.stored
        # Python always receives UTF-8, with unpaired surrogates.
        return "CAST(%s AS TEXT)", value.stored.decode(errors="surrogatepass").encode(encoding, "surrogatepass")

    @contextlib.contextmanager
    def reading_everything(self) -> Iterator[None]:
        self.connection.ensure_connection()
        own: Any = self.connection.connection
        usual, own.text_factory = own.text_factory, _text
        try:
            yield
        finally:
            own.text_factory = usual

    def writer(self, table: str, targets: Sequence[Target]) -> Writer:
        return InsertWriter(self, table, targets)


class HelperSession(SQLite):
    """A session whose queries a helper process runs.

    If there is a ``watcher``, it proves that the other process sees the snapshot of this ``version``.
    """

    def __init__(self, connection: Any, process: HelperProcess, watcher: SQLite | None, version: int | None) -> None:
        super().__init__(connection)
        self._process, self._prover, self._expected = process, watcher, version
        self._has_begun = False

    def fetch_all(self, sql: str, params: Sequence[Any] = ()) -> list[Row]:
        if not self._has_begun:
            self._process.wait()
            if self._prover is not None:
                self._prove(self._prover)
            self._has_begun = True
        return self._process.fetch_all(sql, params)

    def _prove(self, watcher: SQLite) -> None:
        watcher.execute("PRAGMA busy_timeout = 0")  # a session that has to wait doesn't help
        if watcher.fetch_value("PRAGMA data_version") != self._expected:
            raise DatabaseError("The file has changed since the snapshot.")

    def close(self) -> None:
        self._process.close()
        super().close()


def _text(data: bytes) -> str | Unreadable:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return Unreadable(NO_UTF_8, data)


def _why_shared(path: str) -> str | None:
    """Return why nothing may be written to a file with several names (sqlite.org/howtocorrupt.html, 2.5)."""
    names = os.stat(path).st_nlink if path else 1
    if names < 2:
        return None
    return f"its file has {names} names (hard links), and SQLite keeps locks and journals by name"


def _path(engine: DatabaseSession) -> str:
    """Return the file of the main database; empty if it is in memory."""
    rows = engine.fetch_all("PRAGMA database_list")
    return next((str(row[2] or "") for row in rows if row[1] == "main"), "")
