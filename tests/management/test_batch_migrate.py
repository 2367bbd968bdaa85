"""`batch_migrate` as people run it: what it shows, what it asks, what it leaves behind, and how it ends."""

from __future__ import annotations

import json
import re
import shlex
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sites.models import Site
from django.db import connections
from django.db.models import Model, QuerySet

from migrator.console.reports import WRITTEN_BY
from settings.base import ROOT
from tests.databases.snapshots import insert_rows, unchecked
from tests.manage import Finished, run_manage
from tests.management.running import (
    END_OF_INPUT,
    INTERRUPT,
    MOMENT,
    another_alias,
    as_another_role,
    at_terminal,
    collecting_unopened_connections,
    contents,
    entry_of,
    error_in,
    execute,
    facts,
    forbid_twins_unasked,
    nothing_changes,
    run,
    unwrapped,
)
from tests.servers.base import PASSWORD
from tests.servers.databases import ENGINES, Pair
from tests.testapp.models import (
    Article,
    AutoKey,
    Chapter,
    Constrained,
    DateTimeValue,
    Empty,
    MoneyValue,
    Pizzeria,
    Place,
    Player,
    Rating,
    Restaurant,
    Tag,
    Team,
)

if TYPE_CHECKING:
    from tests.servers.databases import FreshDatabases

SQLITE = Pair("sqlite_a", "sqlite_b")
TO_EACH_ENGINE = [Pair("postgresql_a", "sqlite_b"), Pair("sqlite_a", "postgresql_b"), Pair("postgresql_a", "mysql_b")]
FROM_EACH_ENGINE = [Pair("postgresql_a", "mysql_b"), Pair("mysql_a", "sqlite_b"), Pair("sqlite_a", "postgresql_b")]
to_each_engine = pytest.mark.parametrize("pair", TO_EACH_ENGINE, ids=str, indirect=True)
JOURNAL = {"migrator_run", "migrator_chunk"}


@pytest.fixture
def sqlite(databases: FreshDatabases) -> Pair:
    """Give two fresh SQLite databases, for what no engine makes a difference to."""
    databases.fresh(*SQLITE)
    return SQLITE


def words(pair: Pair, *more: str | Path) -> list[str | Path]:
    return ["batch_migrate", "--source", pair.source, "--dest", pair.dest, *more]


def move(pair: Pair, *more: str | Path) -> Finished:
    return run(*words(pair, "--no-input", *more))


def rows_of(model: type[Model], alias: str) -> QuerySet[Any, Any]:
    return QuerySet(model, using=alias)


def tags(alias: str, *names: str) -> None:
    insert_rows(Tag, alias, [{"id": number, "name": name} for number, name in enumerate(names or "abc", start=1)])


def journal(alias: str) -> set[str]:
    return JOURNAL & set(connections[alias].introspection.table_names())


def grid(text: str, title: str) -> list[list[str]]:
    """Find a table in the output by its title, and return its cells; cells are two blanks apart."""
    lines = text.partition(f"{title}\n")[2].partition("\n\n")[0].splitlines()
    return [re.split(r" {2,}", line.strip()) for line in lines if not set(line) <= {" ", "-"}]


# -- the plan -------------------------------------------------------------------------------------------------------


@to_each_engine
def test_a_dry_run_shows_the_plan_and_writes_nothing(pair: Pair) -> None:
    tags(pair.source)
    insert_rows(MoneyValue, pair.source, [{"label": "n", "value": None}])
    insert_rows(Chapter, pair.source, [{"title": "t", "tag_id": 2, "_order": 0}])
    insert_rows(Empty, pair.dest, [{"name": "mine"}, {"name": "mine too"}])
    chosen = ("testapp.Tag", "testapp.Chapter", "testapp.MoneyValue", "testapp.Empty", "-v", "2")
    with nothing_changes(*pair):
        finished = run(*words(pair, *chosen, "--dry-run"))
    assert (finished.code, error_in(finished)) == (0, "")
    lines = finished.out.splitlines()
    assert lines[0] == f"PLAN  Copy 5 rows of 4 tables from '{pair.source}' to '{pair.dest}'."
    for line, word, alias in ((lines[1], "from", pair.source), (lines[2], "to  ", pair.dest)):
        entry = connections[alias].settings_dict
        server = f"{entry['HOST']}:{entry['PORT']}" if entry["HOST"] else "this machine"
        kind = {"sqlite": "SQLite", "postgresql": "PostgreSQL", "mysql": "(MySQL|MariaDB)"}[connections[alias].vendor]
        expected = rf"  {word} +'{alias}': {kind} \d+(\.\d+)*, database '{re.escape(entry['NAME'])}' on {server}"
        assert re.fullmatch(expected, line), line
    head, *tables = grid(finished.out, "Tables, in the order in which they are copied")
    assert head == ["#", "model", "table", "source rows", "dest rows", "columns", "method"]
    by_label = {row[1]: row for row in tables}
    assert by_label["testapp.Tag"][2:6] == ["testapp_tag", "3", "0", "2"]
    assert by_label["testapp.Chapter"][2:6] == ["testapp_chapter", "1", "0", "4"]
    assert by_label["testapp.Empty"][2:6] == ["testapp_empty", "0", "2", "2"]
    assert "through the field: value" in " ".join(by_label["testapp.MoneyValue"])
    order = [row[1] for row in tables]
    assert order.index("testapp.Tag") < order.index("testapp.Chapter")
    assert [row[0] for row in tables[:-1]] == ["1", "2", "3", "4"]
    assert tables[-1][1:4] == ["4 tables", "5", "2"]
    loss = f"2 rows: testapp.Empty 2. Requires --replace {pair.dest} (or type the alias when asked)."
    assert facts(finished.out)["delete first"] == loss
    assert "DRY RUN  Nothing was written." in lines
    assert lines[-1].startswith("Next: ")
    assert lines[-1].endswith(f"manage.py {' '.join(map(str, words(pair, *chosen)))}")


def test_the_plan_shows_the_tables_in_the_order_in_which_they_are_copied(sqlite: Pair) -> None:
    """One whose parents are small comes before others, for it may be the largest."""
    tags(sqlite.source, "a", "b", "c", "d")
    insert_rows(Chapter, sqlite.source, [{"title": str(n), "tag_id": 2, "_order": 0} for n in range(9)])
    insert_rows(MoneyValue, sqlite.source, [{"label": str(n), "value": None} for n in range(5)])
    chosen = ("testapp.Empty", "testapp.MoneyValue", "testapp.Chapter", "testapp.Tag")
    finished = run(*words(sqlite, *chosen, "--no-input", "--verbosity", "2"))
    shown = [row[1] for row in grid(finished.out, "Tables, in the order in which they are copied")[1:-1]]
    copied = list(dict.fromkeys(re.findall(rf"^{MOMENT}  (testapp\.\w+): ", finished.err, re.MULTILINE)))
    assert shown == ["testapp.MoneyValue", "testapp.Tag", "testapp.Chapter", "testapp.Empty"]
    assert copied == shown[:3]


