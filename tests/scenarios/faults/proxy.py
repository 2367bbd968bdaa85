"""A link to a server that a test can cut, or let fall silent, at the very byte it chooses. Linux only."""

from __future__ import annotations

import ctypes
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from django.db import connections

TAIL = 256  # bytes kept of what was seen, so that words are found across two pieces
SO_ATTACH_FILTER = 26
DROP_EVERYTHING = struct.pack("HBBI", 0x06, 0, 0, 0)  # one instruction of a packet filter: return 0 bytes

Action = Callable[["Link", bytes], bool]


class Link:
    """One client's way to the server and back."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self.cuts_at_answer = False
        self.is_silent = False

    def pump(self, watch: Callable[[Link, bytes], bool]) -> None:
        """Pass bytes to the server until there are no more; ``watch`` sees them first, and may keep them."""
        with suppress(OSError):
            while data := self.client.recv(65536):
                if not watch(self, data):
                    self.server.sendall(data)
        self.close()

    def pump_back(self) -> None:
        """Pass the answers."""
        with suppress(OSError):
            while data := self.server.recv(65536):
                if self.cuts_at_answer:
                    self.reset()
                    return
                self.client.sendall(data)
        self.close()

    def reset(self) -> None:
        """Cut the link for both sides, as a router does that has forgotten it."""
        for end in (self.client, self.server):
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def silence(self) -> None:
        """Let no packet of the client arrive any more, not even the kernel's own, and answer none."""
        self.is_silent = True
        instruction = ctypes.create_string_buffer(DROP_EVERYTHING)
        program = struct.pack("HP", 1, ctypes.addressof(instruction))
        self.client.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)

    def close(self) -> None:
        if self.is_silent:  # a goodbye would be heard
            return
        self.end()

    def end(self) -> None:
        for end in (self.client, self.server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


# -- what happens at the chosen byte: each is given the bytes, and tells whether it has kept them ----------------------


def cut_before(link: Link, data: bytes) -> bool:
    """The server never hears of it."""
    link.reset()
    return True


def cut_within(link: Link, data: bytes) -> bool:
    """The server gets the half of it."""
    link.server.sendall(data[: len(data) // 2])
    link.reset()
    return True


def cut_after(link: Link, data: bytes) -> bool:
    """The server does it, and its answer is lost."""
    link.cuts_at_answer = True
    return False


def fall_silent(link: Link, data: bytes) -> bool:
    """Nobody hears of anything any more, and the server does not know that."""
    link.silence()
    return True


class Proxy:
    """Stands before a server. Acts once, when it has seen all the given words (patterns) in their order."""

    def __init__(self, host: str, port: int, words: Sequence[bytes] = (), action: Action = cut_before) -> None:
        self._server, self._words, self._action = (host, port), [re.compile(word) for word in words], action
        self._seen = b""
        self._lock = threading.Lock()
        self._links: list[Link] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.has_acted = threading.Event()
        self._start(self._accept)

    def _start(self, target: Callable[..., Any], *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(self._server)
                except OSError:
                    client.close()
                    continue
                link = Link(client, server)
                self._links.append(link)
                self._start(link.pump, self._watch)
                self._start(link.pump_back)

    def _watch(self, link: Link, data: bytes) -> bool:
        with self._lock:
            if self.has_acted.is_set() or not self._words:
                return False
            seen = self._seen + data
            while self._words and (found := self._words[0].search(seen)):
                seen = seen[found.end() :]
                self._words.pop(0)
            self._seen = seen[-TAIL:]
            if self._words:
                return False
            self.has_acted.set()
        return self._action(link, data)

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for link in self._links:
            link.end()
        for thread in self._threads:
            thread.join(10)


@contextmanager
def through_proxy(alias: str, words: Sequence[bytes] = (), action: Action = cut_before) -> Iterator[Proxy]:
    """Reach a database through a proxy for a while."""
    connection = connections[alias]
    connection.close()
    entry = connection.settings_dict
    usual = {name: entry[name] for name in ("HOST", "PORT")}
    proxy = Proxy(usual["HOST"], int(usual["PORT"]), words, action)
    entry.update(HOST="127.0.0.1", PORT=str(proxy.port))
    try:
        yield proxy
    finally:
        connection.close()
        entry.update(usual)
        proxy.close()
