"""A private memcached."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from tests.servers.base import Server
from tests.servers.process import ask


class Memcached(Server):
    name = "memcached"
    marker = "memcached"
    variable = "MIGRATOR_TEST_MEMCACHED"
    package = "memcached"
    programs: ClassVar[Sequence[str]] = ["memcached"]
    users: ClassVar[Sequence[str]] = ["memcache"]
    is_shared: ClassVar[bool] = False

    def command(self) -> list[str | Path]:
        return [self.program, "-l", "127.0.0.1", "-p", str(self.port), "-U", "0", "-m", "64"]

    def is_ready(self) -> bool:
        return ask(self.port, b"version\r\n").startswith(b"VERSION")

    def address(self) -> str:
        return f"memcached://127.0.0.1:{self.port}"