def test_a_dry_run_asks_nobody_and_needs_no_decision(sqlite: Pair) -> None:
    tags(sqlite.source)
    tags(sqlite.dest)
    for more in ([], ["--no-input"], ["--replace", sqlite.dest]):
        with nothing_changes(*sqlite):
            assert run(*words(sqlite, "testapp.Tag", "--dry-run", *more)).code == 0


def test_a_dry_run_takes_no_lock_and_leaves_no_file(sqlite: Pair) -> None:
    tags(sqlite.source)
    directory = Path(connections[sqlite.dest].settings_dict["NAME"]).parent
    before = set(directory.iterdir())
    with nothing_changes(*sqlite):
        assert move(sqlite, "testapp.Tag", "--dry-run").code == 0
    assert set(directory.iterdir()) == before


@pytest.mark.usefixtures("few_rows_are_many")
def test_says_what_is_taken_off(pair_to_postgresql: Pair) -> None:
    off = move(pair_to_postgresql, "testapp.Constrained", "testapp.Chapter", "testapp.Tag", "--dry-run")
    rebuilt = "5 indexes, 1 foreign key: dropped during the load and recreated afterwards"
    assert facts(off.out)["rebuild"] == rebuilt
    kept = move(pair_to_postgresql, "testapp.Constrained", "--keep-indexes", "--dry-run")
    assert "rebuild" not in facts(kept.out)


@pytest.fixture
def pair_to_postgresql(databases: FreshDatabases) -> Pair:
    databases.fresh("sqlite_a", "postgresql_b")
    insert_rows(Tag, "sqlite_a", [{"name": "one"}])
    return Pair("sqlite_a", "postgresql_b")


# -- the outcome ----------------------------------------------------------------------------------------------------


@to_each_engine
def test_tells_what_was_copied_and_that_nothing_went_wrong(pair: Pair) -> None:
    tags(pair.source)
    insert_rows(Place, pair.source, [{"name": "place"}])
    finished = move(pair, "testapp.Tag", "testapp.Place", "-v", "2")
    assert finished.code == 0, finished.err
    outcome = finished.out[finished.out.index("DONE  ") :]
    head, *copied = grid(outcome, "Copied")
    assert head == ["model", "read", "written", "rejected", "size", "seconds", "rows/s"]
    assert [row[:4] for row in copied] == [
        ["testapp.Place", "1", "1", "0"], ["testapp.Tag", "3", "3", "0"], ["total", "4", "4", "0"],
    ]  # fmt: skip
    assert all(re.fullmatch(r"\d+ B", row[4]) for row in copied)
    assert grid(outcome, "Rows on both sides") == [
        ["model", "source", "destination", "difference", "status"],
        ["testapp.Place", "1", "1", "0", "equal"],
        ["testapp.Tag", "3", "3", "0", "equal"],
        ["total", "4", "4", "0"],
    ]
    first, *_, last = outcome.strip().splitlines()
    assert re.fullmatch(rf"DONE  4 rows of 2 tables copied to '{pair.dest}' in \d+\.\d s\.", first)
    labels, ends = "testapp.Tag testapp.Place", f"--source {pair.source} --dest {pair.dest}"
    assert last == f"Next: python manage.py verify_counts {labels} {ends} --mode full"
    found = facts(outcome)
    assert re.match(r"4 rows, \d+ B", found["copied"])
    assert re.match(r"\d+\.\d s", found["time"])
    assert (found["row counts"], found["values"], found["keys"], found["rejected"]) == (
        "match in 2 tables",
        "not compared (--verify full compares them)",
        "sequences are ahead of the largest keys; every foreign key has a matching row",
        "0 rows",
    )
    assert journal(pair.dest) == set()


def test_says_at_the_end_what_was_compared_and_what_was_left_out(sqlite: Pair) -> None:
    tags(sqlite.source)
    execute(sqlite.source, "CREATE TABLE nobodys (id integer)")
    finished = run(*words(sqlite, "--verify", "full", "-e", "testapp", "--no-input"))
    assert finished.code == 0, finished.err
    found = facts(finished.out[finished.out.index("DONE  ") :])
    assert found["values"].startswith("equal: compared all ")
    assert re.fullmatch(r"\d+ tables; the plan lists them", found["left out"])
    assert found["rejected"] == "0 rows"
    assert "not compared" not in finished.out
    assert "Next: " not in finished.out


def test_gives_up_by_the_words_that_it_names(sqlite: Pair) -> None:
    """Also where it went on before by an option that only goes with going on."""
    twins(sqlite)
    assert move(sqlite, *MODELS, "--chunk-size", "2").code == 1
    again = words(sqlite, *MODELS, "--chunk-size", "2", "--resume", "--trust-done", "--no-input")
    stopped = run_manage(*map(str, again))
    assert stopped.code == 1
    (line,) = re.findall(r"^Abandon:\n +(.*)$", stopped.err, re.MULTILINE)
    python, program, *arguments = shlex.split(line)
    assert (python, program) == (Path(sys.executable).name, "manage.py")
    given_up = run_manage(*arguments)
    assert given_up.code == 0, given_up.err
    assert journal(sqlite.dest) == set()


def test_says_that_nothing_was_verified(sqlite: Pair) -> None:
    tags(sqlite.source)
    finished = move(sqlite, "testapp.Tag", "--verify", "none")
    assert finished.code == 0
    assert facts(finished.out)["row counts"] == "not compared (--verify none)"
    assert "match in" not in finished.out


def test_leaves_the_journal_when_told_to(sqlite: Pair) -> None:
    tags(sqlite.source)
    assert move(sqlite, "testapp.Tag", "--keep-journal").code == 0
    assert journal(sqlite.dest) == JOURNAL
    assert PASSWORD not in repr(contents(sqlite.dest))


# -- how much is said -----------------------------------------------------------------------------------------------


def test_says_nothing_at_verbosity_0(sqlite: Pair) -> None:
    tags(sqlite.source)
    assert move(sqlite, "testapp.Tag", "-v", "0") == (0, "", "")


def test_says_only_the_error_at_verbosity_0(sqlite: Pair) -> None:
    finished = move(Pair(sqlite.source, sqlite.source), "-v", "0")
    assert finished == (2, "", "CommandError: --source and --dest are both 'sqlite_a'.\n")


