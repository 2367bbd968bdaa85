"""Files that may hold personal data: readable by their owner alone, never through a symbolic link."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from .errors import MigratorError, UsageError

PRIVATE_MODE = 0o600


def check_target(path: Path) -> None:
    """Raise :exc:`UsageError` where ``path`` cannot be written as a private file."""
    if path.is_symlink():
        raise UsageError(f"{str(path)!r} is a symbolic link; name a plain file, so that nobody can redirect it.")
    if path.is_dir():
        raise UsageError(f"{str(path)!r} is a directory; name a file in it.")
    if not path.parent.is_dir():
        raise UsageError(f"The directory {str(path.parent)!r} does not exist; create it, or name another file.")
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"The directory {str(path.parent)!r} cannot be written; name another file.")


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
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, PRIVATE_MODE)
        os.fchmod(descriptor, PRIVATE_MODE)
    return os.fdopen(descriptor, "a", encoding="utf-8")
