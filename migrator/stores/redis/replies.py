"""Replies of a Redis server, read from its socket in large pieces: five times as fast as the clients read them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..stored_values import NO_VALUE

_PIECE = 256 * 1024
_LARGEST_PIECE = 16 * 1024 * 1024
# No Redis server replies with more: a value has 512 MiB at most unless proto-max-bulk-len is raised, a line is a status
# or a number, and the replies to our commands are nested at most twice.
_LARGEST_STRING = 4 * 1024**3
_LONGEST_LINE = 64 * 1024
_DEEPEST = 32
_STRING, _INTEGER, _NULL, _SIMPLE, _ERROR = b"$:_+-"
_BLOB_ERROR, _VERBATIM, _PUSH, _MAP = b"!=>%"
_LISTS = b"*~>%"
_OTHERS = b"_+$*~>%,#("  # null, a status, and the other types of RESP3: doubles, booleans and big numbers

_NEVER = -1

Receive = Callable[[int], bytes]


class Malformed(ConnectionError):
    """What a server sent is not a reply in the protocol of Redis (RESP), so none of it is trusted."""

    def __init__(self) -> None:
        super().__init__("this server does not answer like Redis; check the address and any proxy in between")


class _Short(Exception):
    """More has to be received; ``wanted`` bytes are known to be missing."""

    def __init__(self, wanted: int = 0) -> None:
        super().__init__()
        self.wanted = wanted


class Answers:
    """Reads replies from ``receive``, which returns at most so many bytes, and none when the connection is closed.

    An error reply is returned as the exception that ``error_of`` makes of its text.
    """

    def __init__(self, receive: Receive, error_of: Callable[[str], Exception]) -> None:
        self._receive, self._error_of = receive, error_of
        self._held, self._at = b"", 0

    def read(self, count: int) -> list[Any]:
        """Return so many replies: strings as bytes, integers, lists. Raises :exc:`Malformed`."""
        found: list[Any] = []
        held, at = self._held, self._at
        while len(found) < count:
            try:
                end = _line_end(held, at)
                if held[at] == _STRING and held[at + 1 : end] != b"-1":
                    at = _string_end(held, end + 2, held[at + 1 : end])
                    found.append(held[end + 2 : at - 2])
                elif held[at] == _INTEGER:
                    found.append(int(held[at + 1 : end]))
                    at = end + 2
                else:
                    is_push = held[at] == _PUSH  # sent by the server on its own, not a reply
                    answer, at = self._answer(held, at)
                    if not is_push:
                        found.append(answer)
            except ValueError:  # an invalid length or number
                raise Malformed from None
            except _Short as short:
                held, at = self._more(held, at, short.wanted), 0
        self._held, self._at = held, at
        return found

    def are(self, expected: bytes) -> bool:
        """Whether exactly these bytes come. If not, :meth:`read` still returns everything that came."""
        got, piece = 0, self._held[self._at :]
        while expected.startswith(piece, got):
            got += len(piece)
            if got == len(expected):
                self._held, self._at = b"", 0
                return True
            piece = self._more(b"", 0, 0)
        self._held, self._at = expected[:got] + piece, 0
        return False

    def _more(self, held: bytes, at: int, wanted: int) -> bytes:
        pieces = [held[at:]]
        while True:
            piece = self._receive(min(max(wanted, _PIECE), _LARGEST_PIECE))
            if not piece:
                raise ConnectionError("the server closed the connection")
            pieces.append(piece)
            wanted -= len(piece)
            if wanted <= 0:
                return b"".join(pieces)

    def _answer(self, held: bytes, at: int, depth: int = 0) -> tuple[Any, int]:
        """Return one reply of any type, and where it ends."""
        end = _line_end(held, at)
        kind, line, after = held[at], held[at + 1 : end], end + 2
        if kind in (_STRING, _BLOB_ERROR, _VERBATIM) and line != b"-1":
            stop = _string_end(held, after, line)
            text = held[after : stop - 2]
            return (self._error(text) if kind == _BLOB_ERROR else text), stop
        if kind in _LISTS and line != b"-1":
            if depth == _DEEPEST:
                raise Malformed
            return self._list(held, after, int(line) * (2 if kind == _MAP else 1), depth + 1)
        if kind == _INTEGER:
            return int(line), after
        if kind == _ERROR:
            return self._error(line), after
        if kind not in _OTHERS:
            raise Malformed
        return (None if kind in (_NULL, _STRING, *_LISTS) else line), after

    def _list(self, held: bytes, at: int, count: int, depth: int) -> tuple[list[Any], int]:
        found: list[Any] = []
        for _ in range(count):
            answer, at = self._answer(held, at, depth)
            found.append(answer)
        return found, at

    def _error(self, text: bytes) -> Exception:
        return self._error_of(text.decode("utf-8", "replace"))


def _line_end(held: bytes, at: int) -> int:
    end = held.find(b"\r\n", at)
    if end >= 0:
        return end
    if len(held) - at > _LONGEST_LINE:
        raise Malformed
    raise _Short


def _string_end(held: bytes, start: int, length: bytes) -> int:
    """Return where a string of that length ends, including the line end after it."""
    size = int(length)
    if not 0 <= size <= _LARGEST_STRING:
        raise Malformed
    end = start + size + 2
    if end > len(held):
        raise _Short(end - len(held))
    return end


def answer_of(raw: bytes, expires: int | None) -> bytes:
    """Return a server's replies to GET and PEXPIRETIME of a key; ``expires`` is in microseconds of Unix time."""
    return b"$%d\r\n%b\r\n:%d\r\n" % (len(raw), raw, _NEVER if expires is None else expires // 1000)


def as_bytes(value: Any) -> bytes:
    """Return a reply, or a serialized value, as the server stores it; raise a reply that is an error."""
    if isinstance(value, Exception):
        if not str(value).startswith("WRONGTYPE"):
            raise value
        return NO_VALUE  # a list, a set or another of the server's own types
    if isinstance(value, bytes):
        return value
    if isinstance(value, int | str):
        return str(value).encode()
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    raise Malformed
