"""What a terminal shows of a report: the verdict first, what to do next last, and in between what fits."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.core.management.color import color_style

from migrator.console.report_text import SHORT, to_text
from migrator.console.reports import Fact, Grid, Mood, Point, Report, Verdict
from migrator.console.wording import seconds_text

SHORT_GRID = Grid("Row counts that differ", ("model", "rows"), (("shop.Order", 5),))
ALL = Grid("Rows on both sides", ("model", "rows"), tuple((f"shop.Model{number}", number) for number in range(165)))
NOTES = tuple(Point(Mood.NOTE, f"note {number}.") for number in range(30))
REPORT = Report(
    title="Move",
    verdict=Verdict(Mood.BAD, "NOT A COPY", "The destination is NOT a copy of the source."),
    facts=(Fact("from", "'a'"), Fact("largest", "shop.Model164 and 164 more", full="all of the 165 models")),
    grids=(SHORT_GRID,),
    points=(*NOTES, Point(Mood.WARNING, "a warning."), Point(Mood.BAD, "a problem.")),
    details=(ALL,),
    timings={"checks": 0.04, "copying": 61.0, "verification": 119.0},
    next=("manage.py verify_counts --source a --dest b --mode full", "or leave it"),
)
SHOWN = """\
NOT A COPY  The destination is NOT a copy of the source.
  from     'a'
  largest  shop.Model164 and 164 more
  time     3 min 0 s: copying 61.0 s, verification 119.0 s

Row counts that differ
  model       rows
  ----------  ----
  shop.Order     5

a problem.
a warning.
Note: note 0.
Note: note 1.
Note: note 2.
Note: note 3.
Note: note 4.
25 more notes; -v 2 lists everything.
Next: manage.py verify_counts --source a --dest b --mode full
      or leave it"""


def test_shows_the_verdict_first_and_what_to_do_last_in_a_few_lines() -> None:
    assert to_text(REPORT, 80) == SHOWN
    assert len(SHOWN.splitlines()) <= SHORT


def test_shows_everything_if_it_is_asked_for() -> None:
    lines = to_text(REPORT, 80, is_full=True).splitlines()
    assert "  largest  all of the 165 models" in lines
    assert [line for line in lines if line.startswith("Note: ")] == [f"Note: {note.sentence}" for note in NOTES]
    assert sum(line.startswith("  shop.Model") for line in lines) == 165
    assert "Row counts that differ" not in lines


def test_without_tables_it_is_one_block() -> None:
    text = to_text(replace(REPORT, grids=()), 80)
    assert "\n\n" not in text
    assert len(text.splitlines()) == SHORT


def test_what_must_be_known_is_shown_however_much_there_is() -> None:
    points = tuple(Point(Mood.WARNING, f"recreate {n}.", stays=True, statements=("SQL",)) for n in range(30))
    lines = to_text(replace(REPORT, points=points), 80).splitlines()
    assert sum(line.startswith("recreate ") for line in lines) == 30
    assert lines.count("    SQL") == 30


LONG = "Rows that refer to rejected ones: " + ", ".join(f"shop.Model{n} (1,000 rows)" for n in range(4)) + "."
VALUE = "shop.Order 1: changed: note 'it is  a long text with spaces, and two of them in a row' became \"Django's\""
STATEMENT = f"CREATE INDEX shop_note ON shop_order (note) WHERE note = '{' ' * 70}'"
PROSE = Report(
    title="Move",
    verdict=Verdict(Mood.WARNING, "INCOMPLETE", LONG),
    facts=(Fact("delete first", LONG), Fact("to", "'b'")),
    points=(Point(Mood.BAD, VALUE, statements=(STATEMENT,)),),
)
WRAPPED = f"""\
INCOMPLETE  Rows that refer to rejected ones: shop.Model0 (1,000 rows),
  shop.Model1 (1,000 rows), shop.Model2 (1,000 rows), shop.Model3 (1,000 rows).
  delete first  Rows that refer to rejected ones: shop.Model0 (1,000 rows),
                shop.Model1 (1,000 rows), shop.Model2 (1,000 rows), shop.Model3
                (1,000 rows).
  to            'b'
shop.Order 1: changed: note
  'it is  a long text with spaces, and two of them in a row' became "Django's"
    {STATEMENT}"""


def test_sentences_fit_into_the_terminal() -> None:
    """But neither a value nor a statement that may be copied is broken."""
    assert to_text(PROSE, 80) == WRAPPED
    assert to_text(PROSE).splitlines() == [
        f"INCOMPLETE  {LONG}",
        f"  delete first  {LONG}",
        "  to            'b'",
        VALUE,
        f"    {STATEMENT}",
    ]


def test_colours_are_those_of_django_and_change_no_text() -> None:
    style = color_style(force_color=True)
    good = replace(REPORT, verdict=Verdict(Mood.GOOD, "DONE", "All."), facts=(Fact("rows", "match", mood=Mood.GOOD),))
    lines = to_text(good, 80, style).splitlines()
    assert lines[:2] == [f"{style.SUCCESS('DONE')}  All.", f"  rows  {style.SUCCESS('match')}"]
    assert to_text(REPORT, 80, style).startswith(style.ERROR("NOT A COPY"))
    assert {style.ERROR("a problem."), style.WARNING("a warning."), "Note: note 0."} < set(lines)
    for report in (REPORT, PROSE):
        text = to_text(report, 80, style)
        assert "\x1b" in text
        for code in ("\x1b[32;1m", "\x1b[31;1m", "\x1b[33;1m", "\x1b[36;1m", "\x1b[1m", "\x1b[0m"):
            text = text.replace(code, "")
        assert text == to_text(report, 80)


def test_no_text_of_a_row_acts_on_the_terminal() -> None:
    evil = "x\x1b[2J\u202e\nDONE  forged"
    report = Report(
        title=evil,
        verdict=Verdict(Mood.BAD, evil, evil),
        facts=(Fact(evil, evil),),
        grids=(Grid(evil, (evil,), ((evil,),)),),
        points=(Point(Mood.BAD, evil, statements=(evil,)),),
        next=(evil,),
    )
    text = to_text(report, 200)
    assert {letter for letter in text if not letter.isprintable()} == {"\n"}
    assert not [line for line in text.splitlines() if line.startswith("DONE")]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (13.14, "13.1 s"), (119.9, "119.9 s"), (125.4, "2 min 5 s"), (7199.0, "1 h 59 min"),
     (9000.0, "2 h 30 min"), (190_000.0, "2 d 4 h")],
)  # fmt: skip
def test_durations_are_written_in_a_fitting_unit(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text
