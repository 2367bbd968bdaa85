"""The interface of the test servers; each has a module of its own in this package."""

import os
import re
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from tests.servers.process import (
    PrivateDirectory,
    ServerError,
    ServerProcess,
    find_program,
    free_port,
    unprivileged_user,
)

USER = "migrator_test"
# Tests search for it in output, logs and reports, where no password may be.
PASSWORD = "canary-s3cret"
# The user has privileges on databases with this prefix only; settings/test.py uses no others.
DATABASE_PREFIX = "migrator_test_"

# Another process may take a free port before the server does.
_ATTEMPTS = 3


class Server(ABC):
    """One server on a free port of this machine, in a private directory; its data may be lost."""

    name: ClassVar[str]
    # The pytest marker of the tests that need it.
    marker: ClassVar[str]
    # The environment variable with its address.
    variable: ClassVar[str]
    # The Debian package that contains it.
    package: ClassVar[str]
    programs: ClassVar[Sequence[str]]
    places: ClassVar[Sequence[str]] = ()
    users: ClassVar[Sequence[str]] = ()
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    # Whether several test processes can share it, because each uses its own names in it.
    is_shared: ClassVar[bool] = True

    def __init__(self) -> None:
        program = self.find()
        if program is None:
            raise ServerError(
                f"{self.programs[0]} is not installed. On Debian, install it with:\n"
                f"    sudo apt-get install --no-install-recommends {self.package}"
            )
        self.program = program
        self.user = unprivileged_user(*self.users)
        self.port = free_port()
        self._directory = PrivateDirectory(self.name, self.user)
        self.directory = self._directory.path
        self._process: ServerProcess | None = None

    @classmethod
    def find(cls) -> Path | None:
        """Return the server's program, or ``None`` if it is not installed."""
        return find_program(*cls.programs, places=cls.places)

    @classmethod
    def is_named(cls) -> bool:
        """Whether the environment names such a server, so that none has to be started."""
        return bool(os.environ.get(cls.variable))

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self.prepare()
        for attempt in range(1, _ATTEMPTS + 1):
            self._process = ServerProcess(self.command(), self.directory, self.user, self.stop_signal)
            try:
                self._process.wait_until(self.is_ready)
                return
            except ServerError as error:
                self._process.stop()
                if attempt == _ATTEMPTS or "in use" not in str(error):
                    raise ServerError(f"{self.name} did not start. {error}") from error
                self.port = free_port()

    def stop_for_now(self) -> None:
        """Stop the server cleanly; :meth:`start_again` starts it again with its data."""
        if self._process is not None:
            self._process.stop()

    def start_again(self) -> None:
        """Start a stopped server again, on the same port."""
        self._process = ServerProcess(self.command(), self.directory, self.user, self.stop_signal)
        self._process.wait_until(self.is_ready)

    def crash(self) -> None:
        """Kill the server, without a clean shutdown."""
        if self._process is not None:
            self._process.kill()

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()
        self._directory.close()

    def prepare(self) -> None:
        """Prepare the first start; most servers need nothing."""

    @abstractmethod
    def command(self) -> list[str | Path]:
        """Return the command that runs the server in the foreground."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether the server answers."""

    @abstractmethod
    def address(self) -> str:
        """Return the value of its environment variable."""

    def product(self) -> str:
        """Return the name of the program's maker for it, if several programs serve as this server."""
        return self.name

    def version(self) -> str:
        said = subprocess.run([self.program, "--version"], capture_output=True, text=True, check=True).stdout
        # Some name the path of the program first.
        found = re.search(r"(?<=[\s=])\d+(\.\d+)+", said)
        return found.group() if found else said.strip()
