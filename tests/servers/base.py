"""What all servers of the tests share; one module beside this one knows each server."""

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
# Tests look for it in output, logs and reports, where no password may ever be.
PASSWORD = "canary-s3cret"
# The user has rights on databases of such names alone; settings/test.py makes no others.
DATABASE_PREFIX = "migrator_test_"

# A free port may be taken by someone else before the server has it.
_ATTEMPTS = 3


class Server(ABC):
    """One server on a free port of this machine, in a private directory; its data need not be safe."""

    name: ClassVar[str]
    # The pytest marker of the tests that need it.
    marker: ClassVar[str]
    # The environment variable that holds its address.
    variable: ClassVar[str]
    # The Debian package that brings it.
    package: ClassVar[str]
    programs: ClassVar[Sequence[str]]
    places: ClassVar[Sequence[str]] = ()
    users: ClassVar[Sequence[str]] = ()
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    # Whether several processes of tests can use it at once, because each has names of its own in it.
    is_shared: ClassVar[bool] = True

    def __init__(self) -> None:
        program = self.find()
        if program is None:
            raise ServerError(
                f"There is no {self.programs[0]} here. On Debian, this brings it:\n"
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
        """Return the server's program, None when it is not installed."""
        found = (find_program(name, *cls.places) for name in cls.programs)
        return next(filter(None, found), None)

    @classmethod
    def is_named(cls) -> bool:
        """Tell whether the environment names such a server already, so that there is none to start."""
        return bool(os.environ.get(cls.variable))

    def start(self) -> None:
        """Start the server and return when it answers."""
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
        """Stop the server as its administrator would; :meth:`start_again` brings it back with its data."""
        if self._process is not None:
            self._process.stop()

    def start_again(self) -> None:
        """Start a server that was stopped for now, on the port it had."""
        self._process = ServerProcess(self.command(), self.directory, self.user, self.stop_signal)
        self._process.wait_until(self.is_ready)

    def crash(self) -> None:
        """End the server at once, with nothing put in order."""
        if self._process is not None:
            self._process.kill()

    def stop(self) -> None:
        if self._process is not None:
            self._process.stop()
        self._directory.close()

    def prepare(self) -> None:
        """Make what has to be there before the first start; most servers need nothing."""

    @abstractmethod
    def command(self) -> list[str | Path]:
        """Return the command that runs the server in the foreground."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Tell whether the server answers."""

    @abstractmethod
    def address(self) -> str:
        """Return the value of its environment variable."""

    def version(self) -> str:
        said = subprocess.run([self.program, "--version"], capture_output=True, text=True, check=True).stdout
        found = re.search(r"\d+(\.\d+)+", said)
        return found.group() if found else said.strip()
