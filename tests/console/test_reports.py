"""Reports as data: their cells, their JSON, and the files that they are written to."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path

import pytest

from migrator import __version__
from migrator.console.report_files import write_report
from migrator.console.report_text import grid_text, to_full_text
from migrator.console.reports import Fact, Grid, Mood, Point, Report, Verdict, cell_text, to_json, to_json_lines
from migrator.console.wording import byte_text, listed, plural
from migrator.errors import UsageError

GRID = Grid(
    "Copied",
    ("model", "rows", "seconds", "note"),
    (("shop.Order", 1234567, 0.04, None), ("shop.<b>Item</b>", 5, 12.0, "piped & quick")),
    ("total", 1234572, 12.04, ""),
)
DONE = Verdict(Mood.GOOD, "DONE", "2 rows are copied.")
REPORT = Report(
    title="Move",
    verdict=DONE,
    facts=(Fact("from", "'a'"), Fact("to", "", full="'b <new>'")),
    grids=(Grid("Short", ("model",), (("shop.Short",),)),),
    points=(Point(Mood.NOTE, "1 < 2."), Point(Mood.BAD, "0 errors.", statements=("DROP TABLE a",))),
    details=(GRID,),
    timings={"checks": 0.5, "copying": 11.54},
    next=("manage.py verify_counts",),
    document={"remark": "ä", "n": 3},
    exit_code=4,
    preface=Report("Plan", Verdict(Mood.NEUTRAL, "PLAN", "Copy it.")),
)

TEXT = f"""\
DONE  2 rows are copied.
  from  'a'
  to    'b <new>'
  time  12.0 s: checks 0.5 s, copying 11.5 s

Copied
  model                  rows  seconds  note
  ----------------  ---------  -------  -------------
  shop.Order        1,234,567      0.0  -
  shop.<b>Item</b>          5     12.0  piped & quick
  ----------------  ---------  -------  -------------
  total             1,234,572     12.0

0 errors.
    DROP TABLE a
Note: 1 < 2.
Next: manage.py verify_counts

PLAN  Copy it.

Written by migrator {__version__}."""


def test_text_is_aligned_numbers_to_the_right() -> None:
    assert to_full_text(REPORT) == TEXT
    assert not [line for line in TEXT.splitlines() if line != line.rstrip()]


def test_a_column_with_gaps_is_still_one_of_numbers() -> None:
    grid = Grid("", ("n", "x"), ((1, None), (None, 22), (333, 1)))
    assert grid_text(grid) == "    n   x\n  ---  --\n    1   -\n    -  22\n  333   1"


def test_an_empty_grid_is_only_its_head() -> None:
    assert grid_text(Grid("Nothing", ("model", "rows"), ())) == "Nothing\n  model  rows\n  -----  ----"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0, "0"), (-1234, "-1,234"), (1234.56, "1,234.6"), ("1234", "1234"), (True, "True")],
)
def test_cells_are_written_for_people(value: str | int | float | None, text: str) -> None:
    assert cell_text(value) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (5 * 1024**2, "5.0 MiB"),
     (3 * 1024**3, "3.0 GiB"), (2 * 1024**4, "2.0 TiB"), (5000 * 1024**4, "5000.0 TiB")],
)  # fmt: skip
def test_bytes_are_written_in_a_fitting_unit(count: int, text: str) -> None:
    assert byte_text(count) == text


def test_a_noun_agrees_with_its_number() -> None:
    assert [plural(n, "row") for n in (0, 1, 2, 2000)] == ["0 rows", "1 row", "2 rows", "2,000 rows"]
    assert plural(2, "index", "indexes") == "2 indexes"


def test_parts_are_listed_as_people_do() -> None:
    assert [listed("abc"[:count]) for count in range(4)] == ["", "a", "a and b", "a, b and c"]


def test_json_is_the_document_the_release_and_the_exit_code() -> None:
    found = json.loads(to_json(REPORT))
    assert found == {"remark": "ä", "n": 3, "migrator_version": __version__, "exit_code": 4}


@pytest.mark.parametrize(
    ("name", "begins"),
    [("r.json", "{"), ("r.JSON", "{"), ("r.html", "<!doctype html>"), ("r.htm", "<!doctype html>"), ("r.txt", "DONE  "),
     ("r", "DONE  ")],
)  # fmt: skip
def test_a_file_has_the_form_that_its_name_says(tmp_path: Path, name: str, begins: str) -> None:
    path = tmp_path / name
    write_report(REPORT, path)
    text = path.read_text(encoding="utf-8")
    assert text.startswith(begins)
    assert __version__ in text
    assert re.search(r"[^\n]\n\Z", text)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_is_never_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "report.txt").symlink_to(tmp_path / "victim")
    with pytest.raises(UsageError, match="symbolic link"):
        write_report(REPORT, tmp_path / "report.txt")
    assert not (tmp_path / "victim").exists()


def test_json_lines_are_one_for_each_record_and_one_for_the_rest() -> None:
    models = [{"label": "shop.Order", "diffs": [{"pk": "1"}]}, {"label": "shop.Item", "diffs": []}]
    document = {"source": {"alias": "a"}, "models": models, "late": [], "dangling": ["x"]}
    report = Report("", DONE, document=document, exit_code=3)

    end = {"migrator_version": __version__, "exit_code": 3}
    assert [json.loads(line) for line in to_json_lines(report).splitlines()] == [
        {"part": "models", **models[0]},
        {"part": "models", **models[1]},
        {"part": "summary", "source": {"alias": "a"}, "late": [], "dangling": ["x"], **end},
    ]


def test_json_holds_no_control_at_all() -> None:
    text = "\x00\x1b[2J\x7f\x9b\u202e\n"
    report = Report("", DONE, document={"key": text, "list": [{"key": text}]})
    for written in (to_json(report), to_json_lines(report)):
        assert {letter for letter in written if not letter.isprintable()} <= {"\n"}
    assert json.loads(to_json(report))["key"] == text


WIDE = Grid(
    "Tables",
    ("#", "model", "table", "source rows", "method"),
    (
        (1, "contenttypes.ContentType", "django_content_type", 120, "within the destination"),
        (2, "shop.Order", "shop_order", 5, "text"),
        (3, "a" * 30, "", 5, None),
    ),
    ("-", "3 tables", "", 130, "-"),
)
FOLDED = """\
Tables
  #  model          table          source  method
                                     rows
  -  -------------  -------------  ------  --------------
  1  contenttypes.  django_           120  within the
     ContentType    content_type           destination
  2  shop.Order     shop_order          5  text
  3  aaaaaaaaaaaaa                      5  -
     aaaaaaaaaaaaa
     aaaa
  -  -------------  -------------  ------  --------------
  -  3 tables                         130  -"""


def test_a_table_fits_into_the_terminal() -> None:
    assert grid_text(WIDE, 57) == FOLDED
    assert grid_text(WIDE, 200) == grid_text(WIDE)
    assert "120" in grid_text(WIDE, 10)  # numbers stay whole, however narrow it is
