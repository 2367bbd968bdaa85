"""A real project in processes of its own: its three databases, and its moves from one to the next."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connections

from settings.base import ROOT

# Each hop starts where the one before it ended; after them, every engine has been a source and a destination.
HOPS = (("sqlite", "postgresql"), ("postgresql", "mysql"), ("mysql", "sqlite"))
SLOWEST_PROCESS = 600

Journeys = Mapping[str, "Future[list[Hop | Exception]]"]


@dataclass(frozen=True)
class Hop:
    """The lines that a move said, and what the project's own functions returned at the destination after it."""

    said: list[str]
    facts: dict[str, Any]


class Project:
    """A project of ours around somebody else's application, with one database of each engine.

    Its package has settings, `content` with a function `fill`, and `visit`, whose functions `visits` look at a database
    after every hop.
    """

    def __init__(self, name: str, *, visits: Sequence[str], options: Sequence[str]) -> None:
        self._package = f"tests.scenarios.realapps.{name}_project"
        self._database = f"migrator_test_{settings.RUN}_{name}"
        self._file = Path(settings.RUN_DIRECTORY) / f"{name}.sqlite3"
        self._visits, self._options = visits, options

    def create(self) -> None:
        self.drop()
        for alias in ("postgresql_a", "mysql_a"):
            _administer(alias, f"CREATE DATABASE {self._database}")

    def drop(self) -> None:
        # A process that was killed may still be connected; only PostgreSQL minds.
        _administer("postgresql_a", f"DROP DATABASE IF EXISTS {self._database} WITH (FORCE)")
        _administer("mysql_a", f"DROP DATABASE IF EXISTS {self._database}")
        self._file.unlink(missing_ok=True)

    def travel(self) -> list[Hop | Exception]:
        """Fill a SQLite database and make all hops; the first that goes wrong is the last that is made."""
        hops: list[Hop | Exception] = []
        try:
            self._call("migrate --verbosity=0", "content", ["fill"], dest="sqlite")
            for source, dest in HOPS:
                hops.append(self._move(source, dest))
        except Exception as error:
            hops.append(error)
        return hops

    def _move(self, source: str, dest: str) -> Hop:
        """Move the project, and look at the destination, whose tables the first run into it creates."""
        command = ["batch_migrate --source=old --dest=default --no-input --replace=default --migrate --verbosity=2"]
        command += self._options
        return self._call(" ".join(command), "visit", self._visits, source=source, dest=dest)

    def _call(
        self, command: str, module: str, functions: Sequence[str], *, dest: str, source: str | None = None
    ) -> Hop:
        """Run a command, and then call functions of a module, inside of the project."""
        names = [f"{self._package}.{module}:{function}" for function in functions]
        environment = os.environ | {
            "DJANGO_SETTINGS_MODULE": f"{self._package}.settings",
            "DATABASE_URL": self._url(dest),
            "DATABASE_URL_OLD": self._url(source or dest),
        }
        ended = subprocess.run(
            [sys.executable, "-m", "tests.scenarios.realapps.inside", command, *names],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SLOWEST_PROCESS,
        )
        if ended.returncode:
            raise AssertionError(
                f"{command!r} or {functions} ended with {ended.returncode}:\n{ended.stdout[-2000:]}\n"
                f"{ended.stderr[-4000:]}"
            )
        *said, returned = ended.stdout.splitlines()
        return Hop(said, json.loads(returned))

    def _url(self, engine: str) -> str:
        if engine == "sqlite":
            return f"sqlite:///{self._file}"
        return f"{os.environ[f'MIGRATOR_TEST_{engine.upper()}'].rstrip('/')}/{self._database}"


def hop_of(hops: Sequence[Hop | Exception], pair: tuple[str, str]) -> Hop:
    """Return one hop of a journey, or fail by what ended the journey before it."""
    number = HOPS.index(pair)
    found = hops[min(number, len(hops) - 1)]
    if isinstance(found, Hop):
        return found
    raise AssertionError(f"The journey ended {'here' if number == len(hops) - 1 else 'before'}: {found}") from found


def _administer(alias: str, statement: str) -> None:
    with connections[alias]._nodb_cursor() as cursor:
        cursor.execute(statement)
