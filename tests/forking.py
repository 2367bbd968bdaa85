"""Commands in processes of their own that do not wait for Python and Django to start.

A template process has Django set up and every command imported. It forks for each command, and the fork runs
`manage.py` with its own pipes or terminal. That takes 0.01 s of CPU time, against 0.7 s for a new process. Signals,
exit codes, closed streams and `kill -9` are as real as in any process.

Settings are read once in a process. An environment that is used once, or belongs to a project that a test wrote, gets
a fork of the bare template, which has imported Django and everything that needs no settings.

`python -m tests.forking FD` is a template, `python -m tests.forking FD bare` the bare one; they receive commands from
the socket with that number.
"""

from __future__ import annotations

import fcntl
import gc
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import subprocess
import sys
import termios
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from settings.base import ROOT

LONGEST_MESSAGE = 1 << 16
# The interpreter reads these at its start; a fork can adapt to other values of the last two.
STARTING = ("PYTHON", "LANG", "LC_", "TZ")
ADAPTABLE = {"PYTHONPATH", "PYTHONDONTWRITEBYTECODE"}
# A process inherits which of these are ignored, as under nohup.
INHERITED = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


class Command:
    """A command that runs as a fork of a template, with an interface like that of :class:`subprocess.Popen`."""

    def __init__(self, status: socket.socket, args: Sequence[str], pipes: Sequence[IO[str] | None]) -> None:
        self._status = status
        self.args = list(args)
        self.stdin, self.stdout, self.stderr = pipes
        self.returncode: int | None = None
        self.pid = int(status.recv(LONGEST_MESSAGE) or 0)
        assert self.pid, "the template process could not fork"

    def poll(self) -> int | None:
        """Return the exit code, the negative number of a signal, or ``None`` while it runs."""
        return self._wait(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, for at most ``timeout`` seconds."""
        code = self._wait(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def _wait(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._status], [], [], timeout)[0]:
            self.returncode = os.waitstatus_to_exitcode(int(self._status.recv(LONGEST_MESSAGE)))
            self._status.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send it SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send it SIGKILL."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, input: str | None = None, timeout: float | None = None) -> tuple[str, str]:
        """Write its input, and read its output until it ends."""
        deadline = None if timeout is None else time.monotonic() + timeout
        if self.stdin and not self.stdin.closed:
            with suppress(BrokenPipeError):
                self.stdin.write(input or "")
                self.stdin.close()
        pipes = [pipe for pipe in (self.stdout, self.stderr) if pipe and not pipe.closed]
        said = dict.fromkeys(pipes, b"")
        while pipes:
            left = None if deadline is None else max(deadline - time.monotonic(), 0)
            ready, _, _ = select.select(pipes, [], [], left)
            if not ready:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            for pipe in ready:
                data = os.read(pipe.fileno(), LONGEST_MESSAGE)
                said[pipe] += data
                if not data:
                    pipes.remove(pipe)
                    pipe.close()
        self.wait(None if deadline is None else max(deadline - time.monotonic(), 0))
        out, err = (said.get(pipe, b"").decode() if pipe else "" for pipe in (self.stdout, self.stderr))
        return out, err

    def __enter__(self) -> Command:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pipe in (self.stdin, self.stdout, self.stderr):
            if pipe:
                with suppress(BrokenPipeError):
                    pipe.close()
        self.wait()
        self._status.close()


class Template:
    """A process with Django imported, and set up under its environment unless it is bare, which forks for commands."""

    def __init__(self, environment: Mapping[str, str], *, is_bare: bool = False) -> None:
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", "tests.forking", str(theirs.fileno()), *(["bare"] * is_bare)],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def start(self, *args: str, script: str = "manage.py", environment: Mapping[str, str] | None = None) -> Command:
        """Start `SCRIPT ARGS` with pipes to it, under an environment of its own if one is given."""
        (their_in, our_in), (our_out, their_out), (our_err, their_err) = os.pipe(), os.pipe(), os.pipe()
        pipes = (open(our_in, "w"), open(our_out), open(our_err))  # noqa: SIM115  (the command closes them)
        return self._start([script, *args], [their_in, their_out, their_err], pipes, environment=environment)

    def start_at_terminal(self, terminal: int, *args: str) -> Command:
        """Start `manage.py ARGS` with a terminal for its input and standard error; standard output is a pipe."""
        our_out, their_out = os.pipe()
        # One descriptor each, because all are closed here once the command has them.
        streams = [os.dup(terminal), their_out, os.dup(terminal)]
        return self._start(["manage.py", *args], streams, (None, open(our_out), None), at_terminal=True)

    def start_in(
        self, directory: Path, terminal: int, script: str, *args: str, environment: Mapping[str, str]
    ) -> Command:
        """Start `SCRIPT ARGS` in a project's directory, with a terminal for all of its streams."""
        streams = [os.dup(terminal) for _ in range(3)]
        return self._start(
            [script, *args],
            streams,
            (None,) * 3,
            at_terminal=True,
            environment=environment,
            directory=os.fspath(directory),
        )

    def _start(
        self,
        args: Sequence[str],
        streams: Sequence[int],
        pipes: Sequence[IO[str] | None],
        *,
        at_terminal: bool = False,
        environment: Mapping[str, str] | None = None,
        directory: str | None = None,
    ) -> Command:
        status, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ignored = [number for number in INHERITED if signal.getsignal(number) is signal.SIG_IGN]
        request = {
            "args": args,
            "at_terminal": at_terminal,
            "ignored": ignored,
            "environment": environment,
            "directory": directory,
        }
        order = json.dumps(request).encode()
        with theirs:
            socket.send_fds(self._orders, [order], [*streams, theirs.fileno()])
        for stream in streams:
            os.close(stream)
        return Command(status, args, pipes)

    def close(self) -> None:
        """End the template; running commands continue."""
        self._orders.close()
        self._process.wait()


_templates: dict[frozenset[tuple[str, str]], Template] = {}
_bare: dict[frozenset[tuple[str, str]], Template] = {}
_asked: Counter[frozenset[tuple[str, str]]] = Counter()


def start_command(environment: Mapping[str, str], *args: str, script: str = "manage.py") -> Command:
    """Start `SCRIPT ARGS` with pipes to it, in a fork of the template that fits the environment."""
    # A test's own project may change between two commands.
    if "PYTHONPATH" not in environment and (template := template_for(environment)):
        return template.start(*args, script=script)
    return bare_template(environment).start(*args, script=script, environment=environment)


def bare_template(environment: Mapping[str, str]) -> Template:
    """Return the bare template for processes with this environment."""
    starting = frozenset(_starting(environment).items())
    if starting not in _bare:
        ours = {name: value for name, value in os.environ.items() if not name.startswith((*STARTING, "DJANGO"))}
        _bare[starting] = Template(ours | dict(starting), is_bare=True)
    return _bare[starting]


def _starting(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(STARTING) and name not in ADAPTABLE}


def template_for(environment: Mapping[str, str]) -> Template | None:
    """Return a template with this environment, or ``None`` at the first request for it.

    Settings read the environment once, so a template only serves equal environments.
    """
    known = {name: value for name, value in environment.items() if name != "PYTEST_CURRENT_TEST"}
    key = frozenset(known.items())
    _asked[key] += 1
    if key not in _templates and _asked[key] > 1:
        _templates[key] = Template(known)
    return _templates.get(key)


def close_templates() -> None:
    """End all templates."""
    for templates in (_templates, _bare):
        for template in templates.values():
            template.close()
        templates.clear()


# -- in the template -------------------------------------------------------------------------------------------------


def prepare() -> None:
    """Import the modules of commands, without opening connections."""
    import django
    from django.db import connections
    from django.db.utils import load_backend

    import migrator.management.commands as commands

    django.setup()
    for alias in connections:
        load_backend(connections.settings[alias]["ENGINE"])
    for module in pkgutil.iter_modules(commands.__path__):
        import_module(f"{commands.__name__}.{module.name}")


def prepare_bare() -> None:
    """Import what needs no settings: Django, its backends and their drivers, and most of the package."""
    import tqdm  # noqa: F401
    from django.conf import settings
    from django.core.exceptions import AppRegistryNotReady, ImproperlyConfigured
    from django.db.utils import load_backend

    import migrator

    for engine in ("sqlite3", "postgresql", "mysql"):
        load_backend(f"django.db.backends.{engine}")
    for module in pkgutil.walk_packages(migrator.__path__, "migrator.", onerror=lambda name: None):
        with suppress(AppRegistryNotReady, ImproperlyConfigured):
            import_module(module.name)
    assert not settings.configured


def wait_for_order(orders: socket.socket) -> list[str] | None:
    """Fork for each command; return the words of its call in the fork, and ``None`` in the template at its end."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # keepers leave no zombies
    while True:
        order, descriptors, _, _ = socket.recv_fds(orders, LONGEST_MESSAGE, 4)
        if not order:
            return None
        if os.fork():
            for descriptor in descriptors:
                os.close(descriptor)
            continue
        orders.close()
        return _keep(json.loads(order), descriptors)


def _keep(order: dict[str, Any], descriptors: Sequence[int]) -> list[str]:
    """Fork the command and report how it ends; return the words of its call in the fork alone."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    *streams, status = descriptors
    command = os.fork()
    if command:
        for stream in streams:
            os.close(stream)
        with socket.socket(fileno=status) as channel:
            channel.send(str(command).encode())
            _, how = os.waitpid(command, 0)
            with suppress(OSError):  # if no one waits for it any more
                channel.send(str(how).encode())
        os._exit(0)
    os.close(status)
    if order["at_terminal"]:
        os.setsid()
        fcntl.ioctl(streams[0], termios.TIOCSCTTY, 0)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    for number in order["ignored"]:
        signal.signal(number, signal.SIG_IGN)
    if order["environment"] is not None:
        _enter(order["environment"])
    if order["directory"] is not None:
        os.chdir(order["directory"])
        sys.path[0] = order["directory"]  # as for a script there
    args: list[str] = order["args"]
    return args


def _enter(environment: Mapping[str, str]) -> None:
    """Set this process up as if it had been started in that environment."""
    os.environ.clear()
    os.environ.update(environment)
    sys.path[1:1] = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.dont_write_bytecode = bool(environment.get("PYTHONDONTWRITEBYTECODE"))


def main() -> None:
    with socket.socket(fileno=int(sys.argv[1])) as orders:
        if sys.argv[2:] == ["bare"]:
            prepare_bare()
        else:
            prepare()
        # A collection in a fork would write to all of these objects, and so copy their memory (documentation of gc).
        gc.freeze()
        args = wait_for_order(orders)
    if args is not None:
        sys.argv = args
        runpy.run_path(args[0], run_name="__main__")  # as it is named on the command line


if __name__ == "__main__":
    main()
