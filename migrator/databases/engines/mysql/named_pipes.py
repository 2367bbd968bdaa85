"""A named pipe that the driver reads as a file: no other user can open it, and its name is removed once it is open."""

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
    """Write the blocks to a pipe, which ``read`` opens by its path and reads to the end in a thread.

    Raises what either side raises. If both do, it raises the error of the blocks: the reader only sees an early end.
    """
    directory = tempfile.mkdtemp(prefix="migrator-")
    reader = _Reader(read, os.path.join(directory, "rows"))
    try:
        os.mkfifo(reader.path, 0o600)
        reader.start()
        try:
            file = _opened(reader)
            shutil.rmtree(directory)  # both ends are open, so its name is no longer needed
            if file is not None:
                _write(file, blocks)
        finally:
            reader.join()
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    if reader.error is not None:
        raise reader.error


class _Reader(threading.Thread):
    """The thread that reads the pipe."""

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
    """Open the pipe once its reader has opened it; return ``None`` if the reader ended before that."""
    while True:
        is_reading = reader.is_alive()
        try:
            descriptor = os.open(reader.path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno != errno.ENXIO:  # no process has it open for reading (fifo(7))
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
        return  # the reader has ended, and its error says why
