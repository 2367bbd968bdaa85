"""One connection to one memcached server, for commands that client libraries do not pipeline."""

from __future__ import annotations

import base64
import re
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ssl import SSLContext
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from ...errors import Refused

TIMEOUT = 30.0
BUSY_ATTEMPTS = 100
BUSY_SECONDS = 0.1

_LONGEST_LINE = 64 * 1024  # a key, percent-encoded, and some numbers
_LARGEST_ITEM = 1024**3  # the largest that a server can be configured for
_UNPRINTABLE = re.compile(rb"[\x00-\x20\x7f]")

Address = tuple[str, int] | str


class Stored(NamedTuple):
    """What a server keeps under a key: flags, bytes, and the seconds left, None for never."""

    flags: int
    data: bytes
    left: int | None


class Listed(NamedTuple):
    """A key that a server lists, with its expiry in seconds of Unix time; None for never."""

    key: bytes
    expires: int | None


class Connection:
    """A socket and its reader. Answers are read in the order of the commands."""

    def __init__(self, address: Address, tls: SSLContext | None = None) -> None:
        self.name = address if isinstance(address, str) else f"{address[0]}:{address[1]}"
        try:
            if isinstance(address, str):
                self._socket = socket.socket(socket.AF_UNIX)
                self._socket.settimeout(TIMEOUT)
                self._socket.connect(address)
            else:
                self._socket = socket.create_connection(address, timeout=TIMEOUT)
                if tls is not None:
                    self._socket = tls.wrap_socket(self._socket, server_hostname=address[0])
        except OSError as error:
            raise Refused(f"memcached at {self.name} does not answer ({error.strerror or error}).") from error
        self._reader = self._socket.makefile("rb", buffering=1 << 18)

    def close(self) -> None:
        self._reader.close()
        self._socket.close()

    def numbers(self, *names: str, what: str = "") -> list[int]:
        """Return some of the numbers that ``stats`` reports."""
        with self._understood():
            found = self._statistics(what)
            return [int(found[name]) for name in names]

    def _statistics(self, what: str) -> dict[str, str]:
        self._socket.sendall(f"stats {what}".strip().encode() + b"\r\n")
        found = {}
        while (line := self._line()).startswith(b"STAT "):
            _, name, value = line.decode().split(" ", 2)
            found[name] = value
        if line != b"END":
            raise ValueError
        return found

    def list_keys(self) -> Iterator[Listed]:
        """Yield the server's keys. This is best effort: writes continue meanwhile."""
        # By the hash table if the server can: the other listing goes through queues, between which keys move unseen.
        line = self._begin_listing(b"hash")
        if not line.startswith((b"key=", b"END")):
            line = self._begin_listing(b"all")
        while line != b"END":
            if not line.startswith(b"key="):
                raise Refused(
                    f"memcached at {self.name} does not list its keys ({line.decode(errors='replace')[:60]!r}); "
                    "give them with --keys-from FILE, one on each line."
                )
            with self._understood():
                parts = dict(part.split(b"=", 1) for part in line.split(b" ") if b"=" in part)
                expires = int(parts[b"exp"])
            yield Listed(unquote_to_bytes(parts[b"key"]), None if expires == -1 else expires)
            line = self._line()

    def _begin_listing(self, way: bytes) -> bytes:
        """Begin a listing once the crawler is free; return its first line."""
        for _ in range(BUSY_ATTEMPTS):
            self._socket.sendall(b"lru_crawler metadump %b\r\n" % way)
            line = self._line()
            if not line.startswith(b"BUSY"):
                return line
            time.sleep(BUSY_SECONDS)
        return line

    def get(self, keys: Sequence[bytes]) -> list[Stored | None]:
        """Return the values of keys with their flags and times to live, in the order of the keys."""
        asked = [_argument(key) for key in keys]
        self._socket.sendall(b"".join([b"mg %b t f k v\r\n" % key for key in asked]))
        return [self._stored(key) for key in asked]

    def _stored(self, asked: bytes) -> Stored | None:
        parts = self._line().split(b" ")
        if parts[0] != b"VA":
            self._check(parts[0])
            return None
        with self._understood():
            size = int(parts[1])
            flags = {part[:1]: part[1:] for part in parts[2:]}
            # The value of another key would be another person's session.
            if not 0 <= size <= _LARGEST_ITEM or flags[b"k"] != asked.partition(b" ")[0]:
                raise ValueError
            data = self._reader.read(size + 2)
            if len(data) != size + 2 or not data.endswith(b"\r\n"):
                raise ValueError
            left = int(flags[b"t"])
            return Stored(int(flags[b"f"]), data[:-2], None if left == -1 else left)

    def add(self, entries: Sequence[tuple[bytes, int, bytes, int]]) -> list[bool]:
        """Store each (key, flags, data, expiry) whose key does not exist; return whether each was stored.

        The expiry is in seconds of Unix time, 0 for never.
        """
        buffer = [
            b"ms %b %d T%d F%d ME\r\n%b\r\n" % (key, len(data), expires, flags, data)
            for key, flags, data, expires in entries
        ]
        self._socket.sendall(b"".join(buffer))
        answers = [self._line().split(b" ")[0] for _ in entries]
        for answer in answers:
            self._check(answer)
        return [answer == b"HD" for answer in answers]

    def _check(self, answer: bytes) -> None:
        if answer not in (b"EN", b"HD", b"NS", b"NF", b"EX"):
            raise Refused(
                f"memcached at {self.name} answers {answer.decode(errors='replace')!r} to its meta commands; "
                "they need memcached 1.6 or later, and memory for what is stored."
            )

    def _line(self) -> bytes:
        line = self._reader.readline(_LONGEST_LINE)
        if not line:
            raise Refused(f"memcached at {self.name} closed the connection. Run the command again.")
        if len(line) == _LONGEST_LINE:
            raise self._not_understood()
        return line.rstrip(b"\r\n")

    @contextmanager
    def _understood(self) -> Iterator[None]:
        """Raise :exc:`Refused` for an answer that lacks expected parts."""
        try:
            yield
        except (KeyError, IndexError, ValueError):
            raise self._not_understood() from None

    def _not_understood(self) -> Refused:
        return Refused(
            f"The server at {self.name} does not answer like memcached. Check the address, and any proxy in between."
        )


def _argument(key: bytes) -> bytes:
    """Return a key as a meta command takes it: in base64 if it has spaces or control characters."""
    return base64.b64encode(key) + b" b" if _UNPRINTABLE.search(key) else key
