"""A pooler before PostgreSQL, as far as a test needs one: sessions are shared by those who are logged in.

It speaks the protocol's messages (a letter, a length, a body). It gives its own number for each session, as poolers do,
and after each transaction (or never) lends the session to whoever asks next, the last one returned first. As it answers
before a session is returned, somebody who asks at once gets another.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from django.db import connections

NO_ENCRYPTION = b"N"
ASKS_FOR_ENCRYPTION = (80877103, 80877104)
OWN_NUMBER = 7
RETURN_SECONDS = 0.005
# What a client waits for an answer to: a query, the end of an extended one, and both ends of COPY's data.
ANSWERED = (b"Q", b"S", b"c", b"f")


class Gone(Exception):
    """The other end has left."""


def receive(link: socket.socket, length: int) -> bytes:
    data = b""
    while len(data) < length:
        piece = link.recv(length - len(data))
        if not piece:
            raise Gone
        data += piece
    return data


def receive_message(link: socket.socket) -> tuple[bytes, bytes]:
    """Receive one message: its letter, and all of it."""
    head = receive(link, 5)
    (length,) = struct.unpack("!I", head[1:])
    return head[:1], head + receive(link, length - 4)


class Pooler:
    """Listens on a port of its own."""

    def __init__(self, host: str, port: int, *, by_transaction: bool) -> None:
        self._server, self._by_transaction = (host, port), by_transaction
        self._idle: list[socket.socket] = []
        self._returned = threading.Condition()
        self._links: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._links.append(client)
                self._threads.append(threading.Thread(target=self._serve, args=(client,), daemon=True))
                self._threads[-1].start()

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError, Gone):
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # for answers of many small messages
            server: socket.socket | None = self._log_in(client)
            if self._by_transaction:
                server = self._give_back(server)
            while True:
                letter, message = receive_message(client)
                if letter == b"X":
                    break
                server = server or self._take()
                server.sendall(message)
                if letter in ANSWERED and self._answer(server, client) and self._by_transaction:
                    server = self._give_back(server)
        client.close()

    def _log_in(self, client: socket.socket) -> socket.socket:
        while True:
            (length,) = struct.unpack("!I", receive(client, 4))
            body = receive(client, length - 4)
            if struct.unpack("!I", body[:4])[0] not in ASKS_FOR_ENCRYPTION:
                break
            client.sendall(NO_ENCRYPTION)
        server = socket.create_connection(self._server)
        self._links.append(server)
        server.sendall(struct.pack("!I", length) + body)
        while True:
            letter, message = receive_message(server)
            if letter == b"K":
                message = message[:5] + struct.pack("!I", OWN_NUMBER) + message[9:]
            client.sendall(message)
            if letter == b"Z":
                return server
            if letter == b"R" and struct.unpack("!I", message[5:9])[0] not in (0, 12):  # it wants an answer
                server.sendall(receive_message(client)[1])

    def _answer(self, server: socket.socket, client: socket.socket) -> bool:
        """Pass the answer on; tell whether the session is outside of a transaction after it."""
        while True:
            letter, message = receive_message(server)
            client.sendall(message)
            if letter == b"Z":
                return message[5:] == b"I"
            if letter == b"G":  # it takes the data of a COPY now
                return False

    def _take(self) -> socket.socket:
        with self._returned:
            self._returned.wait_for(lambda: self._idle)
            return self._idle.pop()

    def _give_back(self, server: socket.socket | None) -> None:
        time.sleep(RETURN_SECONDS)
        with self._returned:
            if server is not None:
                self._idle.append(server)
                self._returned.notify()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for link in self._links:
            with suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)
            link.close()
        for thread in self._threads:
            thread.join(10)


@contextmanager
def through_pooler(alias: str, *, by_transaction: bool) -> Iterator[None]:
    """Reach a database through a pooler for a while."""
    connection = connections[alias]
    connection.close()
    entry = connection.settings_dict
    usual = {name: entry[name] for name in ("HOST", "PORT")}
    pooler = Pooler(usual["HOST"], int(usual["PORT"]), by_transaction=by_transaction)
    entry.update(HOST="127.0.0.1", PORT=str(pooler.port))
    try:
        yield
    finally:
        connection.close()
        entry.update(usual)
        pooler.close()
