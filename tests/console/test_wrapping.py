"""Lines of text at a terminal: broken between words, and never within what people copy."""

from __future__ import annotations

import io
import shlex

import pytest

from migrator.console.prompts import TerminalPrompter
from migrator.console.wrapping import hanging, instruction, width_of, wrapped


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


PATH = f"/srv/{'directory/' * 8}shop.sqlite3"
DATABASE = f"'default': SQLite, database '{PATH}' on this host"
COMMAND = "manage.py migrate --database another_alias_of_the_project --fake"
MESSAGE = f"Tables exist already. Record these migrations with {COMMAND}; otherwise choose an empty database."
HINT = f"Resume:\n    python manage.py batch_migrate --source default --dest new --jobs 4 --rejects {PATH} --resume"


def test_breaks_a_fact_below_its_value_but_no_path() -> None:
    assert hanging("  from  ", DATABASE, 80) == (
        f"  from  'default': SQLite, database\n        '{PATH}'\n        on this host"
    )
    assert hanging("  from  ", DATABASE, None) == f"  from  {DATABASE}"


def test_continues_a_long_command_as_a_shell_does() -> None:
    command = "manage.py verify_counts --source sqlite_a --dest sqlite_b --mode full --rejects FILE"
    text = instruction("Next: ", command, 80)
    assert text == f"Next: {command.removesuffix(' --rejects FILE')} \\\n        --rejects FILE"
    assert shlex.split(text.replace("\\\n", "")) == ["Next:", *command.split()]
    assert instruction("Next: ", command, 90) == instruction("Next: ", command, None) == f"Next: {command}"
    quoted = f"manage.py batch_migrate --source a --dest b --rejects '{PATH} -- copy'"
    assert instruction("Next: ", quoted, 80) == f"Next: {quoted}"


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


def test_breaks_the_items_of_a_list_below_their_text() -> None:
    problem = "shop.Order.total: 1 value: longer than the 12 digits of numeric(12,2) (primary key 9)."
    assert wrapped(f"2 problems:\n  - {problem}\n    SELECT 1 FROM shop_order WHERE total > 99999999", 50) == (
        "2 problems:\n  - shop.Order.total: 1 value: longer than the 12\n    digits of numeric(12,2) (primary key 9).\n"
        "    SELECT 1 FROM shop_order WHERE total > 99999999"
    )


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
