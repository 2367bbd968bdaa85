"""Files that may hold personal data: plain files, readable by their owner alone, never through a link."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from .errors import MigratorError, UsageError

PRIVATE_MODE = 0o600


def check_target(path: Path) -> None:
    """Raise :exc:`UsageError` if ``path`` cannot be written as a private file; what exists there stays as it is."""
    with suppress(OSError):  # a new file, or a directory that the next lines refuse
        _check_plain(path, os.lstat(path))
    if not path.parent.is_dir():
        raise UsageError(f"The directory {str(path.parent)!r} does not exist; create it, or name another file.")
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"The directory {str(path.parent)!r} cannot be written; name another file.")


def _check_plain(path: Path, found: os.stat_result) -> None:
    """Raise :exc:`UsageError` unless this is a plain file under one name.

    To replace a device such as ``/dev/null``, or to change its mode, would take it away from every other program; a
    FIFO has no end until somebody reads it; and a hard link is another name of a file that is somebody else's business.
    """
    if stat.S_ISLNK(found.st_mode):
        raise UsageError(f"{str(path)!r} is a symbolic link; name a plain file, so that nobody can redirect it.")
    if stat.S_ISDIR(found.st_mode):
        raise UsageError(f"{str(path)!r} is a directory; name a file in it.")
    if not stat.S_ISREG(found.st_mode):
        raise UsageError(f"{str(path)!r} is a {_kind(found.st_mode)}, not a plain file; name another file.")
    if found.st_nlink > 1:
        raise UsageError(f"{str(path)!r} has other names (hard links), which would change with it; name another file.")


def _kind(mode: int) -> str:
    if stat.S_ISFIFO(mode):
        return "FIFO"
    return "socket" if stat.S_ISSOCK(mode) else "device"


@contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn what the system says of a full disk, or of missing rights, into one line that names the file."""
    try:
        yield
    except OSError as error:
        raise MigratorError(f"{str(path)!r} cannot be written: {error.strerror or error}.") from error


def replace_private(path: Path, text: str) -> None:
    """Write ``text`` as the whole of ``path`` in one step: a reader sees the old file or the new one."""
    check_target(path)
    with told(path):
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # created with mode 0600
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def append_private(path: Path) -> TextIO:
    """Open ``path`` for appending, created with mode 0600 and never through a link."""
    check_target(path)
    with told(path):
        # Whatever has taken the file's place since the check: a FIFO is not waited for, and nothing is changed.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(path, flags, PRIVATE_MODE)
        try:
            _check_plain(path, os.fstat(descriptor))
            os.fchmod(descriptor, PRIVATE_MODE)
        except BaseException:
            os.close(descriptor)
            raise
    return os.fdopen(descriptor, "a", encoding="utf-8")
