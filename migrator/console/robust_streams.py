"""Standard streams whose reader may go away during a run: a closed pipe, a terminal that hangs up.

Characters that their encoding lacks, as ASCII lacks the ellipsis, are written as Python escapes.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
from typing import Any, TextIO, cast


class RobustStream:
    """A stream to which everything can be written, whether or not it still has a reader."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.failure: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except UnicodeEncodeError as error:  # nothing of it was written
            return self._stream.write(text.encode(error.encoding, "backslashreplace").decode(error.encoding))
        except OSError as error:
            return self._detach(text, error)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._detach("", error)

    def _detach(self, text: str, error: OSError) -> int:
        """Redirect the stream to the null device, so that not even Python's own flush at exit fails."""
        self.failure = self.failure or error
        with contextlib.suppress(OSError, ValueError), open(os.devnull, "w") as null:
            os.dup2(null.fileno(), self._stream.fileno())
        return len(text)


class NullStream(io.TextIOBase):
    """The replacement for a stream that was closed before Python started."""

    def write(self, text: str) -> int:
        return len(text)


def has_reader(stream: TextIO) -> bool:
    """Whether someone sees what is written: at a terminal, or as another program's input or the caller's object.

    What is written to a file or to the null device is seen later, or never.
    """
    if getattr(stream, "failure", None) is not None:
        return False
    try:
        mode = os.fstat(stream.fileno()).st_mode
    except (AttributeError, OSError, ValueError):
        return not isinstance(stream, NullStream)
    return stream.isatty() or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def robust(stream: TextIO | None) -> TextIO:
    """Wrap a stream so that the command continues if the stream has no reader, or loses it."""
    if stream is None:
        return cast(TextIO, NullStream())
    return cast(TextIO, stream if isinstance(stream, RobustStream) else RobustStream(stream))
