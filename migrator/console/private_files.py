"""Files that may hold personal data: plain files, readable by their owner only, never through a link."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import combinations
from pathlib import Path
from typing import TextIO

from ..errors import MigratorError, UsageError

PRIVATE_MODE = 0o600
_BEGINNING = 4096  # bytes that are enough to recognize a binary file


def check_target(path: Path) -> None:
    """Raise :exc:`UsageError` if ``path`` cannot be written as a private file; what exists there stays as it is."""
    try:
        _check_plain(path, os.lstat(path))
    except (FileNotFoundError, NotADirectoryError):
        pass  # a new file, or a directory that the next lines refuse
    except OSError as error:  # such as a name that is too long
        raise UsageError(f"{str(path)!r} cannot be written: {error.strerror}; name another file.") from None
    if not path.parent.is_dir():
        raise UsageError(f"The directory {str(path.parent)!r} does not exist; create it, or name another file.")
    try:
        # Only an attempt shows it: permissions do not reveal a file system that is full or read-only.
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        reason = f"The directory {str(path.parent)!r} cannot be written ({error.strerror})"
        raise UsageError(f"{reason}; name another file.") from None


def check_report(path: Path) -> None:
    """Raise :exc:`UsageError` if a report cannot be written to ``path``, or would replace a file that is not text."""
    check_target(path)
    with suppress(OSError), path.open("rb") as file:
        if b"\0" in file.read(_BEGINNING):
            raise UsageError(f"{str(path)!r} holds data that is not text, such as a database; name another file.")


def check_apart(named: Mapping[str, Path]) -> None:
    """Raise :exc:`UsageError` if two of these options name the same file: one would overwrite the other's data."""
    for (one, path), (other, same) in combinations(named.items(), 2):
        if is_same_file(path, same):
            raise UsageError(f"{one} and {other} name the same file, {str(path)!r}. Name another file for one of them.")


def is_same_file(one: Path, other: Path) -> bool:
    """Whether two paths name the same file, which need not exist."""
    with suppress(OSError):
        if os.path.samefile(one, other):
            return True
    return os.path.realpath(one) == os.path.realpath(other)


def _check_plain(path: Path, found: os.stat_result) -> None:
    """Raise :exc:`UsageError` unless this is a plain file under one name.

    To replace a device such as ``/dev/null``, or to change its mode, would break every other program; a FIFO blocks
    until another process reads it; and a hard link is another name of a file that may belong to another program.
    """
    if stat.S_ISLNK(found.st_mode):
        raise UsageError(f"{str(path)!r} is a symbolic link, which can be redirected; name a plain file.")
    if stat.S_ISDIR(found.st_mode):
        raise UsageError(f"{str(path)!r} is a directory; name a file in it.")
    if not stat.S_ISREG(found.st_mode):
        raise UsageError(f"{str(path)!r} is a {_kind(found.st_mode)}, not a plain file; name another file.")
    if found.st_nlink > 1:
        raise UsageError(f"{str(path)!r} has other names (hard links), which would change with it; name another file.")


def given_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a text file that the user names, without line breaks; they are read more than once.

    Raises :exc:`UsageError` if it cannot be read, is not text, or can be read only once, as a pipe.
    """
    try:
        with open(path, encoding="utf-8-sig", opener=_without_waiting) as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise UsageError(f"{str(path)!r} is a {_kind(mode)}, and is read more than once; name a plain file.")
            for line in file:
                yield line.rstrip("\n")
    except OSError as error:
        raise UsageError(f"{str(path)!r} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{str(path)!r} is not text in UTF-8; name another file.") from error


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _kind(mode: int) -> str:
    if stat.S_ISFIFO(mode):
        return "FIFO"
    return "socket" if stat.S_ISSOCK(mode) else "device"


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Convert an error of the operating system, such as a full disk, into one that names the file."""
    try:
        yield
    except OSError as error:
        raise MigratorError(f"{str(path)!r} cannot be written: {error.strerror or error}.") from error


def replace_private(path: Path, text: str) -> None:
    """Write ``text`` as the whole of ``path`` in one step: a reader sees the old file or the new one."""
    check_target(path)
    with naming(path):
        # Not the file's own name with a suffix: that may be longer than a name can be.
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".migrator-")
        try:
            os.fchmod(handle, PRIVATE_MODE)  # whatever the umask is
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def append_private(path: Path) -> TextIO:
    """Open ``path`` for appending, with mode 0600 and never through a link."""
    check_target(path)
    with naming(path):
        # Whatever has replaced the file since the check: a FIFO does not block, and nothing is changed.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(path, flags, PRIVATE_MODE)
        try:
            _check_plain(path, os.fstat(descriptor))
            os.fchmod(descriptor, PRIVATE_MODE)
        except BaseException:
            os.close(descriptor)
            raise
    return os.fdopen(descriptor, "a", encoding="utf-8")
