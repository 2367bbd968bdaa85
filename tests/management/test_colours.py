"""Verdicts and errors have Django's own colours, where Django would have them, and NO_COLOR is followed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.core.management.color import color_style

from migrator.management.commands.batch_migrate import Command
from tests.databases.snapshots import insert_rows
from tests.management.running import at_terminal, run
from tests.servers.databases import Pair
from tests.testapp.models import Tag

if TYPE_CHECKING:
    from tests.servers.databases import FreshDatabases

STYLE = color_style(force_color=True)
WORDS = ("--source", "sqlite_a", "--dest", "sqlite_b", "testapp.Tag")


@pytest.fixture
def sqlite(databases: FreshDatabases) -> Pair:
    databases.fresh("sqlite_a", "sqlite_b")
    insert_rows(Tag, "sqlite_a", [{"id": 1, "name": "one"}])
    return Pair("sqlite_a", "sqlite_b")


@pytest.mark.usefixtures("sqlite")
def test_a_success_is_green_a_plan_cyan_and_a_difference_red() -> None:
    compared = run("verify_counts", *WORDS, "--force-color")
    assert compared.out.startswith(STYLE.ERROR("DIFFERENT"))
    moved = run("batch_migrate", *WORDS, "--no-input", "--force-color")
    assert moved.out.startswith(STYLE.MIGRATE_HEADING("PLAN"))
    assert f"\n{STYLE.SUCCESS('DONE')}  1 row of 1 table" in moved.out
    assert STYLE.SUCCESS("match in 1 table") in moved.out
    step = "python manage.py verify_counts testapp.Tag --source sqlite_a --dest sqlite_b --mode full"
    assert moved.out.endswith(f"Next: {STYLE.MIGRATE_LABEL(step)}\n")
    refused = run("batch_migrate", *WORDS, "--dry-run", "--force-color")
    assert (
        STYLE.WARNING("1 row: testapp.Tag 1. Requires --replace sqlite_b (or type the alias when asked).")
        in refused.out
    )


@pytest.mark.usefixtures("sqlite")
@pytest.mark.parametrize("more", [(), ("--no-color",)])
def test_no_colour_without_a_terminal_or_if_it_is_unwanted(more: tuple[str, ...]) -> None:
    assert "\x1b" not in run("verify_counts", *WORDS, *more).out


def test_no_color_of_the_environment_yields_to_force_color(monkeypatch: pytest.MonkeyPatch, sqlite: Pair) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" in run("verify_counts", *WORDS, "--force-color").out
    monkeypatch.setattr("django.core.management.color.supports_color", lambda: True)
    assert Command().style.ERROR("text") == "text"
    monkeypatch.setenv("NO_COLOR", "")
    assert Command().style.ERROR("text") == STYLE.ERROR("text")


def test_a_command_error_is_bold_red_and_nothing_else_of_standard_error_is(sqlite: Pair) -> None:
    shown = at_terminal("verify_counts", *WORDS, "--format", "json", "--force-color")
    assert shown.code == 3
    assert "\x1b[31;1mDIFFERENT\x1b[0m  Differences were found" in shown.err
    assert "\n  row counts  \x1b[31;1mdiffer in 1 of 1 table\x1b[0m\n" in shown.err
    assert "\x1b" not in shown.out
    refused = at_terminal("verify_counts", *WORDS, "--exclude", "testapp.Tag", "--force-color")
    assert "\x1b[31;1mCommandError: " in refused.err