@pytest.mark.parametrize("verbosity", ["1", "2", "3"])
def test_writes_a_line_for_each_table_where_there_is_no_terminal(sqlite: Pair, verbosity: str) -> None:
    tags(sqlite.source)
    finished = move(sqlite, "testapp.Tag", "testapp.Empty", "--keep-indexes", "-v", verbosity)
    lines = finished.err.splitlines()
    assert any(re.fullmatch(rf"{MOMENT}  testapp\.Tag: 3 of 3 rows, \d+\.\d s", line) for line in lines), lines
    assert "testapp.Empty" not in finished.err, "there is nothing to copy"
    assert [phase for line in lines if (phase := re.fullmatch(rf"{MOMENT}(copying: 3 rows|verification)", line))]
    assert "\r" not in finished.err
    assert finished.out.startswith("PLAN  ")


def test_draws_bars_on_a_terminal(sqlite: Pair) -> None:
    insert_rows(Tag, sqlite.source, [{"name": f"tag {number}"} for number in range(2000)])
    finished = at_terminal(*words(sqlite, "testapp.Tag", "--no-input"))
    assert finished.code == 0
    assert re.search(r"\rcopying   0%\|.*\| 0/2,000 rows, ETA \?", finished.err), finished.err
    assert re.search(r"\rdone 100%\|.*\| in 00:\d\d\n$", finished.err), finished.err
    assert "\r" in finished.err
    assert "\r" not in finished.out
    lines = at_terminal(*words(sqlite, "testapp.Tag", "--no-input", "--no-progress", "--replace", sqlite.dest))
    assert lines.code == 0
    assert "%|" not in lines.err
    assert "  testapp.Tag: 2,000 of 2,000 rows, " in lines.err


# -- for programs ---------------------------------------------------------------------------------------------------


def test_json_is_one_document_on_standard_output(sqlite: Pair) -> None:
    tags(sqlite.source)
    tags(sqlite.dest, "mine")
    finished = move(sqlite, "testapp.Tag", "testapp.Empty", "--replace", sqlite.dest, "--format", "json")
    document = json.loads(finished.out)
    assert finished.code == document["exit_code"] == 0
    assert document["plan"]["source"] == {
        "alias": "sqlite_a",
        "engine": document["plan"]["source"]["engine"],
        "database": connections["sqlite_a"].settings_dict["NAME"],
        "host": "this machine",
    }
    empty, tag = sorted(document["plan"]["tables"], key=lambda table: table["label"])
    assert tag == {
        "label": "testapp.Tag", "table": "testapp_tag", "source_schema": None, "dest_schema": None,
        "source_rows": 3, "dest_rows": 1, "columns": ["id", "name"], "method": tag["method"], "emptied": True,
        "made_by_migrations": False, "to_be_rejected": 0,
    }  # fmt: skip
    assert (empty["label"], empty["emptied"]) == ("testapp.Empty", False)
    (copied,) = (table for table in document["tables"] if table["label"] == "testapp.Tag")
    assert (copied["rows_read"], copied["rows_written"], copied["rows_rejected"]) == (3, 3, 0)
    assert isinstance(copied["bytes_written"], int)
    assert {"late_counters": [], "dangling": []}.items() <= document["verification"].items()
    (counted,) = (model for model in document["verification"]["models"] if model["label"] == "testapp.Tag")
    assert counted == {
        "label": "testapp.Tag", "table": "testapp_tag", "source_rows": 3, "dest_rows": 3, "status": "equal"
    }  # fmt: skip
    assert document["seconds"] >= 0


def test_json_leaves_what_people_read_to_standard_error(sqlite: Pair) -> None:
    tags(sqlite.source)
    finished = move(sqlite, "testapp.Tag", "--format", "json")
    for part in (
        "PLAN  Copy 3 rows of 1 table from 'sqlite_a' to 'sqlite_b'.\n  from  ",
        "  testapp.Tag: 3 of 3 rows",
        "DONE  3 rows of 1 table copied to 'sqlite_b'",
    ):
        assert part in finished.err
    assert "\x1b[" not in finished.err


def test_json_of_a_dry_run_is_the_plan(sqlite: Pair) -> None:
    tags(sqlite.source)
    with nothing_changes(*sqlite):
        finished = run(*words(sqlite, "testapp.Tag", "--format", "json", "--dry-run"))
    document = json.loads(finished.out)
    assert (document["exit_code"], document["remark"]) == (0, "Nothing was written.")
    assert [table["label"] for table in document["plan"]["tables"]] == ["testapp.Tag"]
    assert "tables" not in document


def test_json_says_nothing_else_at_verbosity_0(sqlite: Pair) -> None:
    tags(sqlite.source)
    finished = move(sqlite, "testapp.Tag", "--format", "json", "-v", "0")
    assert json.loads(finished.out)["exit_code"] == 0
    assert finished.err == ""


def test_json_of_a_real_process_is_alone_on_standard_output(sqlite: Pair) -> None:
    tags(sqlite.source)
    finished = run_manage(*map(str, words(sqlite, "testapp.Tag", "--no-input", "--format", "json")))
    assert finished.code == 0, finished.err
    assert json.loads(finished.out)["exit_code"] == 0


# -- reports --------------------------------------------------------------------------------------------------------


def test_reports_in_each_form(sqlite: Pair, tmp_path: Path) -> None:
    tags(sqlite.source)
    for name in ("report.json", "report.html", "report.txt"):
        file = tmp_path / name
        finished = move(sqlite, "testapp.Tag", "--replace", sqlite.dest, "--report", file)
        assert finished.code == 0, finished.err
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads((tmp_path / "report.json").read_text())["tables"][0]["rows_written"] == 3
    page = (tmp_path / "report.html").read_text()
    assert page.startswith("<!doctype html>")
    text = (tmp_path / "report.txt").read_text()
    assert text.endswith(f"\n\n{WRITTEN_BY}\n")
    for report in (text, page):  # the plan is in it, too, below what came out
        assert report.index("DONE") < report.index("PLAN" if report is text else "Plan: ")
        assert report.count("testapp.Tag") >= 3
    assert PASSWORD not in page + text + (tmp_path / "report.json").read_text()


