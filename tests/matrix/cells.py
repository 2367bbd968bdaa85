"""The cells of cells.toml, and the last result of each, which results.json keeps."""

import json
import re
import tomllib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.servers.suites import Programs

_HERE = Path(__file__).parent
_RESULTS = _HERE / "results.json"
# What a cell without arguments of pytest runs.
ALL_TESTS = "-m 'slow or not slow'"


@dataclass(frozen=True)
class Cell:
    """One combination of versions; cells.toml explains the fields."""

    name: str
    about: str
    # A program of this machine, or one to unpack.
    python: str | Programs = "python3"
    django: str = ""
    programs: tuple[Programs, ...] = ()
    driver: str = "3"
    install: str = ""
    tests: str = ALL_TESTS
    in_ci: bool = False

    @property
    def environment(self) -> str:
        """The directory of its virtual environment, which cells with the same packages share."""
        python = self.python if isinstance(self.python, str) else f"{self.python.suite}-{self.python.name}"
        parts = [".venv", *([] if python == "python3" else [python]), self.django, self.install]
        return "-".join(part for part in (re.sub(r"[^\w.]+", "-", part).strip("-") for part in parts) if part)


@dataclass(frozen=True)
class Result:
    """What one run of a cell found.

    Args:
        date: As YYYY-MM-DD.
        versions: By the name of each program and package that it ran with.
        seconds: From the first test to the last.
    """

    date: str
    passed: int
    failed: int
    skipped: int
    seconds: int
    versions: dict[str, str] = field(default_factory=dict)


def read_cells() -> dict[str, Cell]:
    """Return all cells by their names, in the order of the file."""
    data = tomllib.loads((_HERE / "cells.toml").read_text())
    known = {
        name: Programs(name, of["suite"], tuple(of["packages"]), tuple(of["programs"]))
        for name, of in data["programs"].items()
    }

    def cell(name: str, of: dict[str, Any]) -> Cell:
        python = of.get("python", "python3")
        programs = tuple(known[program] for program in of.get("programs", ()))
        return Cell(name, **{**of, "python": known.get(python, python), "programs": programs})

    return {name: cell(name, of) for name, of in data["cells"].items()}


def read_results() -> dict[str, Result]:
    """Return the last result of each cell that has run."""
    return {name: Result(**of) for name, of in json.loads(_RESULTS.read_text()).items()}


def save_result(name: str, result: Result) -> None:
    """Replace the last result of a cell."""
    results = {**read_results(), name: result}
    ordered = {cell: asdict(results[cell]) for cell in read_cells() if cell in results}
    _RESULTS.write_text(json.dumps(ordered, indent=1) + "\n")
