"""Answers of something that is not memcached, or of one whose answers went astray."""

import base64
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from migrator.errors import Refused
from migrator.stores.memcached.connection import Connection, Stored
from tests.servers.memcached import Memcached


@contextmanager
def line_to(answer: bytes) -> Iterator[Connection]:
    """Connect to a server that answers every command so."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline():
                self.wfile.write(answer)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            with closing(Connection(("127.0.0.1", server.server_address[1]))) as line:
                yield line
        finally:
            server.shutdown()


ASKS: dict[str, Callable[[Connection], Any]] = {
    "statistics": lambda line: line.numbers("pid"),
    "list": lambda line: list(line.list_keys()),
    "get": lambda line: line.get([b"mine"]),
}
ODD = [
    ("statistics", b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    ("statistics", b"END\r\n"),
    ("statistics", b"STAT pid some\r\nEND\r\n"),
    ("statistics", b"STAT \xff \xff\r\nEND\r\n"),
    ("statistics", b"STAT " + b"x" * 100_000),
    ("list", b"key=mine la=1\r\nEND\r\n"),
    ("list", b"key=mine exp=soon\r\nEND\r\n"),
    ("get", b"VA 1 t1 f0 kother\r\nx\r\n"),
    ("get", b"VA 1 t1 f0\r\nx\r\n"),
    ("get", b"VA -5 t1 f0 kmine\r\n\r\n"),
    ("get", b"VA 99999999999 t1 f0 kmine\r\n\r\n"),
    ("get", b"VA 1 t1 f0 kmine\r\nlonger\r\n"),
    ("get", b"VA 1 tx f0 kmine\r\nx\r\n"),
]


@pytest.mark.parametrize(("ask", "answer"), ODD)
def test_says_that_it_is_not_memcached(ask: str, answer: bytes) -> None:
    with line_to(answer) as line, pytest.raises(Refused, match="does not answer like memcached"):
        ASKS[ask](line)


@pytest.mark.skipif(Memcached.find() is None, reason="no memcached to start")
def test_a_key_with_spaces_and_line_ends_is_one_key() -> None:
    """Clients of the binary protocol put such keys in; spelled plainly, this one would be two commands."""
    server, key = Memcached(), b"a b\r\nflush_all\r\n"
    server.start()
    try:
        with closing(Connection(("127.0.0.1", server.port))) as line:
            line._socket.sendall(b"ms %b 1 b T0 F7\r\nx\r\n" % base64.b64encode(key))
            assert line._line().startswith(b"HD")
            assert line.add([(b"other", 0, b"kept", 0)]) == [True]
            assert line.get([key, b"none", b"other"]) == [Stored(7, b"x", None), None, Stored(0, b"kept", None)]
    finally:
        server.stop()
