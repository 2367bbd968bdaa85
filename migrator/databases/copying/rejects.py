"""Rows that the destination cannot store: named for people, and kept whole in a file of JSON lines."""

from __future__ import annotations

import base64
import fcntl
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from ...console.private_files import append_private, naming, replace_private
from ...console.safe_text import visible
from ...errors import DataRejected

NO_KEY = "(none)"


@dataclass(frozen=True)
class Problem:
    """Why one row cannot be stored. The only value of the row in it is its primary key."""

    label: str
    table: str
    key: str
    field: str | None
    kind: str
    reason: str
    code: str
    advice: str

    def __str__(self) -> str:
        row = f"{self.label} with primary key {self.key}"
        if self.field:
            row += f", field {self.field}"
        return visible(f"{row}: {self.reason} [{self.code}]. {self.advice}")


@dataclass(frozen=True)
class RejectedRow:
    """A row of the destination to reject, with its values by column."""

    problem: Problem
    values: Mapping[str, Any]


def json_value(value: Any) -> Any:
    """Return a raw value in a form that JSON has: bytes in base64, everything else as itself or as its text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, bytes | memoryview):
        return {"base64": base64.b64encode(bytes(value)).decode()}
    return repr(value) if isinstance(value, float) else str(value)


SKIP_INSTEAD = "Or pass --on-error skip --rejects FILE to copy all other rows."


class Rejects:
    """Stops at the first row that cannot be stored; ``advice`` says what to do then."""

    def __init__(self, advice: str = SKIP_INSTEAD) -> None:
        self._advice = advice

    def begin(self) -> None:
        """Forget the rows of a chunk whose transaction was rolled back."""

    def add(self, problem: Problem, row: Mapping[str, Any], chunk: int | None) -> None:
        """Add a row, and the number of its chunk if it has one. Raises :exc:`DataRejected` unless rows are skipped."""
        raise DataRejected(f"{problem} {self._advice}")

    def commit(self) -> None:
        """Write the added rows so that they survive a crash, before their chunk is committed."""

    def settle(self) -> None:
        """Note that the transaction of the added rows is committed, so that it will not be retried."""

    def keep(self, line: str) -> None:
        """Write the line of a row that a worker on another host has rejected."""

    @property
    def skips_rows(self) -> bool:
        """Whether the run copies the other rows after one that cannot be stored."""
        return False

    def keys_of(self, table: str) -> set[str]:
        """Return the primary keys of a table's rows that were rejected so far, as text."""
        return set()

    def for_worker(self) -> Rejects:
        """Return the rejects of a worker process, which writes to the same file."""
        return self

    def close(self) -> None:
        """Release the file, if there is one."""


class SkippingRejects(Rejects):
    """Lets a run copy the other rows after one that cannot be stored."""

    @property
    def skips_rows(self) -> bool:
        return True

    @staticmethod
    def line_of(problem: Problem, row: Mapping[str, Any], chunk: int | None) -> str:
        """Return the line of a row, without its end."""
        line = {
            "model": problem.label,
            "table": problem.table,
            "pk": problem.key,
            "field": problem.field,
            "kind": problem.kind,
            "reason": problem.reason,
            "code": problem.code,
            "advice": problem.advice,
            "chunk": chunk,
            "row": {name: json_value(value) for name, value in row.items()},
        }
        return json.dumps(line, ensure_ascii=True)


class RejectedLines(SkippingRejects):
    """Hands the rows that cannot be stored to ``commit``, which keeps them in the transaction of their chunk.

    It is called with the chunk of each, by table and number, and its line.
    """

    def __init__(self, commit: Callable[[Sequence[tuple[tuple[str, int], str]]], None]) -> None:
        super().__init__()
        self._commit = commit
        self._lines: list[tuple[tuple[str, int], str]] = []

    def begin(self) -> None:
        self._lines.clear()

    def add(self, problem: Problem, row: Mapping[str, Any], chunk: int | None) -> None:
        self._lines.append(((problem.table, chunk or 0), self.line_of(problem, row, chunk)))

    def commit(self) -> None:
        if self._lines:
            self._commit(self._lines)
        self._lines.clear()


class RejectFile(SkippingRejects):
    """Writes the rows that cannot be stored to a file that only its owner can read."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._file: TextIO = append_private(path)
        self._lines: list[tuple[tuple[str, str], bytes]] = []
        self._written: set[tuple[str, str]] = set()

    def begin(self) -> None:
        self._lines.clear()

    def add(self, problem: Problem, row: Mapping[str, Any], chunk: int | None) -> None:
        data = self.line_of(problem, row, chunk).encode() + b"\n"
        self._lines.append(((problem.table, problem.key), data))

    def commit(self) -> None:
        # Rows that are in the file already belong to a transaction that is retried.
        lines = [line for row, line in self._lines if row not in self._written]
        self._append(lines)
        self._written.update(row for row, _ in self._lines if row[1] != NO_KEY)
        self._lines.clear()

    def settle(self) -> None:
        self._written.clear()

    def keep(self, line: str) -> None:
        self._append([line.encode() + b"\n"])

    def _append(self, lines: Sequence[bytes]) -> None:
        if lines:
            with naming(self._path):
                append_whole(self._file.fileno(), b"".join(lines))
                os.fsync(self._file.fileno())

    def keys_of(self, table: str) -> set[str]:
        with naming(self._path), self._path.open(encoding="utf-8") as lines:
            entries = map(json.loads, lines)
            return {entry["pk"] for entry in entries if entry["table"] == table}

    def for_worker(self) -> Rejects:
        return RejectFile(self._path)  # a lock on an inherited descriptor would be shared (flock(2))

    def close(self) -> None:
        self._file.close()


def append_whole(descriptor: int, data: bytes) -> None:
    """Append all the data or nothing to a file that other processes may append to at the same time."""
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        size = os.fstat(descriptor).st_size
        try:
            while data:
                data = data[os.write(descriptor, data) :]
        except OSError:
            os.ftruncate(descriptor, size)
            raise
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def rejects_for(on_error: str, path: Path | None) -> Rejects:
    """Return the rejects for ``--on-error``: ``stop`` at such a row, or ``skip`` it and keep it in ``path``."""
    return RejectFile(path) if on_error == "skip" and path is not None else Rejects()


def keep_lines(path: Path, is_current: Callable[[str, int | None], bool]) -> None:
    """Delete the lines of chunks that will be copied again, so that no row is listed twice after a crash.

    ``is_current`` is called with the table and the chunk's number of each line.
    """
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:  # the crash came in the middle of this line, before its chunk was committed
            continue
        if is_current(entry["table"], entry["chunk"]):
            kept.append(line + "\n")
    replace_private(path, "".join(kept))


def row_of(names: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
    """Pair a row's values with its columns."""
    return dict(zip(names, values, strict=True))
