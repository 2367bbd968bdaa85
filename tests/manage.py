"""Run `manage.py` in a process of its own, on the databases of the test session."""

import os
import subprocess
import sys
from typing import NamedTuple

from settings.base import ROOT


class Finished(NamedTuple):
    """How a command ended and what it said."""

    code: int
    out: str
    err: str


def start_manage(*args: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    """Start `manage.py ARGS` with pipes to it, for tests that interrupt or kill it; `env` adds to ours."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "manage.py", *args],
        cwd=ROOT,
        # The session's environment says which settings, servers and databases there are.
        env=os.environ | (env or {}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
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
    return Finished(process.returncode, out, err)