@pytest.mark.parametrize("kind", ["link", "missing directory", "directory"])
@pytest.mark.parametrize("option", ["--report", "--rejects"])
def test_refuses_a_file_that_it_cannot_write_before_anything_else(
    sqlite: Pair, tmp_path: Path, kind: str, option: str
) -> None:
    tags(sqlite.source)
    victim, file = tmp_path / "victim", tmp_path / "file"
    match kind:
        case "link":
            file.symlink_to(victim)
            message = f"{str(file)!r} is a symbolic link, which can be redirected; name a plain file."
        case "missing directory":
            file = tmp_path / "missing" / "file"
            message = f"The directory {str(file.parent)!r} does not exist; create it, or name another file."
        case _:
            file.mkdir()
            message = f"{str(file)!r} is a directory; name a file in it."
    more = ["--on-error", "skip"] if option == "--rejects" else []
    with nothing_changes(*sqlite):
        finished = move(sqlite, "testapp.Tag", option, file, *more)
    assert (finished.code, error_in(finished)) == (2, f"CommandError: {message}\n")
    assert not victim.exists()
    assert journal(sqlite.dest) == set()


# -- questions ------------------------------------------------------------------------------------------------------


LOST = "rows that will be LOST: testapp.Tag (1)."


@pytest.mark.parametrize("typed", ["\n", "n\n", "no\n", "x\n", END_OF_INPUT], ids=repr)
def test_copies_nothing_without_a_yes(sqlite: Pair, typed: str) -> None:
    tags(sqlite.source)
    with nothing_changes(*sqlite):
        finished = at_terminal(*words(sqlite, "testapp.Tag"), answers=[("[y/N] ", typed)])
    assert finished.code == 1
    assert re.search(r"Copy 3 rows of 1 tables? from 'sqlite_a' to 'sqlite_b'\? \[y/N\] ", finished.err)
    assert finished.err.endswith("CommandError: Nothing was written.\n")


def test_copies_after_a_yes(sqlite: Pair) -> None:
    tags(sqlite.source)
    finished = at_terminal(*words(sqlite, "testapp.Tag"), answers=[("[y/N] ", "y\n")])
    assert finished.code == 0
    assert rows_of(Tag, sqlite.dest).count() == 3


def test_destroys_after_the_alias_was_typed(sqlite: Pair) -> None:
    tags(sqlite.source)
    tags(sqlite.dest, "mine")
    finished = at_terminal(*words(sqlite, "testapp.Tag"), answers=[("anything else to stop: ", "sqlite_b\n")])
    assert finished.code == 0
    shown = unwrapped(finished.err)
    assert LOST in shown
    assert f"database {connections['sqlite_b'].settings_dict['NAME']!r} on this machine" in shown
    assert "Type 'sqlite_b' to continue, anything else to stop: " in shown
    assert rows_of(Tag, sqlite.dest).count() == 3


@pytest.mark.parametrize("typed", ["\n", "y\n", "yes\n", "sqlite_a\n", "SQLITE_B\n", END_OF_INPUT], ids=repr)
def test_destroys_nothing_after_anything_else(sqlite: Pair, typed: str) -> None:
    tags(sqlite.source)
    tags(sqlite.dest, "mine")
    with nothing_changes(*sqlite):
        finished = at_terminal(*words(sqlite, "testapp.Tag"), answers=[("anything else to stop: ", typed)])
    assert finished.code == 1
    error = finished.err[finished.err.rindex("CommandError: ") :]
    assert "Nothing was written." in error
    assert all(len(line) < 80 or "'" in line for line in error.splitlines()), error
    assert "Traceback" not in finished.err


def test_the_decision_may_be_made_before(sqlite: Pair) -> None:
    """The alias on the command line stands for the typed one; at a terminal it asks no second time for it."""
    tags(sqlite.source)
    tags(sqlite.dest, "mine")
    finished = at_terminal(*words(sqlite, "testapp.Tag", "--replace", sqlite.dest, "--no-input"))
    assert finished.code == 0
    assert "Type " not in finished.err


def test_an_interrupt_at_a_question_is_a_no(sqlite: Pair) -> None:
    tags(sqlite.source)
    with nothing_changes(*sqlite):
        finished = at_terminal(*words(sqlite, "testapp.Tag"), answers=[("[y/N] ", INTERRUPT)])
    assert finished.code == 130
    assert "Traceback" not in finished.err


