"""One connection to one memcached server, for the commands that client libraries do not send in numbers."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Sequence
from ssl import SSLContext
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from ...errors import Refused

TIMEOUT = 30.0
BUSY_ATTEMPTS = 100
BUSY_SECONDS = 0.1

Address = tuple[str, int] | str


class Stored(NamedTuple):
    """What a server keeps under a key: flags, bytes, and the seconds left, None for never."""

    flags: int
    data: bytes
    left: int | None


class Listed(NamedTuple):
    """A key that a server lists, with its expiry in seconds of Unix time, None for never."""

    key: bytes
    expires: int | None


class Line:
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

    def statistics(self, what: str = "") -> dict[str, str]:
        """Return what ``stats`` tells."""
        self._socket.sendall(f"stats {what}".strip().encode() + b"\r\n")
        found = {}
        while (line := self._line()).startswith(b"STAT "):
            _, name, value = line.decode().split(" ", 2)
            found[name] = value
        return found

    def list_keys(self) -> Iterator[Listed]:
        """List the server's keys; best effort, for it does not stop the world for it."""
        # By the hash table where the server can: between the queues of the other way keys move, and are missed.
        line = self._begin_listing(b"hash")
        if not line.startswith((b"key=", b"END")):
            line = self._begin_listing(b"all")
        while line != b"END":
            if not line.startswith(b"key="):
                raise Refused(
                    f"memcached at {self.name} does not list its keys ({line.decode(errors='replace')[:60]!r}); "
                    "give them with --keys-from FILE, one on each line."
                )
            parts = dict(part.split(b"=", 1) for part in line.split(b" ") if b"=" in part)
            expires = int(parts[b"exp"])
            yield Listed(unquote_to_bytes(parts[b"key"]), None if expires == -1 else expires)
            line = self._line()

    def _begin_listing(self, way: bytes) -> bytes:
        """Return the first line of a listing, once the crawler is free."""
        for _ in range(BUSY_ATTEMPTS):
            self._socket.sendall(b"lru_crawler metadump %b\r\n" % way)
            line = self._line()
            if not line.startswith(b"BUSY"):
                return line
            time.sleep(BUSY_SECONDS)
        return line

    def get(self, keys: Sequence[bytes]) -> list[Stored | None]:
        """Read keys with their flags and the time they have left."""
        self._socket.sendall(b"".join([b"mg %b t f v\r\n" % key for key in keys]))
        return [self._stored() for _ in keys]

    def _stored(self) -> Stored | None:
        parts = self._line().split(b" ")
        if parts[0] != b"VA":
            self._check(parts[0])
            return None
        data = self._reader.read(int(parts[1]) + 2)[:-2]
        flags = {part[:1]: int(part[1:]) for part in parts[2:]}
        return Stored(flags[b"f"], data, None if flags[b"t"] == -1 else flags[b"t"])

    def add(self, entries: Sequence[tuple[bytes, int, bytes, int]]) -> list[bool]:
        """Store (key, flags, data, expiry in seconds of Unix time or 0 for never) where the key does not exist."""
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
                "they need memcached 1.6 or newer, and memory for what is stored."
            )

    def _line(self) -> bytes:
        line = self._reader.readline()
        if not line:
            raise Refused(f"memcached at {self.name} closed the connection. Run the command again.")
        return line.rstrip(b"\r\n")
