"""Who answers a question: the person at the terminal, nobody, or a decision made before."""

from __future__ import annotations

import io
import sys

import pytest

from migrator.console.prompts import NoTerminal, Prompter, TerminalPrompter, prompter_for
from migrator.errors import Declined


def asked(typed: str) -> tuple[TerminalPrompter, io.StringIO]:
    said = io.StringIO()
    return TerminalPrompter(io.StringIO(typed), said), said


@pytest.mark.parametrize("typed", ["y\n", "Y\n", "yes\n", "YES\n", "  yes  \n"])
def test_goes_on_after_a_yes(typed: str) -> None:
    prompter, said = asked(typed)
    assert prompter.proceed("Copy 3 rows?")
    assert said.getvalue() == "Copy 3 rows? [y/N] "


@pytest.mark.parametrize("typed", ["\n", "", "n\n", "no\n", "yep\n", "ye\n", "y e s\n", "1\n", "true\n", "\ny\n"])
def test_everything_else_is_a_no(typed: str) -> None:
    assert not asked(typed)[0].proceed("Copy 3 rows?")


def test_destroys_after_the_very_word() -> None:
    prompter, said = asked("new\n")
    assert prompter.type_to_destroy("3 rows will be LOST.", "new")
    assert said.getvalue() == "3 rows will be LOST.\nType 'new' to continue, anything else to stop: "


@pytest.mark.parametrize("typed", ["\n", "", "y\n", "yes\n", "New\n", "NEW\n", "ne\n", "newer\n", "'new'\n", "\nnew\n"])
def test_destroys_after_nothing_else(typed: str) -> None:
    assert not asked(typed)[0].type_to_destroy("3 rows will be LOST.", "new")


def test_no_input_goes_on_but_never_destroys() -> None:
    prompter = prompter_for(no_input=True)
    assert type(prompter) is Prompter
    assert prompter.proceed("Copy 3 rows?")
    assert not prompter.type_to_destroy("3 rows will be LOST.", "new")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Closed(io.StringIO):
    def isatty(self) -> bool:
        raise ValueError("I/O operation on closed file")


@pytest.mark.parametrize("stdin", [io.StringIO("y\n"), Closed(), None], ids=["pipe", "closed", "none"])
def test_a_yes_from_a_pipe_is_no_yes(monkeypatch: pytest.MonkeyPatch, stdin: io.StringIO | None) -> None:
    monkeypatch.setattr(sys, "stdin", stdin)
    prompter = prompter_for(no_input=False)
    assert type(prompter) is NoTerminal
    with pytest.raises(Declined) as raised:
        prompter.proceed("Copy 3 rows?")
    assert str(raised.value) == (
        "There is no terminal to ask on (Copy 3 rows?). Nothing was written. "
        "Pass --no-input to continue without a question."
    )
    assert not prompter.type_to_destroy("3 rows will be LOST.", "new")


def test_asks_at_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """On standard error, for standard output may be a program's."""
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    assert prompter_for(no_input=False).proceed("Copy 3 rows?")
    assert capsys.readouterr() == ("", "Copy 3 rows? [y/N] ")


def test_a_decision_made_before_wins_over_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    assert prompter_for(no_input=True).proceed("Copy 3 rows?")
