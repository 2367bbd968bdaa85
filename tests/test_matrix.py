"""The versions that the tests run on: every cell can be had, and the documentation says what ran on it."""

import re
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest

from docs import pages
from tests.matrix.cells import ALL_TESTS, Result, read_cells
from tests.matrix.run import replaced
from tests.matrix.table import render
from tests.servers.process import find_program
from tests.servers.suites import Programs, on_path

ROOT = Path(__file__).resolve().parent.parent


def test_the_documentation_has_a_row_for_each_cell() -> None:
    table = pages.PARTS["versions"]()
    assert [line.split("`")[1] for line in table.splitlines()[2:]] == list(read_cells())


def test_a_cell_runs_all_tests_on_this_machines_programs_unless_it_says_otherwise() -> None:
    cell = read_cells()["default"]
    assert (cell.python, cell.django, cell.programs, cell.tests) == ("python3", "", (), ALL_TESTS)


def test_cells_share_a_virtual_environment_only_with_the_same_python_and_packages() -> None:
    chosen: dict[str, set[tuple[object, ...]]] = {}
    for cell in read_cells().values():
        chosen.setdefault(cell.environment, set()).add((cell.python, cell.django, cell.install))
    assert all(len(choices) == 1 for choices in chosen.values())


def test_the_oldest_cell_has_the_lowest_versions_that_the_project_accepts() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    accepted = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
    cell = read_cells()["oldest"]
    installed = {f"Django{cell.django}", *cell.install.split()}
    for requirement in accepted:
        lowest = re.escape(re.sub("[>~]=", "==", requirement))
        assert any(re.fullmatch(rf"{lowest}(\.0)*", found) for found in installed), requirement


def test_a_program_of_another_suite_is_found_before_this_machines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for directory, name in (("machine", "redis-server"), ("suite", "valkey-server")):
        program = tmp_path / directory / name
        program.parent.mkdir()
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "machine"))

    monkeypatch.setenv("PATH", on_path([tmp_path / "suite" / "valkey-server"]))

    assert find_program("redis-server", "valkey-server") == tmp_path / "suite" / "valkey-server"


def test_a_failed_result_is_told_in_the_table() -> None:
    cells = read_cells()
    versions = {"Python": "3.14.0", "Django": "6.1.3", "postgresql": "18.6", "psycopg": "3.3.9", "mysql": "9.7.4"}
    result = Result("2026-11-30", passed=1234, failed=2, skipped=3, seconds=60, versions=versions)

    row = next(line for line in render(cells, {"mysql": result}).splitlines() if line.startswith("| `mysql` "))

    assert row == (
        "| `mysql` | 3.14.0 | 6.1.3 | PostgreSQL 18.6, psycopg 3.3.9 | MySQL 9.7.4 | 1,234, 2 failed (2026-11-30) |"
    )


@pytest.mark.parametrize(
    ("started", "missing"),
    [
        ({"postgresql": "18.6", "mariadb": "11.8.9", "valkey": "9.1.2"}, []),
        ({"postgresql": "15.18", "mariadb": "11.8.9", "valkey": "9.1.2"}, ["postgresql-18"]),
        ({"postgresql": "18.6", "mariadb": "11.80.1", "redis": "9.1.2"}, ["mariadb-11.8", "valkey-9"]),
    ],
)
def test_a_cell_that_ran_on_other_servers_is_noticed(started: dict[str, str], missing: list[str]) -> None:
    assert replaced(read_cells()["newest"], started) == missing


def test_an_unknown_cell_is_refused_with_the_names_of_all() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.matrix", "myqsl"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "mysql" in done.stderr


def test_a_directory_of_somebody_else_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.servers import suites

    monkeypatch.setattr(suites, "_ROOT", tmp_path)
    wanted = Programs("some", "sid", ("some",), ("some",))
    wanted.directory.parent.symlink_to(tmp_path)

    with pytest.raises(suites.SuiteError, match="somebody else"):
        wanted.unpack()
