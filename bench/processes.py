"""The cost of a command: time, CPU time and memory of all its processes; the memory only on Linux."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

EVERY_SECONDS = 0.05
PSS = re.compile(rb"^Pss:\s+(\d+) kB", re.MULTILINE)

Command = Sequence[str | Path]


class Cost(NamedTuple):
    """What a method cost; ``own_seconds`` is the time of the work itself, as the program reports it."""

    seconds: float
    cpu_seconds: float
    mebibytes: float
    own_seconds: float | None = None


class Failed(Exception):
    """A command exited with another code than 0."""


def run(*pipeline: Command, environment: Mapping[str, str] | None = None) -> tuple[Cost, str]:
    """Run a pipeline of commands; return the cost of all, and the output of the last."""
    given = os.environ | (environment or {})
    given.pop("PYTHONDONTWRITEBYTECODE", None)  # installed packages are already compiled
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryFile() as errors, tempfile.TemporaryFile() as output:
        started = time.perf_counter()
        processes: list[subprocess.Popen[bytes]] = []
        for number, command in enumerate(pipeline, 1):
            source = processes[-1].stdout if processes else subprocess.DEVNULL
            target = output if number == len(pipeline) else subprocess.PIPE
            processes.append(subprocess.Popen(command, env=given, stdin=source, stdout=target, stderr=errors))
            if processes[:-1]:
                source.close()  # type: ignore[union-attr]  # so that the writer gets SIGPIPE when its reader is gone
        with _Memory([process.pid for process in processes]) as memory:
            codes = [process.wait() for process in processes]
            seconds = time.perf_counter() - started
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        errors.seek(0)
        output.seek(0)
        if any(codes):
            raise Failed(f"{Path(pipeline[codes.index(max(codes))][0]).name}: {_last_lines(errors.read())}")
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Cost(seconds, cpu, memory.peak / 1024), output.read().decode()


def _last_lines(text: bytes) -> str:
    lines = text.decode(errors="replace").strip().splitlines()
    return "\n".join(lines[-20:]) or "no message"


class _Memory:
    """Watches processes and their descendants, and keeps the peak of their total memory in KiB.

    Shared memory is divided among the processes that share it (Pss in proc(5)).
    """

    def __init__(self, pids: Sequence[int]) -> None:
        self.peak = 0
        self._pids = pids
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> _Memory:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(EVERY_SECONDS):
            self.peak = max(self.peak, sum(_kibibytes(pid) for first in self._pids for pid in _family(first)))


def _family(pid: int) -> Iterator[int]:
    yield pid
    with suppress(OSError):
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            with suppress(OSError):
                for child in children.read_text().split():
                    yield from _family(int(child))


def _kibibytes(pid: int) -> int:
    with suppress(OSError):
        found = PSS.search(Path(f"/proc/{pid}/smaps_rollup").read_bytes())
        return int(found[1]) if found else 0
    return 0
