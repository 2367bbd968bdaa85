"""Redis servers of one test: of a cluster, beside a sentinel, with little memory."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.servers.process import ask, find_program, free_port

SERVER = find_program("redis-server", "valkey-server")
needs_server = pytest.mark.skipif(SERVER is None, reason="no redis-server and no valkey-server to start")


@contextmanager
def private_redis(directory: Path, *words: str) -> Iterator[int]:
    """Start a server with these words on its command line; give its port, and stop it afterwards."""
    for _ in range(20):
        port = free_port()
        place = directory / str(port)
        place.mkdir(exist_ok=True)
        given = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(place)]
        with subprocess.Popen([str(SERVER), *words, *given], stdout=subprocess.DEVNULL) as server:
            try:
                if _answers(server, port):
                    yield port
                    return
            finally:
                server.kill()
    pytest.fail("the server does not start")


def join_slots(port: int, first: int = 0, last: int = 16383) -> None:
    """Give a node of a cluster these slots, in the words of any Redis: ADDSLOTSRANGE is of 7.0."""
    for start in range(first, last + 1, 4096):  # an inline command has at most 64 KiB
        slots = " ".join(map(str, range(start, min(start + 4096, last + 1))))
        assert ask(port, f"CLUSTER ADDSLOTS {slots}\r\n".encode()) == b"+OK\r\n"


def _answers(server: "subprocess.Popen[bytes]", port: int) -> bool:
    """Wait for the server; it ends at once where its port is taken, or too high for a cluster's second one."""
    while server.poll() is None:
        if ask(port, b"PING\r\n").startswith(b"+PONG"):
            return True
        time.sleep(0.05)
    return False


def wait_for(port: int, question: bytes, answer: bytes) -> None:
    """Ask until the answer has these words."""
    for _ in range(600):
        if answer in ask(port, question):
            return
        time.sleep(0.05)
    pytest.fail(f"no {answer!r} to {question!r}")