def test_asks_nobody_where_standard_input_is_closed(sqlite: Pair) -> None:
    tags(sqlite.source)
    command = shlex.join([sys.executable, "manage.py", *map(str, words(sqlite, "testapp.Tag"))])
    with nothing_changes(*sqlite):
        finished = subprocess.run(
            ["/bin/sh", "-c", f"{command} <&-"], cwd=ROOT, capture_output=True, text=True, check=False
        )
    assert finished.returncode == 1
    assert "CommandError: There is no terminal to ask on (" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_goes_on_where_nobody_reads_its_output(sqlite: Pair) -> None:
    """As in `… | head -1`: the copy is what matters, and nobody wants a traceback of it."""
    tags(sqlite.source)
    command = shlex.join([sys.executable, "manage.py", *map(str, words(sqlite, "testapp.Tag", "--no-input"))])
    finished = subprocess.run(
        ["/bin/bash", "-c", f"{command} | true"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in finished.stderr, finished.stderr
    assert rows_of(Tag, sqlite.dest).count() in (0, 3)
    if journal(sqlite.dest):
        assert move(sqlite, "testapp.Tag", "--resume").code == 0
        assert rows_of(Tag, sqlite.dest).count() == 3


def test_other_entries_of_databases_need_no_server(sqlite: Pair) -> None:
    """From Django 6.1 on, checks of models would ask the server of each."""
    tags(sqlite.source)
    with another_alias("down", ENGINE="django.db.backends.mysql", HOST="127.0.0.1", PORT=1):
        finished = move(sqlite, "testapp.Tag")
    assert finished.code == 0, finished.err
    assert rows_of(Tag, sqlite.dest).count() == 3


# -- nothing to go on with ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "remark", "code"),
    [
        (
            "--resume",
            "nothing to resume. It is NOT a copy of the source: row counts differ in testapp.Tag. "
            "Call without --resume.",
            3,
        ),
        ("--cleanup", "nothing to clean up.", 0),
    ],
)
def test_says_that_there_is_nothing_to_go_on_with(sqlite: Pair, option: str, remark: str, code: int) -> None:
    tags(sqlite.source)
    with nothing_changes(*sqlite):
        finished = move(sqlite, "testapp.Tag", option)
    said = f"No unfinished run in 'sqlite_b': {remark}"
    assert (finished.code, error_in(finished)) == (code, "")
    assert finished.out.startswith(f"{'NOT A COPY' if code else 'NOTHING TO DO'}  {said}\n")


@pytest.mark.parametrize("option", ["--resume", "--cleanup"])
def test_a_finished_run_is_nothing_to_go_on_with(sqlite: Pair, option: str) -> None:
    """Not even one whose journal was kept."""
    tags(sqlite.source)
    assert move(sqlite, "testapp.Tag", "--keep-journal").code == 0
    before = contents(sqlite.dest)["testapp_tag"]
    finished = move(sqlite, "testapp.Tag", option)
    assert (finished.code, error_in(finished)) == (0, "")
    assert "No unfinished run in 'sqlite_b'" in finished.out
    assert contents(sqlite.dest)["testapp_tag"] == before


def test_a_kept_journal_does_not_stand_in_the_way_of_the_next_run(sqlite: Pair) -> None:
    tags(sqlite.source)
    assert move(sqlite, "testapp.Tag", "--keep-journal").code == 0
    again = move(sqlite, "testapp.Tag", "--replace", sqlite.dest)
    assert again.code == 0, again.err
    assert journal(sqlite.dest) == set()


# -- rows that cannot be stored -------------------------------------------------------------------------------------


def forbid_twins(alias: str, table: str, column: str) -> None:
    """Have a database refuse two equal texts by an index that is asked about before rows are written."""
    execute(alias, f"CREATE UNIQUE INDEX one_{table} ON {table} ({column})")


def twins(pair: Pair, forbid: Callable[[str, str, str], None] = forbid_twins_unasked) -> None:
    """Let the destination refuse the second of two equal names, in two tables that others point into."""
    tags(pair.source, "one", "twin", "twin", "four")
    insert_rows(Chapter, pair.source, [{"id": n, "title": f"of {n}", "tag_id": n, "_order": n} for n in (1, 2, 3, 4)])
    insert_rows(Article, pair.source, [{"id": 1, "name": "article"}])
    insert_rows(Rating, pair.source, [{"id": n, "article_id": 1, "tag_id": n, "stars": 5} for n in (3, 4)])
    insert_rows(Place, pair.source, [{"id": 1, "name": "place"}, {"id": 2, "name": "place"}])
    insert_rows(Restaurant, pair.source, [{"place_ptr_id": n, "seats": n} for n in (1, 2)])
    insert_rows(Pizzeria, pair.source, [{"restaurant_ptr_id": n} for n in (1, 2)])
    for table in ("testapp_tag", "testapp_place"):
        forbid(pair.dest, table, "name")


MODELS = ["testapp.Tag", "testapp.Chapter", "testapp.Rating", "testapp.Article", "testapp.Pizzeria"]


@to_each_engine
@pytest.mark.parametrize(("forbid", "field"), [(forbid_twins, "name"), (forbid_twins_unasked, None)])
def test_skips_rows_with_their_children_and_keeps_them_in_a_file(
    pair: Pair, forbid: Callable[[str, str, str], None], field: str | None, tmp_path: Path
) -> None:
    """Both rows that are found before the first write and rows that the destination alone refuses."""
    twins(pair, forbid)
    file = tmp_path / "rejects.jsonl"
    finished = move(pair, *MODELS, "--on-error", "skip", "--rejects", file, "-v", "2")
    assert finished.code == 4, finished.err
    verdict = "6 rows rejected; the reject file holds their values, personal data included."
    assert error_in(finished) == ""
    assert f"INCOMPLETE  {verdict}\n" in finished.out
    kept: dict[type[Model], Iterable[int]] = {
        Tag: (1, 2, 4), Chapter: (1, 2, 4), Rating: (4,), Place: (1,), Restaurant: (1,), Pizzeria: (1,), Article: (1,)
    }  # fmt: skip
    for model, keys in kept.items():
        assert list(rows_of(model, pair.dest).order_by("pk").values_list("pk", flat=True)) == list(keys), model
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    rejected = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert sorted((line["model"], line["pk"]) for line in rejected) == [
        ("testapp.Chapter", "3"), ("testapp.Pizzeria", "2"), ("testapp.Place", "2"), ("testapp.Rating", "3"),
        ("testapp.Restaurant", "2"), ("testapp.Tag", "3"),
    ]  # fmt: skip
    by_model = {line["model"]: line for line in rejected}
    assert by_model["testapp.Tag"]["row"] == {"id": 3, "name": "twin"}
    assert by_model["testapp.Tag"]["table"] == "testapp_tag"
    assert by_model["testapp.Tag"]["field"] == field
    assert by_model["testapp.Chapter"]["row"] == {"id": 3, "title": "of 3", "tag_id": 3, "_order": 3}
    assert by_model["testapp.Chapter"]["field"] == "tag_id"
    assert "testapp_tag" in by_model["testapp.Chapter"]["reason"]
    assert by_model["testapp.Restaurant"]["row"] == {"place_ptr_id": 2, "seats": 2}
    assert PASSWORD not in file.read_text(encoding="utf-8")
    statuses = {row[0]: row[-1] for row in grid(finished.out, "Rows on both sides")[1:-1]}
    assert statuses["testapp.Tag"] == statuses["testapp.Chapter"] == statuses["testapp.Pizzeria"] == "rejected"
    assert statuses["testapp.Article"] == "equal"
    assert journal(pair.dest) == set()


@to_each_engine
@pytest.mark.parametrize("forbid", [forbid_twins, forbid_twins_unasked])
def test_follows_rejected_rows_around_a_circle(
    pair: Pair, forbid: Callable[[str, str, str], None], tmp_path: Path
) -> None:
    team_of = {1: 2, 2: 2, 3: 1}
    players = [{"id": n, "name": "only one" if n == 3 else "twin", "team_id": team} for n, team in team_of.items()]
    with unchecked(connections[pair.source]):
        insert_rows(Team, pair.source, [{"id": 1, "name": "a", "captain_id": 2}, {"id": 2, "name": "b"}])
        insert_rows(Player, pair.source, players)
    forbid(pair.dest, "testapp_player", "name")
    file = tmp_path / "rejects"
    finished = move(pair, "testapp.Team", "testapp.Player", "--on-error", "skip", "--rejects", file)
    assert finished.code == 4, finished.err
    rejected = [json.loads(line) for line in file.read_text().splitlines()]
    # The twin, the team it leads, and that team's other player.
    assert [(line["model"], line["pk"]) for line in rejected] == [
        ("testapp.Player", "2"), ("testapp.Team", "1"), ("testapp.Player", "3"),
    ]  # fmt: skip
    assert list(rows_of(Player, pair.dest).values_list("pk", "team_id")) == [(1, 2)]
    assert list(rows_of(Team, pair.dest).values_list("pk", flat=True)) == [2]


@to_each_engine
def test_stops_at_a_row_and_names_it(pair: Pair) -> None:
    twins(pair)
    before = constraints(pair.dest)
    with nothing_changes(pair.source):
        finished = move(pair, *MODELS, "--chunk-size", "2")
    assert finished.code == 1
    first, second, *rest = error_in(finished).splitlines()
    assert re.match(r"CommandError: testapp\.Tag with primary key 3: .*\bown_testapp_tag\b", first), first
    assert first.endswith("Or pass --on-error skip --rejects FILE to copy all other rows.")
    assert "Traceback" not in finished.err
    hint = " ".join([second, *rest])
    assert re.search(r"\d+ rows? (is|are) committed in ", hint), hint
    again = "manage.py batch_migrate --source "
    assert "Resume: " in hint
    assert "Abandon: " in hint
    assert hint.count(again) == 2
    assert hint.count(" --resume") == 1
    assert hint.count(" --cleanup") == 1
    assert journal(pair.dest) == JOURNAL
    found = rows_of(Tag, pair.dest).order_by("pk").values_list("pk", flat=True)
    assert list(found) == [1, 2], "a chunk is there as a whole or not at all"
    assert not rows_of(Place, pair.dest).exists()
    # Whoever comes next is told.
    plain = move(pair, *MODELS)
    assert plain.code == 1
    assert f"CommandError: '{pair.dest}' holds an unfinished run (process " in plain.err
    assert "--resume" in plain.err
    assert "--cleanup" in plain.err
    # And giving up leaves the tables as they were.
    cleaned = move(pair, *MODELS, "--cleanup")
    assert cleaned.code == 0, cleaned.err
    assert constraints(pair.dest) == before
    assert journal(pair.dest) == set()


def constraints(alias: str) -> dict[str, Any]:
    """Give what the database says of the constraints and indexes of the moved tables."""
    connection = connections[alias]
    with connection.cursor() as cursor:
        return {
            model._meta.db_table: {
                name: {key: value for key, value in made.items() if key != "definition"}
                for name, made in connection.introspection.get_constraints(cursor, model._meta.db_table).items()
                if not name.startswith("__unnamed")
            }
            for model in (Tag, Chapter, Rating, Place, Restaurant, Pizzeria, Constrained)
        }


@to_each_engine
def test_goes_on_after_the_row_was_corrected(pair: Pair) -> None:
    twins(pair)
    assert move(pair, *MODELS, "--chunk-size", "2").code == 1
    rows_of(Place, pair.source).filter(pk=2).update(name="other place")
    rows_of(Tag, pair.source).filter(pk=3).update(name="no twin")
    finished = move(pair, *MODELS, "--chunk-size", "2", "--resume")
    assert finished.code == 0, finished.err
    for model in (Tag, Chapter, Rating, Place, Restaurant, Pizzeria):
        assert set(rows_of(model, pair.dest).values_list()) == set(rows_of(model, pair.source).values_list())


def test_finds_what_cannot_be_stored_before_the_first_write(databases: FreshDatabases) -> None:
    pair = Pair("sqlite_a", "postgresql_b")
    databases.fresh(*pair)
    insert_rows(Tag, pair.source, [{"name": "x" * 81}, {"name": "fine"}, {"name": "nul\0"}])
    insert_rows(AutoKey, pair.source, [{"id": 2**31, "label": "too large"}])
    with nothing_changes(*pair):
        finished = move(pair, "testapp.Tag", "testapp.AutoKey")
    assert finished.code == 1
    first, *findings, last = error_in(finished).splitlines()
    assert first == "CommandError: Nothing was written. 3 problems stop this run:"
    assert last == "Or pass --on-error skip --rejects FILE to copy everything else and keep these rows in FILE."
    assert sorted(finding.split()[1] for finding in findings) == ["testapp.AutoKey.id:", *["testapp.Tag.name:"] * 2]
    assert "for example primary key 2147483648" in finished.err
    assert "for example primary key 1)" in finished.err
    assert "for example primary key 3)" in finished.err
    assert "xxxx" not in finished.err, "values are nobody's business"


def test_skips_what_was_found_before_the_first_write(databases: FreshDatabases, tmp_path: Path) -> None:
    pair = Pair("sqlite_a", "postgresql_b")
    databases.fresh(*pair)
    insert_rows(Tag, pair.source, [{"name": "x" * 81}, {"name": "fine"}, {"name": "nul\0"}])
    file = tmp_path / "rejects"
    finished = move(pair, "testapp.Tag", "--on-error", "skip", "--rejects", file, "--format", "json")
    document = json.loads(finished.out)
    assert finished.code == document["exit_code"] == 4
    assert document["tables"][0]["rows_rejected"] == 2
    assert document["verification"]["models"][0]["status"] == "rejected"
    assert list(rows_of(Tag, pair.dest).values_list("id", "name")) == [(2, "fine")]
    rejected = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(line["pk"], line["field"], line["row"]["name"]) for line in rejected] == [
        ("1", "name", "x" * 81),
        ("3", "name", "nul\0"),
    ]


