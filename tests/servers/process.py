"""Start a server's process so that it never outlives this one, and wait until it answers."""

import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypedDict

STARTING_TAKES_AT_MOST = 60.0
STOPPING_TAKES_AT_MOST = 20.0
_PR_SET_PDEATHSIG = 1

# Loaded here, because little is safe between fork and exec.
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None

# Waits until its input closes, however this process ends; servers may still write for a moment after that.
_SWEEPER = 'cat >/dev/null; for _ in 1 2 3 4 5 6 7 8 9 10; do rm -rf "$1" && exit; sleep 1; done'


class Identity(TypedDict, total=False):
    """The arguments of `subprocess` that set the user of a program."""

    user: str
    group: int
    extra_groups: list[str]


class ServerError(Exception):
    """A server could not be started; the message includes its output."""


def unprivileged_user(*preferred: str) -> str | None:
    """Return the user to run a server as, or ``None`` for our own: database servers refuse to run as root."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in (*preferred, "nobody") if name in known)


def find_program(*names: str, places: Sequence[str] = ()) -> Path | None:
    """Find a program that has one of these names.

    Directories on PATH come first, in their order, so that a directory put in front of the others decides which
    program it is. `places` are patterns of more directories, and Debian's for services is another; there the newest
    version wins.
    """
    for directory in os.get_exec_path():
        for name in names:
            if found := shutil.which(name, path=directory):
                return Path(found)
    candidates = [
        found for name in names for pattern in (*places, "usr/sbin") for found in Path("/").glob(f"{pattern}/{name}")
    ]
    return max(candidates, key=_version_of, default=None)


def _version_of(path: Path) -> list[int]:
    return [int(part) for part in path.parts if part.isdigit()]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class PrivateDirectory:
    """A temporary directory that `user` owns; it is removed when it is closed, and when this process is killed."""

    def __init__(self, name: str, user: str | None) -> None:
        # Short, because the path of a socket is limited to 108 bytes (unix(7)).
        self.path = Path(tempfile.mkdtemp(prefix=f"migrator-{name}-"))
        if user:
            shutil.chown(self.path, user)
        self._sweeper = subprocess.Popen(
            ["/bin/sh", "-c", _SWEEPER, "sweeper", self.path], stdin=subprocess.PIPE, start_new_session=True
        )

    def close(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        self._sweeper.communicate()


class ServerProcess:
    """A running server, in a process group of its own, so that Ctrl-C at the terminal does not end it."""

    def __init__(
        self, command: Sequence[str | Path], directory: Path, user: str | None, stop_signal: signal.Signals
    ) -> None:
        self.log = directory / "log"
        self._stop_signal = stop_signal
        with self.log.open("ab") as log:
            # `user` is set before preexec_fn runs: setting it later would clear the death signal (prctl(2)).
            self._process = subprocess.Popen(
                command,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=end_with_parent(stop_signal),
                **as_user(user),
            )

    def wait_until(self, is_ready: Callable[[], bool]) -> None:
        """Wait until the server answers. If it ends or takes too long, raise an error with the end of its log."""
        give_up_at = time.monotonic() + STARTING_TAKES_AT_MOST
        while time.monotonic() < give_up_at:
            if self._process.poll() is not None:
                raise ServerError(f"It ended with code {self._process.returncode}:\n{self.end_of_log()}")
            if is_ready():
                return
            time.sleep(0.02)
        raise ServerError(f"It did not answer within {STARTING_TAKES_AT_MOST:.0f} s:\n{self.end_of_log()}")

    def end_of_log(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])

    def stop(self) -> None:
        self._process.send_signal(self._stop_signal)
        try:
            self._process.wait(STOPPING_TAKES_AT_MOST)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def kill(self) -> None:
        """Kill it and all its child processes."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def end_with_parent(stop_signal: signal.Signals) -> Callable[[], None]:
    """Return a preexec_fn that has the kernel signal the new process when its parent ends or is killed."""
    parent = os.getpid()

    def before_exec() -> None:
        if _libc is not None:
            _libc.prctl(_PR_SET_PDEATHSIG, int(stop_signal))
            if os.getppid() != parent:
                os._exit(1)

    return before_exec


def as_user(user: str | None) -> Identity:
    """Return the arguments of `subprocess` that run a program as `user`, without our own groups."""
    if user is None:
        return {}
    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}


def run(command: Sequence[str | Path], directory: Path, user: str | None, stdin: str = "") -> str:
    """Run a program as `user` and return its output. If it fails, raise an error with that output."""
    done = subprocess.run(
        command,
        cwd=directory,
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        **as_user(user),
    )
    if done.returncode != 0:
        raise ServerError(f"{Path(command[0]).name} ended with code {done.returncode}:\n{done.stdout}")
    return done.stdout


def ask(port: int, question: bytes) -> bytes:
    """Send `question` to a local port and return the start of the answer, which is empty without one."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(question)
            return connection.recv(1024)
    except OSError:
        return b""
