"""Run `manage.py` in a process of its own, on the databases of the test session."""

import fcntl
import os
import subprocess
import sys
import termios
from typing import NamedTuple

from settings.base import ROOT
from tests.forking import Command, start_command, template_for


class Finished(NamedTuple):
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


def start_manage(
    *args: str, env: dict[str, str] | None = None, may_fork: bool = True
) -> subprocess.Popen[str] | Command:
    """Start `manage.py ARGS` with pipes to it, for tests that interrupt or kill it; `env` adds to ours.

    Only a process that is started anew shows its own arguments to others; any other may be a fork.
    """
    # The session's environment says which settings, servers and databases there are.
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


def start_at_terminal(terminal: int, *args: str) -> subprocess.Popen[bytes] | Command:
    """Start `manage.py ARGS` in a session of its own, whose terminal is its input and its standard error."""
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
    """Run `manage.py ARGS` to its end. Its input is never a terminal, and empty unless given."""
    with start_manage(*args, env=env) as process:
        try:
            out, err = process.communicate(input, timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return Finished(process.wait(), out, err)
