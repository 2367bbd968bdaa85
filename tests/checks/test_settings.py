"""Mistakes in the ``MIGRATOR`` setting are found by `manage.py check`, before any command reads it."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import Error, run_checks
from django.test import override_settings

from migrator import conf
from tests.management.running import run


def errors(given: Any) -> list[Error]:
    with override_settings(MIGRATOR=given):
        return [found for found in run_checks(tags=["migrator"]) if isinstance(found, Error)]


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"PROTECTED": ["default"], "CHUNK_SIZE": 500},
        {"RETRY_FOR": 0, "LINK_TIMEOUT": 1},
        {"RETRY_FOR": 0.5},
        {"PROTECTED": ("default", "sqlite_a")},
        {"PROTECTED": {"default"}},
        {"PROTECTED": []},
    ],
    ids=str,
)
def test_is_content_with_a_right_setting(given: dict[str, Any]) -> None:
    assert errors(given) == []


@pytest.mark.parametrize(("given", "kind"), [([], "list"), ("default", "str"), (None, "NoneType")])
def test_e001_not_a_dictionary(given: Any, kind: str) -> None:
    expected = Error(
        f"MIGRATOR is {kind}, not a dictionary.", hint="Write MIGRATOR = {...}, or remove it.", id="migrator.E001"
    )
    assert errors(given) == [expected]


def test_e002_unknown_keys() -> None:
    hint = "The documentation of the settings lists all keys; a misspelled one has no effect."
    assert errors({"PROTECED": ["default"], "CHUNK_SIZE": 5, "jobs": 3}) == [
        Error(f"MIGRATOR has the unknown key {name!r}.", hint=hint, id="migrator.E002") for name in ("PROTECED", "jobs")
    ]


@pytest.mark.parametrize("protected", ["default", ["default", 3], [None], 3, None], ids=str)
def test_e003_protected_is_no_list_of_aliases(protected: Any) -> None:
    assert errors({"PROTECTED": protected}) == [
        Error(
            "MIGRATOR['PROTECTED'] is not a list of database aliases.",
            hint="Write MIGRATOR = {'PROTECTED': ['default']}.",
            id="migrator.E003",
        )
    ]


def test_e004_protected_is_no_alias() -> None:
    (error,) = errors({"PROTECTED": ["default", "deflaut"]})
    assert error.id == "migrator.E004"
    assert error.msg == "MIGRATOR['PROTECTED'] names 'deflaut', which is not in DATABASES."
    assert error.hint is not None
    assert error.hint.startswith("The aliases are default, ")


@pytest.mark.parametrize("size", [0, -1, 2.5, "500", None, True], ids=repr)
def test_e005_chunk_size_is_no_whole_number_above_zero(size: Any) -> None:
    assert errors({"CHUNK_SIZE": size}) == [
        Error(
            f"MIGRATOR['CHUNK_SIZE'] is {size!r}, not a positive integer.",
            hint="Remove it to let migrator choose a size that suits the databases.",
            id="migrator.E005",
        )
    ]


@pytest.mark.parametrize("seconds", [-1, "60", None, True, float("inf"), float("nan")], ids=repr)
def test_e006_retry_for_is_no_number_of_seconds(seconds: Any) -> None:
    assert errors({"RETRY_FOR": seconds}) == [
        Error(
            f"MIGRATOR['RETRY_FOR'] is {seconds!r}, not a number of seconds.",
            hint="Remove it for the default of 300 seconds; 0 retries once.",
            id="migrator.E006",
        )
    ]


@pytest.mark.parametrize("seconds", [0, -1, 2.5, "60", None, True], ids=repr)
def test_e007_link_timeout_is_no_whole_number_of_seconds(seconds: Any) -> None:
    assert errors({"LINK_TIMEOUT": seconds}) == [
        Error(
            f"MIGRATOR['LINK_TIMEOUT'] is {seconds!r}, not a positive integer of seconds.",
            hint="Remove it for the default of 120 seconds.",
            id="migrator.E007",
        )
    ]


def test_all_mistakes_are_told_at_once() -> None:
    found = errors({"PROTECTED": "default", "CHUNK_SIZE": 0, "SPEED": 1})
    assert sorted(str(error.id) for error in found) == ["migrator.E002", "migrator.E003", "migrator.E005"]


def test_no_command_runs_with_a_wrong_setting() -> None:
    with override_settings(MIGRATOR={"PROTECTED": "default"}):
        finished = run("batch_migrate", "--source", "sqlite_a", "--dest", "default", "--no-input")
    assert (finished.code, finished.out) == (1, "")
    assert "ERRORS:\n?: (migrator.E003) MIGRATOR['PROTECTED'] is not a list of database aliases.\n" in finished.err
    assert "HINT: Write MIGRATOR = {'PROTECTED': ['default']}." in finished.err
    assert "Traceback" not in finished.err


def test_settings_have_defaults() -> None:
    assert conf.load() == conf.Settings(PROTECTED=(), CHUNK_SIZE=None)
    with override_settings(MIGRATOR={"PROTECTED": ["default"], "CHUNK_SIZE": 5}):
        assert conf.load() == conf.Settings(PROTECTED=("default",), CHUNK_SIZE=5)