# -- no secrets -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pair", FROM_EACH_ENGINE, ids=str, indirect=True)
def test_keeps_passwords_to_itself(pair: Pair, tmp_path: Path) -> None:
    """Each command is held against the password by `run`; here is what it leaves behind."""
    tags(pair.source)
    for form in ("json", "html", "txt"):
        more = ["--replace", pair.dest, "--keep-journal", "--report", tmp_path / f"report.{form}", "-v", "3"]
        assert move(pair, "testapp.Tag", *more).code == 0
        assert journal(pair.dest) == JOURNAL
        recorded = {table: rows for table, rows in contents(pair.dest).items() if table in JOURNAL}
        assert all(recorded.values())
        assert PASSWORD not in repr(recorded)
        execute(pair.dest, "DROP TABLE migrator_run", "DROP TABLE migrator_chunk")
    for file in tmp_path.iterdir():
        assert PASSWORD not in file.read_text(encoding="utf-8")


# -- Django's own rows ----------------------------------------------------------------------------------------------


def test_moves_users_and_a_site_of_ones_own(sqlite: Pair) -> None:
    joined = datetime(2020, 1, 2, tzinfo=UTC)
    user = {"username": "ann", "password": "!", "first_name": "", "last_name": "", "email": "", "is_staff": True,
            "is_active": True, "is_superuser": False, "date_joined": joined}  # fmt: skip
    insert_rows(User, sqlite.source, [user])
    rows_of(Site, sqlite.source).update(domain="shop.example.org")
    finished = move(sqlite)
    assert finished.code == 0, finished.err
    assert rows_of(User, sqlite.dest).get().date_joined == joined
    assert rows_of(Site, sqlite.dest).get().domain == "shop.example.org"


