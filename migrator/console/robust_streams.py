"""Standard streams whose reader may go away in the middle of a run: a closed pipe, a terminal that hangs up.

What their encoding lacks, as ASCII lacks the ellipsis, is written as Python escapes it.
"""

from __future__ import annotations

import contextlib
import io
import os
from typing import Any, TextIO, cast


class Unheard:
    """A stream to which everything can be written, whether or not somebody still reads it."""

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
            return self._let_go(text, error)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as error:
            self._let_go("", error)

    def _let_go(self, text: str, error: OSError) -> int:
        """Lead the stream to nowhere, so that not even Python's own flush at the end fails."""
        self.failure = self.failure or error
        with contextlib.suppress(OSError, ValueError), open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), self._stream.fileno())
        return len(text)


class Nowhere(io.TextIOBase):
    """What stands in for a stream that was closed before Python began."""

    def write(self, text: str) -> int:
        return len(text)


def unheard(stream: TextIO | None) -> TextIO:
    """Wrap a stream so that losing its reader, or having none, ends nobody's work."""
    if stream is None:
        return cast(TextIO, Nowhere())
    return cast(TextIO, stream if isinstance(stream, Unheard) else Unheard(stream))
