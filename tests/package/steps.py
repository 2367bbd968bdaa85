"""A step of the program: a line that names it, commands whose output is only shown if they fail, and its duration."""

import os
import shlex
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


class StepError(Exception):
    """A step has failed; the message says why."""


@contextmanager
def step(name: str) -> Iterator[None]:
    """Print the name of a step, and how long it took."""
    print(f"{name} … ", end="", flush=True)
    started = time.monotonic()
    try:
        yield
    except BaseException:
        print("failed", flush=True)
        raise
    print(f"{time.monotonic() - started:.1f} s", flush=True)


def call(*words: str | Path, cwd: Path, env: Mapping[str, str] = os.environ, code: int = 0) -> str:
    """Run a command and return its output, that to standard error included.

    Raises:
        StepError: The command ended with another exit code.
    """
    done = subprocess.run(
        words,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != code:
        command = shlex.join(map(str, words))
        raise StepError(f"{command}\n{done.stdout}\nended with exit code {done.returncode}, and not with {code}.")
    return done.stdout


def expect(condition: bool, message: str) -> None:
    """Raise :exc:`StepError` with a message unless a condition holds."""
    if not condition:
        raise StepError(message)
