"""Run a command with the test servers: python -m tests.servers -- COMMAND [ARGUMENT ...]

Starts each server that the environment does not name, sets the variables that settings/test.py reads, runs the command,
stops the servers and exits with the command's code. Without a command it runs a shell.
"""

import os
import re
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

from tests.servers.catalogue import OWN, SERVERS
from tests.servers.process import ServerError, end_with_parent

# A file system in memory: the files of tests are temporary, and writing them waits for no disk.
IN_MEMORY = Path("/dev/shm")  # noqa: S108
BYTES_NEEDED = 6 << 30


def _keep_files_in_memory() -> None:
    """Put temporary files into memory, if it has room for all servers and TMPDIR names no other directory."""
    if "TMPDIR" in os.environ or not os.access(IN_MEMORY, os.W_OK):
        return
    memory = re.search(r"^MemAvailable: +(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
    room = os.statvfs(IN_MEMORY)
    if memory and min(int(memory[1]) << 10, room.f_bavail * room.f_frsize) >= BYTES_NEEDED:
        os.environ["TMPDIR"] = str(IN_MEMORY)


def _start_servers(stack: ExitStack) -> dict[str, str]:
    """Start the servers that the environment does not name; return the variables with their addresses."""
    # With all servers running, a test that is skipped for lack of one is a mistake.
    variables = {"MIGRATOR_TEST_REQUIRE": "all"}
    servers = []
    for kind in SERVERS:
        if kind.is_named():
            print(f"{kind.name}: named by {kind.variable}", flush=True)
        else:
            servers.append(kind())
            stack.callback(servers[-1].stop)
    for server in servers:
        server.start()
        variables[server.variable] = server.address()
        print(f"{server.product()} {server.version()}, port {server.port}", flush=True)
    variables[OWN] = " ".join(server.variable for server in servers)
    return variables


def _run(command: list[str], variables: dict[str, str]) -> int:
    """Run the command, forward signals to it, and return its exit code as a shell reports it."""
    ends_with_us = end_with_parent(signal.SIGTERM)
    with subprocess.Popen(command, env=os.environ | variables, preexec_fn=ends_with_us) as process:

        def pass_on(number: int, _frame: FrameType | None) -> None:
            # On Ctrl-C, the terminal sends SIGINT to the command as well.
            if number != signal.SIGINT:
                process.send_signal(number)

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, pass_on)
        code = process.wait()
    return code if code >= 0 else 128 - code


def _end(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


def main(arguments: list[str]) -> int:
    command = arguments[1:] if arguments[:1] == ["--"] else arguments
    if not command:
        command = [os.environ.get("SHELL", "/bin/sh")]
        print("A shell with the variables of the test servers; leaving it stops them.")
    _keep_files_in_memory()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    with ExitStack() as stack:
        try:
            variables = _start_servers(stack)
        except ServerError as error:
            print(error, file=sys.stderr)
            return 1
        return _run(command, variables)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
