"""Run the tests of one cell: unpack its programs, create its virtual environment, and read what pytest has counted."""

import datetime
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from xml.etree import ElementTree

from tests.matrix.cells import Cell, Result
from tests.servers.suites import Programs, SuiteError, on_path

# A line of `python -m tests.servers` for each server that it has started.
_STARTED = re.compile(r"^(\w+) (\S+), port \d+$")
# The packages whose versions decide what a cell proves.
_PACKAGES = ("Django", "psycopg", "psycopg2-binary", "mysqlclient", "django-redis")
_ASK_VERSIONS = """
import platform
from importlib.metadata import version
print("Python", platform.python_version())
for package in {packages}:
    print(package, version(package))
"""


def prepare(cell: Cell) -> list[Path]:
    """Unpack the programs of a cell and create its virtual environment, and return the paths of its servers.

    Raises:
        SuiteError: A program of another suite could not be had, or this machine lacks the cell's Python.
    """
    programs = [path for unpacked in cell.programs for path in unpacked.unpack()]
    made = subprocess.run([*_make(cell), "environment"], check=False)
    if made.returncode != 0:
        raise SuiteError(f"The virtual environment of the cell {cell.name} could not be created.")
    return programs


def run(cell: Cell) -> tuple[Result | None, int]:
    """Run the tests of a cell, with their output going to the terminal as it comes.

    Returns:
        The result, or ``None`` if pytest did not come to its end, and the exit code of `make test`.

    Raises:
        SuiteError: As for :func:`prepare`; or other servers than the cell's were started.
    """
    programs = prepare(cell)
    with tempfile.TemporaryDirectory() as directory:
        counted = Path(directory) / "junit.xml"
        environment = {
            **os.environ,
            "PATH": on_path(programs),
            "MIGRATOR_TEST_PSYCOPG": cell.driver,
            "PYTEST_ADDOPTS": f"--junit-xml={counted}",
            **({} if cell.in_ci else {"MIGRATOR_TEST_PAIRS": "all"}),
        }
        command = [*_make(cell), "test", f"T={cell.tests}"]
        print(shlex.join(command), flush=True)
        code, versions = _follow(command, environment)
        if not counted.exists():
            return None, code
        if others := replaced(cell, versions):
            raise SuiteError(f"The cell {cell.name} did not run on {', '.join(others)}, but on other programs.")
        return _result(counted, versions | _installed(cell)), code


def replaced(cell: Cell, versions: Mapping[str, str]) -> list[str]:
    """Return the servers of a cell in whose place others were started, which would prove nothing.

    That happens if a program does not start here: the machine's own, of another version, is found after it. Names of
    programs begin with the product and its version, like `mariadb-11.8-trixie`.
    """
    found = []
    for programs in cell.programs:
        product, version = programs.name.split("-")[:2]
        if not f"{versions.get(product, '')}.".startswith(f"{version}."):
            found.append(programs.name)
    return found


def _make(cell: Cell) -> list[str]:
    choices = {
        "PYTHON": _python(cell),
        "VENV": cell.environment,
        "DJANGO": cell.django,
        "INSTALL": cell.install,
    }
    return ["make", "--no-print-directory", *(f"{name}={value}" for name, value in choices.items() if value)]


def _python(cell: Cell) -> str:
    if isinstance(cell.python, Programs):
        return str(cell.python.unpack()[0])
    if not shutil.which(cell.python):
        raise SuiteError(f"The cell {cell.name} needs {cell.python} on PATH, which Debian does not have.")
    return cell.python


def _follow(command: list[str], environment: dict[str, str]) -> tuple[int, dict[str, str]]:
    """Run a command and pass its output on; return its exit code and the versions of the servers that it started."""
    versions = {}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            if started := _STARTED.match(line):
                versions[started[1]] = started[2]
    return process.returncode, versions


def _installed(cell: Cell) -> dict[str, str]:
    """Return the versions of Python and of the packages in the cell's virtual environment."""
    packages = [name for name in _PACKAGES if name != ("psycopg" if cell.driver == "2" else "psycopg2-binary")]
    command = [f"{cell.environment}/bin/python", "-c", _ASK_VERSIONS.format(packages=packages)]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return dict(line.split() for line in said.splitlines())


def _result(counted: Path, versions: dict[str, str]) -> Result:
    suites = list(ElementTree.parse(counted).getroot().iter("testsuite"))  # noqa: S314

    def total(name: str) -> int:
        return sum(int(suite.get(name, 0)) for suite in suites)

    failed, skipped = total("failures") + total("errors"), total("skipped")
    return Result(
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        passed=total("tests") - failed - skipped,
        failed=failed,
        skipped=skipped,
        seconds=round(sum(float(suite.get("time", 0)) for suite in suites)),
        versions=versions,
    )