def test_help_tells_every_option_and_names_no_engine() -> None:
    finished = run("batch_migrate", "--help")
    assert finished.code == 0
    for option in ("--source", "--dest", "--replace", "--dry-run", "--no-input", "--resume", "--on-error", "--report"):
        assert option in finished.out
    assert not [engine for engine in ENGINES if engine in finished.out.lower()]


# -- refused, for programs and in files -----------------------------------------------------------------------------


def test_json_of_a_refused_run_lists_what_stops_it(sqlite: Pair) -> None:
    execute(sqlite.dest, "DROP TABLE testapp_tag")
    document = json.loads(run(*words(sqlite, "testapp.Tag", "--no-input"), "--format", "json").out)
    (finding,) = document["findings"]
    assert (finding["subject"], finding["stops"]) == ("testapp.Tag", True)
    assert f"{finding['text']}. {finding['advice']}" in document["error"]


def test_json_of_a_refused_run_is_one_document_too(sqlite: Pair) -> None:
    tags(sqlite.source)
    tags(sqlite.dest, "mine")
    calls = {
        1: words(sqlite, "testapp.Tag", "--no-input"),
        2: words(Pair(sqlite.source, "nowhere"), "testapp.Tag"),
    }
    for code, call in calls.items():
        with nothing_changes(*sqlite):
            finished = run(*call, "--format", "json")
        document = json.loads(finished.out)
        assert set(document) == {"schema", "error", "migrator_version", "exit_code"}
        assert finished.code == document["exit_code"] == code
        assert error_in_last_lines(finished) == f"CommandError: {document['error']}\n"
        assert ("rows that will be LOST" if code == 1 else "no database 'nowhere'") in document["error"]


def error_in_last_lines(finished: Finished) -> str:
    """Return the error behind whatever was shown before it."""
    return finished.err[finished.err.index("CommandError: ") :]


def test_json_of_a_run_that_stopped_at_a_row_is_one_document_too(databases: FreshDatabases) -> None:
    pair = Pair("sqlite_a", "postgresql_b")
    databases.fresh(*pair)
    twins(pair)
    finished = move(pair, *MODELS, "--format", "json")
    document = json.loads(finished.out)
    assert finished.code == document["exit_code"] == 1
    assert document["error"].startswith("testapp.Tag with primary key 3: ")
    assert "--resume" in document["error"]
    assert document["error"] in finished.err


def test_the_report_of_a_dry_run_holds_the_plan(sqlite: Pair, tmp_path: Path) -> None:
    tags(sqlite.source)
    tags(sqlite.dest, "mine")
    for name in ("plan.txt", "plan.html", "plan.json"):
        with nothing_changes(*sqlite):
            finished = run(*words(sqlite, "testapp.Tag", "--dry-run", "--report", tmp_path / name))
        assert finished.code == 0, finished.err
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    text = (tmp_path / "plan.txt").read_text(encoding="utf-8")
    assert text.startswith("DRY RUN  Nothing was written.\n")
    assert "\nPLAN  Copy " in text
    assert text.endswith(f"\n\n{WRITTEN_BY}\n")
    page = (tmp_path / "plan.html").read_text(encoding="utf-8")
    for part in ("testapp_tag", "1 row: testapp.Tag 1. Requires --replace sqlite_b (or ", "Nothing was written."):
        assert part in text
        assert part in page
    assert page.index("Nothing was written.") < page.index("Plan: ")
    document = json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))
    (table,) = document["plan"]["tables"]
    assert (table["label"], table["source_rows"], table["dest_rows"], table["emptied"]) == ("testapp.Tag", 3, 1, True)
    assert (document["remark"], document["exit_code"]) == ("Nothing was written.", 0)


@pytest.mark.parametrize("command", ["batch_migrate", "batch_migrate_models"])
def test_nothing_is_trusted_where_nothing_goes_on(sqlite: Pair, command: str) -> None:
    tags(sqlite.source)
    with nothing_changes(*sqlite):
        finished = run(command, *words(sqlite, "testapp.Tag", "--no-input", "--trust-done")[1:])
    assert finished == (2, "", "CommandError: --trust-done requires --resume.\n")


# -- what a later call looks at -------------------------------------------------------------------------------------


@to_each_engine
def test_a_resumed_run_speaks_of_no_emptying(pair: Pair) -> None:
    """The rows that it finds in the destination are those of its own first attempt."""
    twins(pair)
    insert_rows(Empty, pair.dest, [{"name": "mine"}])
    models = [*MODELS, "testapp.Empty", "sites"]
    first = move(pair, *models, "--chunk-size", "2", "--replace", pair.dest)
    assert first.code == 1
    assert facts(first.out)["delete first"].startswith("1 row: testapp.Empty 1. ")
    assert facts(first.out)["replace"] == "1 row created by Django's migrate: sites.Site 1"
    assert rows_of(Tag, pair.dest).exists()
    rows_of(Place, pair.source).filter(pk=2).update(name="other place")
    rows_of(Tag, pair.source).filter(pk=3).update(name="no twin")
    finished = move(pair, *models, "--chunk-size", "2", "--resume", "--format", "json")
    assert finished.code == 0, finished.err
    for words_of_emptying in ("delete first", "created by", "--replace"):
        assert words_of_emptying not in finished.err
    assert not [table for table in json.loads(finished.out)["plan"]["tables"] if table["emptied"]]


@pytest.mark.parametrize("pair", FROM_EACH_ENGINE, ids=str, indirect=True)
def test_giving_up_asks_the_source_nothing(pair: Pair) -> None:
    """It may have been what stopped the run, and it may be gone."""
    twins(pair)
    assert move(pair, *MODELS, "--chunk-size", "2").code == 1
    if pair.engines[0] != "postgresql":
        with unchecked(connections[pair.source]):
            insert_rows(Chapter, pair.source, [{"id": 404, "title": "t", "tag_id": 404, "_order": 0}])
    with listening(*pair) as said:
        finished = move(pair, *MODELS, "--cleanup")
    assert finished.code == 0, finished.err
    assert "The run is abandoned" in finished.out
    assert said[pair.source] == []
    assert journal(pair.dest) == set()


