"""SQLite: a session in a process of its own, for a library whose sessions in one process wait for each other.

Run as a program this is that process. It ends when nobody is at the other end of its pipe any more.
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


class Elsewhere:
    """The process, as the one that began it sees it. What it fails at is an error of any kind."""

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
                start_new_session=True,  # a Ctrl-C is not for it
            )
        self._pipe.send((path, keeps_snapshot))

    def wait(self) -> None:
        """Wait until it has taken its snapshot, if it is to keep one."""
        self._pipe.recv()

    def fetch_all(self, sql: str, params: Sequence[Any]) -> list[Row]:
        """Run a query there, as :meth:`Session.fetch_all` does here."""
        self._pipe.send((sql % (("?",) * len(params)), tuple(params)))
        rows: list[Row] = self._pipe.recv()
        return rows

    def close(self) -> None:
        """End it at once."""
        self._pipe.close()
        self._process.kill()
        self._process.wait()


# -- in the process ---------------------------------------------------------------------------------------------------


def serve(pipe: Connection[Any, Any]) -> None:
    """Open the file that is named first, take a snapshot if one is asked for, and answer queries."""
    connection = _open(*pipe.recv())
    pipe.send("begun")
    queries: queue.SimpleQueue[tuple[str, tuple[Any, ...]]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(pipe, queries), daemon=True).start()
    while True:
        pipe.send(connection.execute(*queries.get()).fetchall())


def _listen(pipe: Connection[Any, Any], queries: queue.SimpleQueue[tuple[str, tuple[Any, ...]]]) -> None:
    try:
        while True:
            queries.put(pipe.recv())
    except (EOFError, OSError):  # whoever began this process is gone, perhaps while a query runs
        os._exit(0)


def _open(path: str, keeps_snapshot: bool) -> sqlite3.Connection:
    from django.db.backends.sqlite3._functions import register  # type: ignore[import-untyped]

    connection = sqlite3.connect(f"{Path(path).as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=0)
    register(connection)
    functions.register(connection)
    (encoding,) = connection.execute("PRAGMA encoding").fetchone()
    connection.create_function("migrator_reads", 2, partial(_reads, encoding), deterministic=True)
    connection.execute("PRAGMA query_only = ON")
    if keeps_snapshot:
        connection.execute("BEGIN")
    connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
    return connection


def _reads(encoding: str, kind: str, stored: bytes | None) -> bool:
    from .notations import reads  # takes longer than all else here, and is seldom needed

    return reads(encoding, kind, stored)


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
