"""The distribution: one version and one name everywhere, and extras that exist."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import metadata

import pytest

import migrator
from migrator.checks.versions import TESTED_DJANGO
from migrator.console.wording import listed
from migrator.databases.journal.format import DISTRIBUTION
from settings.base import ROOT
from tests.management.running import run

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_version_is_that_of_the_installed_distribution() -> None:
    installed = metadata(DISTRIBUTION)
    assert (installed["Name"], installed["Version"]) == (PROJECT["name"], migrator.__version__), "run make environment"


def test_the_newest_release_of_the_changelog_is_this_one() -> None:
    releases = re.findall(r"^## (?!Unreleased)(\S+) \((\d{4}-\d\d-\d\d)\)$", read("CHANGELOG.md"), re.MULTILINE)
    assert releases[0][0] == migrator.__version__
    assert [date for _, date in releases] == sorted((date for _, date in releases), reverse=True)


def test_each_command_prints_the_release(capsys: pytest.CaptureFixture[str]) -> None:
    finished = run("batch_migrate", "--version")
    assert finished.code == 0
    assert re.fullmatch(rf"migrator {re.escape(migrator.__version__)}, Django \d+\.\d+\.\d+\n", finished.out)


@pytest.mark.parametrize("name", ["README.md", "docs/releases/versions.md"])
def test_the_tables_of_versions_have_the_oldest_that_install(name: str) -> None:
    page = read(name)
    python = PROJECT["requires-python"].removeprefix(">=")
    django = next(item for item in PROJECT["dependencies"] if item.startswith("Django")).removeprefix("Django>=")
    (first, *more) = [".".join(map(str, series)) for series in TESTED_DJANGO]
    assert django.startswith(f"{first}.")
    assert f"| Python | {python} or newer |" in page
    assert f"| Django | {first} from {django} on, {listed(more)} |" in page


def test_documents_install_extras_that_there_are_and_name_each() -> None:
    extras = set(PROJECT["optional-dependencies"])
    pages = [str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts]
    for name in ("README.md", "CONTRIBUTING.md", "Makefile", *pages):
        found = re.findall(rf"(?:{DISTRIBUTION}|\"\.)\[([^]\n]+)\]", read(name))
        assert {extra for extras in found for extra in extras.split(",")} <= extras, name
    assert {extra for extra in extras if f"| `{extra}` |" in read("README.md")} == extras


def test_the_development_environment_has_all_extras() -> None:
    named = next(item for item in PYPROJECT["dependency-groups"]["dev"] if item.startswith(DISTRIBUTION))
    assert set(named.removeprefix(f"{DISTRIBUTION}[").rstrip("]").split(",")) == set(PROJECT["optional-dependencies"])
