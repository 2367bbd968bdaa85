"""A server that is far away: a proxy that holds data back in both directions, and counts the round trips."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class FarServer:
    """Listens on a port of its own; ``seconds`` is how long data takes to or from the server."""

    def __init__(self, host: str, port: int, seconds: float) -> None:
        self._server, self._seconds = (host, port), seconds
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self.port: int = self._listener.getsockname()[1]
        self.round_trips = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                link = _Link(self, client, socket.create_connection(self._server))
                threading.Thread(target=link.send, daemon=True).start()
                threading.Thread(target=link.receive, daemon=True).start()

    def delay(self) -> None:
        time.sleep(self._seconds)

    def count(self) -> None:
        with self._lock:
            self.round_trips += 1

    def close(self) -> None:
        self._listener.close()


class _Link:
    """One connection: a round trip is counted whenever the client sends after the server has."""

    def __init__(self, server: FarServer, client: socket.socket, remote: socket.socket) -> None:
        self._server, self._client, self._remote = server, client, remote
        self._is_client_next = True
        for end in (client, remote):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self) -> None:
        self._pump(self._client, self._remote, is_client=True)

    def receive(self) -> None:
        self._pump(self._remote, self._client, is_client=False)

    def _pump(self, source: socket.socket, target: socket.socket, *, is_client: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 20):
                if is_client and self._is_client_next:
                    self._server.count()
                self._is_client_next = not is_client
                self._server.delay()
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def far_away(alias: str, seconds: float) -> Iterator[FarServer]:
    """Reach a database through such a proxy for a while."""
    from django.db import connections

    connections[alias].close()
    entry = connections[alias].settings_dict
    usual = {name: entry[name] for name in ("HOST", "PORT")}
    server = FarServer(usual["HOST"], int(usual["PORT"]), seconds)
    entry.update(HOST="127.0.0.1", PORT=str(server.port))
    try:
        yield server
    finally:
        connections[alias].close()
        entry.update(usual)
        server.close()
