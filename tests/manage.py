"""Run `manage.py` in a process of its own, on the databases of the test session."""

import fcntl
import os
import subprocess
import sys
import termios
from pathlib import Path
from typing import NamedTuple

from settings.base import ROOT
from tests.forking import Command, start_command, template_for


class Finished(NamedTuple):
    """The exit code and the output of a command."""

    code: int
    out: str
    err: str


def start_manage(
    *args: str, env: dict[str, str] | None = None, may_fork: bool = True
) -> subprocess.Popen[str] | Command:
    """Start `manage.py ARGS` with pipes to it, for tests that interrupt or kill it; `env` adds to our environment.

    With ``may_fork`` it may be a fork, whose command line in the process list is not its own.
    """
    # The session's environment names the settings, servers and databases.
    environment = os.environ | (env or {})
    if may_fork:
        return start_command(environment, *args)
    return subprocess.Popen(
        [sys.executable, "-W", "error", "manage.py", *args],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def start_code(code: str, *args: str, directory: Path) -> Command:
    """Start Python code like a script, with pipes to it; it is written to a file in ``directory``."""
    script = directory / "code.py"
    script.write_text(code)
    return start_command(dict(os.environ), *args, script=str(script))


def start_at_terminal(terminal: int, *args: str) -> subprocess.Popen[bytes] | Command:
    """Start `manage.py ARGS` in a new session, with a terminal for its input and its standard error."""
    if template := template_for(os.environ):
        return template.start_at_terminal(terminal, *args)
    return subprocess.Popen(
        [sys.executable, "-W", "error", "manage.py", *args],
        cwd=ROOT,
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=terminal,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )


def run_manage(
    *args: str, input: str | None = None, env: dict[str, str] | None = None, timeout: float = 120
) -> Finished:
    """Run `manage.py ARGS` to its end. Its input is not a terminal, and empty by default."""
    with start_manage(*args, env=env) as process:
        try:
            out, err = process.communicate(input, timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return Finished(process.wait(), out, err)
