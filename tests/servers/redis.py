"""A private Redis or Valkey that requires a password."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from tests.servers.base import PASSWORD, Server
from tests.servers.process import ask


class Redis(Server):
    name = "redis"
    marker = "redis"
    variable = "MIGRATOR_TEST_REDIS"
    package = "redis-server"
    programs: ClassVar[Sequence[str]] = ["redis-server", "valkey-server"]
    users: ClassVar[Sequence[str]] = ["redis", "valkey"]
    is_shared: ClassVar[bool] = False

    def command(self) -> list[str | Path]:
        options = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "requirepass": PASSWORD,
            "save": "",
            "appendonly": "no",
            "daemonize": "no",
        }
        return [self.program, *(part for name, value in options.items() for part in (f"--{name}", value))]

    def is_ready(self) -> bool:
        return ask(self.port, b"PING\r\n").startswith((b"+PONG", b"-NOAUTH"))

    def product(self) -> str:
        return "valkey" if self.program.name.startswith("valkey") else "redis"

    def address(self) -> str:
        return f"redis://:{PASSWORD}@127.0.0.1:{self.port}/"
