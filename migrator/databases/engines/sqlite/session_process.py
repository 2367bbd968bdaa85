"""SQLite: a session in a process of its own, for SQLite libraries whose sessions in one process wait for each other.

Run as a program, this module is that process. It exits as soon as the other end of its pipe is closed.
"""

from __future__ import annotations

import os
import queue
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Sequence
from functools import partial
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

from ..base.session import Row
from . import functions


class HelperProcess:
    """The helper process, as its parent sees it. If it fails, its methods raise an error of any class."""

    def __init__(self, path: str, *, keeps_snapshot: bool) -> None:
        self._pipe, theirs = Pipe()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # keeps Ctrl-C away from it
            )
        self._pipe.send((path, keeps_snapshot))

    def wait(self) -> None:
        """Wait until the process has opened the file, and taken its snapshot if it keeps one."""
        self._pipe.recv()

    def fetch_all(self, sql: str, params: Sequence[Any]) -> list[Row]:
        """Run a query in the process and return its rows; see :meth:`DatabaseSession.fetch_all`."""
        self._pipe.send((sql % (("?",) * len(params)), tuple(params)))
        rows: list[Row] = self._pipe.recv()
        return rows

    def close(self) -> None:
        """Kill the process."""
        self._pipe.close()
        self._process.kill()
        self._process.wait()


# -- in the process ---------------------------------------------------------------------------------------------------


def serve(pipe: Connection[Any, Any]) -> None:
    """Open the file named in the first message, take a snapshot if that asks for one, and answer queries."""
    connection = _open(*pipe.recv())
    pipe.send("ready")
    queries: queue.SimpleQueue[tuple[str, tuple[Any, ...]]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(pipe, queries), daemon=True).start()
    while True:
        pipe.send(connection.execute(*queries.get()).fetchall())


def _listen(pipe: Connection[Any, Any], queries: queue.SimpleQueue[tuple[str, tuple[Any, ...]]]) -> None:
    try:
        while True:
            queries.put(pipe.recv())
    except (EOFError, OSError):  # the parent is gone, perhaps while a query runs
        os._exit(0)


def _open(path: str, keeps_snapshot: bool) -> sqlite3.Connection:
    from django.db.backends.sqlite3._functions import register  # type: ignore[import-untyped]

    connection = sqlite3.connect(f"{Path(path).as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=0)
    register(connection)
    functions.register(connection)
    (encoding,) = connection.execute("PRAGMA encoding").fetchone()
    connection.create_function("migrator_reads", 2, partial(_is_readable, encoding), deterministic=True)
    connection.execute("PRAGMA query_only = ON")
    if keeps_snapshot:
        connection.execute("BEGIN")
    connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
    return connection


def _is_readable(encoding: str, kind: str, stored: bytes | None) -> bool:
    from .date_formats import is_readable  # this import takes longer than all others, and few queries need it

    return is_readable(encoding, kind, stored)


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
