"""Run the commands as people run them: in this process, with nobody at the keyboard, or at a terminal of their own."""

from __future__ import annotations

import fcntl
import gc
import io
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any
from unittest import mock

from django.core.management import ManagementUtility
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from migrator.console.interrupts import SIGNALS
from tests.manage import Finished, start_at_terminal
from tests.servers.base import PASSWORD

END_OF_INPUT, INTERRUPT = "\x04", "\x03"  # what the keys Ctrl-D and Ctrl-C send


def run(*words: str | os.PathLike[str]) -> Finished:
    """Run `manage.py WORDS` in this process, without a terminal; much sooner than in a process of its own."""
    argv = ["manage.py", *map(os.fspath, words)]
    out, err, code = io.StringIO(), io.StringIO(), 0
    handlers = {number: signal.getsignal(number) for number in SIGNALS}  # a command that is interrupted stays deaf
    with redirect_stdout(out), redirect_stderr(err), mock.patch.object(sys, "argv", argv):
        try:
            ManagementUtility(argv).execute()
        except SystemExit as ending:
            code = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
    assert PASSWORD not in out.getvalue() + err.getvalue()
    return Finished(code, out.getvalue(), err.getvalue())


def at_terminal(
    *words: str | os.PathLike[str], answers: Sequence[tuple[str, str]] = (), timeout: float = 60
) -> Finished:
    """Run `manage.py WORDS` with a terminal for its input and standard error; standard output is a pipe.

    Each of ``answers`` is what to wait for on the terminal, and what is typed then. Sentences there are wrapped; see
    :func:`unwrapped`.
    """
    keyboard, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    with start_at_terminal(terminal, *map(os.fspath, words)) as process:
        os.close(terminal)
        try:
            out, err = _converse(process, keyboard, list(answers), time.monotonic() + timeout)
        finally:
            process.kill()
            os.close(keyboard)
    assert PASSWORD not in out + err
    return Finished(process.wait(), out, err)


def unwrapped(text: str) -> str:
    """Join the lines into which sentences were broken for a terminal."""
    return re.sub(r"\n  (?! )", " ", text)


def _converse(process: Any, keyboard: int, answers: list[tuple[str, str]], deadline: float) -> tuple[str, str]:
    assert process.stdout
    pipe = process.stdout.fileno()
    heard = {pipe: b"", keyboard: b""}
    is_open = {pipe, keyboard}
    answered = 0
    while is_open:
        ready, _, _ = select.select(is_open, [], [], deadline - time.monotonic())
        assert ready, f"the command still waits, after {heard[keyboard].decode()!r}"
        for source in ready:
            try:
                data = os.read(source, 65536)
            except OSError:  # on Linux, how a terminal without another end answers
                data = b""
            heard[source] += data
            if not data:
                is_open.discard(source)
        while answers and (found := heard[keyboard].find(answers[0][0].encode(), answered)) >= 0:
            answered = found + len(answers[0][0].encode())
            os.write(keyboard, answers.pop(0)[1].encode())
    assert not answers, f"never asked: {answers[0][0]!r}; said {heard[keyboard].decode()!r}"
    process.wait(max(deadline - time.monotonic(), 1))
    return heard[pipe].decode(), heard[keyboard].decode().replace("\r\n", "\n")


@contextmanager
def another_alias(name: str, **entry: Any) -> Iterator[str]:
    """Give `DATABASES` one entry more, as settings would have it."""
    assert not hasattr(connections._connections, name), f"a test has left a connection {name!r}"
    connections.settings[name] = connections.configure_settings({"default": {}, name: entry})[name]
    try:
        yield name
    finally:
        if hasattr(connections._connections, name):
            # Django's own class for SQLite keeps databases in memory open.
            BaseDatabaseWrapper.close(connections[name])
            del connections[name]
        del connections.settings[name]


@contextmanager
def collecting_unopened_connections() -> Iterator[None]:
    """Collect the connections to SQLite that Django leaves unclosed if their first statement fails.

    Otherwise Python 3.13 and later would warn of them, in this test or in another one, when the garbage collector
    comes by (django/db/backends/sqlite3/base.py, `get_new_connection`).
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "unclosed database", ResourceWarning)
        yield
        gc.collect()


def entry_of(alias: str, **changes: Any) -> dict[str, Any]:
    """Copy a database's entry in `DATABASES`, with changes."""
    return {**connections.settings[alias], **changes}