@contextmanager
def listening(*aliases: str) -> Iterator[dict[str, list[str]]]:
    """Collect what is said to these databases."""
    said: dict[str, list[str]] = {alias: [] for alias in aliases}

    def ear(alias: str) -> Callable[..., Any]:
        def hear(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
            said[alias].append(str(sql))
            return execute(sql, params, many, context)

        return hear

    with ExitStack() as stack:
        for alias in aliases:
            stack.enter_context(connections[alias].execute_wrapper(ear(alias)))
        yield said


# -- databases that do not let it -----------------------------------------------------------------------------------


FILLING = (
    "SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON ALL TABLES IN SCHEMA public",
    "ALL ON ALL SEQUENCES IN SCHEMA public",
)


@pytest.mark.postgresql
def test_refuses_tables_that_belong_to_another_role(databases: FreshDatabases) -> None:
    """Their foreign keys can be neither dropped nor recreated: reported before the first write, not after hours."""
    pair = Pair("sqlite_a", "postgresql_b")
    databases.fresh(*pair)
    tags(pair.source)
    with as_another_role(pair.dest, *FILLING) as loader, nothing_changes(*pair):
        for more in ([], ["--dry-run"], ["--keep-indexes"]):
            finished = move(Pair(pair.source, loader), "testapp.Tag", "testapp.Chapter", *more)
            assert finished.code == 1
            first, finding = error_in(finished).splitlines()
            assert first == "CommandError: Nothing was written. 1 problem stops this run:"
            assert finding.startswith("  - loader: this user does not own ")
            assert "testapp_chapter" in finding
            assert "testapp_tag" in finding
            assert "Connect as the role that owns the tables, or make this role a member of it." in finding
    owner = move(pair, "testapp.Tag", "testapp.Chapter")
    assert owner.code == 0, owner.err


@pytest.mark.postgresql
def test_adds_rows_to_tables_that_belong_to_another_role(databases: FreshDatabases) -> None:
    """Nothing is dropped then, so it is enough to insert, to set sequences and to create the journal."""
    pair = Pair("sqlite_a", "postgresql_b")
    databases.fresh(*pair)
    tags(pair.source)
    rights = (
        "SELECT, INSERT ON ALL TABLES IN SCHEMA public",
        "USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA public",
    )  # The schema is this role's own.
    with as_another_role(pair.dest, *rights) as loader:
        finished = run("batch_migrate_models", *words(Pair(pair.source, loader), "testapp.Tag", "--no-input")[1:])
    assert finished.code == 0, finished.err
    assert rows_of(Tag, pair.dest).count() == 3


@pytest.mark.postgresql
def test_says_in_one_line_that_a_table_may_not_be_read(databases: FreshDatabases) -> None:
    pair = Pair("postgresql_a", "sqlite_b")
    databases.fresh(*pair)
    tags(pair.source)
    with as_another_role(pair.source, "SELECT ON ALL TABLES IN SCHEMA public") as reader, nothing_changes(*pair):
        execute(pair.source, "REVOKE SELECT ON testapp_tag FROM pg_database_owner")
        for ends in (Pair(reader, pair.dest), Pair(pair.dest, reader)):
            finished = move(ends, "testapp.Tag")
            assert finished.code == 1
            first, finding, *_ = error_in(finished).splitlines()
            assert first.startswith("CommandError: Nothing was written. ")
            assert finding == (
                "  - loader: user 'pg_database_owner' may not read 1 table: testapp_tag. Connect as the owner of the "
                "tables, or grant SELECT on them."
            )


def test_says_in_one_line_that_a_file_is_locked(sqlite: Pair) -> None:
    tags(sqlite.source)
    entry = entry_of(sqlite.source)
    connections.close_all()
    with (
        collecting_unopened_connections(),
        closing(sqlite3.connect(entry["NAME"], isolation_level=None)) as writer,
        another_alias("busy", **{**entry, "OPTIONS": {"timeout": 0.1}}),
    ):
        writer.execute("BEGIN EXCLUSIVE")
        for ends in (Pair("busy", sqlite.dest), Pair(sqlite.dest, "busy")):
            finished = move(ends, "testapp.Tag")
            assert (finished.code, finished.out) == (1, "")
            assert "database is locked" in error_in(finished)
            assert error_in(finished).count("\n") == 1


# -- filters ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("value__gte=2024-01-01", [2, 3]),
        ("value__lt=2024-01-01T00:00", [1]),
        ("value__in=2024-01-01,2025-05-05 05:05", [2, 3]),
        ("value__range=2023-01-01,2024-06-01", [1, 2]),
        ("value=2024-01-01T00:00Z", [2]),
    ],
)
@pytest.mark.parametrize("pair", [SQLITE, *FROM_EACH_ENGINE[:1]], ids=str, indirect=True)
def test_takes_a_time_without_its_zone_to_be_local(pair: Pair, text: str, chosen: list[int]) -> None:
    """And without Django's warning, which would be about a model's field and not about the call."""
    times = [datetime(2023, 12, 31, 23, 59, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=UTC)]
    times.append(datetime(2025, 5, 5, 5, 5, tzinfo=UTC))
    insert_rows(
        DateTimeValue, pair.source, [{"id": n, "label": f"time {n}", "value": t} for n, t in enumerate(times, 1)]
    )
    call = words(pair, "testapp.DateTimeValue", "--filter", text, "--no-input")[1:]
    finished = run("batch_migrate_models", *call)
    assert (finished.code, error_in(finished)) == (0, ""), finished.err
    assert "naive" not in finished.out + finished.err
    assert list(rows_of(DateTimeValue, pair.dest).order_by("pk").values_list("pk", flat=True)) == chosen


# -- what comes back ---------------------------------------------------------------------------------------------------

COMMENTS = """
SELECT relname, obj_description(oid, 'pg_class') FROM pg_class WHERE obj_description(oid, 'pg_class') LIKE 'ours%'
UNION SELECT conname, obj_description(oid, 'pg_constraint') FROM pg_constraint
WHERE obj_description(oid, 'pg_constraint') LIKE 'ours%' ORDER BY 1
"""


def test_comments_of_indexes_and_foreign_keys_come_back(pair_to_postgresql: Pair) -> None:
    pair = pair_to_postgresql
    made = constraints(pair.dest)["testapp_chapter"]
    key = next(name for name, constraint in made.items() if constraint["foreign_key"])
    index = next(name for name, constraint in made.items() if constraint["index"] and not constraint["unique"])
    execute(
        pair.dest,
        f"COMMENT ON CONSTRAINT \"{key}\" ON testapp_chapter IS 'ours: 100% \"it''s\" \\ a key'",
        f"COMMENT ON INDEX \"{index}\" IS 'ours: of an index'",
    )
    before = asked(pair.dest, COMMENTS)
    assert len(before) == 2
    finished = move(pair, "testapp.Tag", "testapp.Chapter")
    assert finished.code == 0, finished.err
    assert "dropped during the load and recreated afterwards" in facts(finished.out)["rebuild"]
    assert asked(pair.dest, COMMENTS) == before


def asked(alias: str, query: str) -> list[Any]:
    with connections[alias].cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()
