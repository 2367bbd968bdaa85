"""A named pipe for the driver to read as a file: nobody else can open it, and it is gone once the driver has."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterable
from typing import BinaryIO

PAUSE_SECONDS = 0.0005


def feed(blocks: Iterable[bytes], read: Callable[[str], None]) -> None:
    """Let ``read`` open the pipe by its name and read it to its end, in a thread, while this one writes the blocks.

    Raises what either side raises; where both do, the blocks' error, for a reader only sees that they end early.
    """
    directory = tempfile.mkdtemp(prefix="migrator-")
    reader = _Reader(read, os.path.join(directory, "rows"))
    try:
        os.mkfifo(reader.path, 0o600)
        reader.start()
        try:
            file = _opened(reader)
            shutil.rmtree(directory)  # those who have it open are the only ones who need it
            if file is not None:
                _write(file, blocks)
        finally:
            reader.join()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    if reader.error is not None:
        raise reader.error


class _Reader(threading.Thread):
    """The side that reads."""

    def __init__(self, read: Callable[[str], None], path: str) -> None:
        super().__init__(name="migrator-load")
        self.path = path
        self.error: Exception | None = None
        self._read = read

    def run(self) -> None:
        try:
            self._read(self.path)
        except Exception as error:
            self.error = error


def _opened(reader: _Reader) -> BinaryIO | None:
    """Open the pipe once its reader has; return ``None`` where the reader ended without."""
    while True:
        is_reading = reader.is_alive()
        try:
            descriptor = os.open(reader.path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno != errno.ENXIO:  # nobody has it open for reading
                raise
        else:
            os.set_blocking(descriptor, True)
            return os.fdopen(descriptor, "wb", buffering=0)
        if not is_reading:
            return None
        reader.join(PAUSE_SECONDS)


def _write(file: BinaryIO, blocks: Iterable[bytes]) -> None:
    try:
        with file:
            for block in blocks:
                view = memoryview(block)
                while view:
                    view = view[file.write(view) :]
    except BrokenPipeError:
        return  # the reader gave up, and its own error says why
