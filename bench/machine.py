"""The environment of the measurements, without names of hosts and paths."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

WAITS = {
    "postgresql": ("SHOW fsync", "SHOW synchronous_commit"),
    "mysql": ("SELECT @@innodb_flush_log_at_trx_commit", "SELECT @@innodb_flush_method"),
    "sqlite": ("PRAGMA journal_mode", "PRAGMA synchronous"),
}
PACKAGES = ("Django", "psycopg", "psycopg2-binary", "mysqlclient")


def facts(aliases: Iterable[str], programs: Iterable[str]) -> dict[str, str | int]:
    """Describe the machine, all versions, and how each database waits for the disk at a commit."""
    found: dict[str, str | int] = {"cores": os.cpu_count() or 0, "memory_gib": _memory(), "system": platform.system()}
    with suppress(StopIteration):
        found["processor"] = next(_processors())
    found["python"] = platform.python_version()
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package.lower()] = version(package)
    for alias in aliases:
        found[alias.partition("_")[0]] = _server(alias)
    for program in programs:
        found[program] = _program_version(program)
    return found


def _server(alias: str) -> str:
    from django.db import connections

    from migrator.databases.endpoints import open_engine

    engine = open_engine(alias)
    waits = [
        f"{question.split()[-1].strip('@')} {engine.fetch_value(question)}"
        for question in WAITS[connections[alias].vendor]
    ]
    described = engine.describe().engine
    engine.close()
    return f"{described} ({', '.join(waits)})"


def _memory() -> int:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3)


def _processors() -> Iterator[str]:
    with suppress(OSError):
        yield from re.findall(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())


def _program_version(program: str) -> str:
    if not shutil.which(program):
        return "not installed"
    found = re.search(r"\d[\w.~]*", subprocess.run([program, "--version"], capture_output=True, text=True).stdout)
    return found[0] if found else "unknown"
