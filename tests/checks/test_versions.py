"""Which versions of Django migrator says that it was tested on."""

from __future__ import annotations

import tomllib

import django
import pytest
from django.core.checks import run_checks

from migrator.checks.versions import TESTED_DJANGO
from settings.base import ROOT


def test_w001_a_django_newer_than_all_tested_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    for series in TESTED_DJANGO:
        monkeypatch.setattr(django, "VERSION", (*series, 9, "final", 0))
        assert not [found for found in run_checks(tags=["migrator"]) if found.id == "migrator.W001"]
    monkeypatch.setattr(django, "VERSION", (TESTED_DJANGO[-1][0] + 1, 0, 0, "alpha", 1))
    monkeypatch.setattr(django, "__version__", "99.0a1")
    (found,) = [found for found in run_checks(tags=["migrator"]) if found.id == "migrator.W001"]
    newest = "{}.{}".format(*TESTED_DJANGO[-1])
    assert found.msg == f"migrator was tested up to Django {newest}, and this is Django 99.0a1."


def test_the_package_names_the_same_versions() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    prefix = "Framework :: Django :: "
    named = [text.removeprefix(prefix) for text in project["classifiers"] if text.startswith(prefix)]
    assert named == [f"{major}.{minor}" for major, minor in TESTED_DJANGO]