def contents(alias: str) -> dict[str, list[str]]:
    """Read every row of every table that the database has, whoever made it."""
    connection = connections[alias]
    found = {}
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table).replace('%', '%%')}")
            found[table] = sorted(map(repr, cursor.fetchall()))
    return found


@contextmanager
def nothing_changes(*aliases: str) -> Iterator[None]:
    """Assert that these databases hold the same tables and rows after as before, and no journal."""
    before = {alias: contents(alias) for alias in aliases}
    connections.close_all()
    yield
    assert {alias: contents(alias) for alias in aliases} == before
    assert not any(table.startswith("migrator_") for tables in before.values() for table in tables)


# The time at the beginning of each line of progress where there is no terminal.
MOMENT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d "


def error_in(finished: Finished) -> str:
    """Return the error with which a command ended: all that it said after telling how far it is."""
    lines = finished.err.splitlines(keepends=True)
    while lines and not lines[0].startswith("CommandError: "):
        said = lines.pop(0)
        assert re.match(rf"{MOMENT}(  )?\w", said), f"neither progress nor an error: {said!r}"
    return "".join(lines)


def facts(text: str) -> dict[str, str]:
    """Read the labelled values below the verdicts of reports; a later report goes before an earlier one."""
    found, is_below = {}, False
    for line in text.splitlines():
        is_below = bool(re.match(r"[A-Z][A-Z ]+  \S", line)) or (is_below and line.startswith("  "))
        if is_below and (fact := re.match(r"  (\w+(?: \w+)*)  +(\S.*)$", line)):
            found[fact[1]] = fact[2]
    return found


def execute(alias: str, *statements: str) -> None:
    """Execute statements as somebody else would."""
    with connections[alias].cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
    connections[alias].close()


def forbid_unasked(alias: str, table: str, column: str, *values: str) -> None:
    """Have a server refuse values by a check of a column that it fills itself, of which no model knows."""
    listed = ", ".join(f"'{value}'" for value in values)
    execute(
        alias,
        f"ALTER TABLE {table} ADD own varchar(200) GENERATED ALWAYS AS ({column}) STORED",
        f"ALTER TABLE {table} ADD CONSTRAINT own_values CHECK (own NOT IN ({listed}))",
    )


def forbid_twins_unasked(alias: str, table: str, column: str) -> None:
    """Have a database refuse two equal texts by an index that nothing can be asked about before rows are written."""
    name = f"own_{table}"
    if connections[alias].vendor == "mysql":
        execute(alias, f"ALTER TABLE {table} ADD own varchar(200) AS (lower({column})), ADD UNIQUE INDEX {name} (own)")
    elif connections[alias].vendor == "postgresql":
        own = f"ALTER TABLE {table} ADD own text GENERATED ALWAYS AS ({column} || '') STORED"
        execute(alias, own, f"CREATE UNIQUE INDEX {name} ON {table} (own)")
    else:
        execute(alias, f"CREATE UNIQUE INDEX {name} ON {table} (({column} || ''))")


@contextmanager
def as_another_role(alias: str, *granted: str) -> Iterator[str]:
    """Give an alias of a role that owns none of the tables: every server has it, and tests need not make one."""
    entry = entry_of(alias)
    execute(alias, *(f"GRANT {right} TO pg_database_owner" for right in granted))
    with another_alias("loader", **{**entry, "OPTIONS": {**entry["OPTIONS"], "assume_role": "pg_database_owner"}}):
        try:
            yield "loader"
        finally:
            connections["loader"].close()
            execute(alias, *(f"REVOKE {right} FROM pg_database_owner" for right in granted))


def squeezed(text: str) -> str:
    """Write each run of blanks as one, and numbers of seconds as `N`, so that a table can be compared."""
    text = re.sub(r"\b\d+\.\d( s\b|(?=\s+[\d,-]+$))", r"N\1", text, flags=re.MULTILINE)
    return re.sub(r"[ \t]+", " ", text).replace("\n ", "\n").strip()
