"""Lines of text at a terminal: broken between words, and never within what people copy."""

from __future__ import annotations

import io

import pytest

from migrator.console.prompts import TerminalPrompter
from migrator.console.report_text import to_text
from migrator.console.reports import Report
from migrator.console.wrapping import width_of, wrapped


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


PATH = f"/srv/{'directory/' * 8}shop.sqlite3"
HEADING = f"Plan\n  from 'default': SQLite, database '{PATH}' on this host\n  to   'new': PostgreSQL, database 'shop'"
COMMAND = "manage.py migrate --database another_alias_of_the_project --fake"
MESSAGE = f"Tables exist already. Record these migrations with {COMMAND}; otherwise choose an empty database."
HINT = f"Resume:\n    python manage.py batch_migrate --source default --dest new --jobs 4 --rejects {PATH} --resume"


def test_breaks_a_heading_but_no_path() -> None:
    assert to_text(Report(HEADING, (), ()), 80) == (
        "Plan\n"
        "  from 'default': SQLite, database\n"
        f"    '{PATH}'\n"
        "    on this host\n"
        "  to   'new': PostgreSQL, database 'shop'"
    )
    assert to_text(Report(HEADING, (), ())) == HEADING


@pytest.mark.parametrize("width", [40, 80, 100])
def test_breaks_no_command(width: int) -> None:
    assert COMMAND in wrapped(MESSAGE, width)
    assert wrapped(MESSAGE, width).count("\n") >= 1
    assert "ACL SETUSER site +pexpireat +get '~shop:*'" in wrapped(
        "Grant that for the copy with ACL SETUSER site +pexpireat +get '~shop:*', or name another user.", width
    )
    assert "(pip install django-bulk-migrator==9.1)," in wrapped(
        "Resume the run with migrator 9.1 (pip install django-bulk-migrator==9.1), or abandon it.", width
    )
    assert wrapped(HINT, width) == HINT


def test_keeps_the_space_behind_a_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    said = Terminal()
    prompter = TerminalPrompter(io.StringIO("y\nnew\n"), said)
    assert prompter.proceed("Insert, rewrite and delete rows of 'new' until it equals 'default'?")
    assert prompter.type_to_destroy("'new' holds rows that will be LOST: shop.Order (1,000).", "new")
    assert said.getvalue() == (
        "Insert, rewrite and delete rows of 'new'\n  until it equals 'default'? [y/N] "
        "'new' holds rows that will be LOST:\n  shop.Order (1,000).\n"
        "Type 'new' to continue, anything else to\n  stop: "
    )


def test_breaks_nothing_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert (width_of(Terminal()), width_of(io.StringIO())) == (40, None)
    assert wrapped(MESSAGE, None) == MESSAGE
