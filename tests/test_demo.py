"""The demo, run as a person runs it: in a process of its own, but small and in a directory of the test's."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

COUNT_PLANNED = """
import django
django.setup()
from demo.data import planned_rows
print(sum(planned_rows().values()))
"""

FILL_AND_COUNT = """
import sys
from pathlib import Path
import django
django.setup()
from django.core.management import call_command
from demo.data import fill, planned_rows
from demo.facts import contents
from demo.files import use_directory
use_directory(Path(sys.argv[1]))
call_command("migrate", verbosity=0)
made = fill("default", orders=150)
planned = planned_rows(150)
found = contents("default")
assert made == sum(planned.values()), (made, planned)
for model, rows in planned.items():
    assert found[model._meta.db_table].rows == rows, model
"""

LOOK = """
import sys
import django
django.setup()
from django.conf import settings
settings.DATABASES["default"]["NAME"], settings.DATABASES["new"]["NAME"] = sys.argv[1:]
from demo.facts import facts
for fact in facts("default", "new"):
    print("yes" if fact.holds else "NO", fact.sentence)
"""


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Python in the checkout with the demo's settings and without a terminal; warnings are errors."""
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "settings.demo", "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        [sys.executable, "-W", "error", *words],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def take_tour(directory: Path) -> subprocess.CompletedProcess[str]:
    return run("-m", "demo", "--orders", "200", "--directory", directory)


def fingerprints(output: str) -> list[str]:
    """Find what the tour prints for the content of the old database, and then of both."""
    return re.findall(r"\b[0-9a-f]{16}\b", output)


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a directory in which the tour has been taken."""
    directory = tmp_path_factory.mktemp("demo")
    tour = take_tour(directory)
    assert tour.returncode == 0, tour.stdout + tour.stderr
    (directory / "output.txt").write_text(tour.stdout, encoding="utf-8")
    return directory


def test_tour_names_its_steps_and_commands(moved: Path) -> None:
    lines = (moved / "output.txt").read_text(encoding="utf-8").splitlines()

    assert [line for line in lines if re.match(r"\d/\d", line)] == [
        "1/5  Make the old database",
        "2/5  Plan the move: nothing is written yet",
        "3/5  Move everything",
        "4/5  Count both sides",
        "5/5  Look at what arrived, without those commands",
    ]
    assert [line.removesuffix(f" {moved / 'move.txt'}") for line in lines if line.startswith("$ ")] == [
        "$ python manage.py migrate --database default",
        "$ python manage.py batch_migrate --source default --dest new --migrate --dry-run",
        "$ python manage.py batch_migrate --source default --dest new --migrate --no-input --report",
        "$ python manage.py verify_counts --source default --dest new",
    ]


def test_tour_finds_everything_arrived(moved: Path) -> None:
    output = (moved / "output.txt").read_text(encoding="utf-8")

    assert output.count("\n  yes  ") == 6
    assert "\n  NO " not in output
    assert re.search(r"^Everything arrived\. \([\d.]+ s\)$", output, re.MULTILINE)


def test_both_files_hold_the_same_number_of_rows(moved: Path) -> None:
    counts = []
    for name in ("source.sqlite3", "new.sqlite3"):
        with sqlite3.connect(moved / name) as database:
            tables = [
                table
                for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")
                if table not in ("django_migrations", "sqlite_sequence")
            ]
            counts.append(
                {table: database.execute(f'SELECT COUNT(*) FROM "{table}"').fetchone()[0] for table in tables}
            )
        database.close()

    assert counts[0] == counts[1]
    assert counts[0]["order"] == 200


def test_data_is_the_same_each_time_and_a_second_run_starts_afresh(moved: Path, tmp_path: Path) -> None:
    first = fingerprints((moved / "output.txt").read_text(encoding="utf-8"))
    again, afresh = take_tour(tmp_path / "new"), take_tour(tmp_path / "new")

    assert (again.returncode, afresh.returncode) == (0, 0)
    assert len(first) == 2
    assert len({*first, *fingerprints(again.stdout), *fingerprints(afresh.stdout)}) == 1


def test_refuses_a_directory_with_files_of_others(tmp_path: Path) -> None:
    (tmp_path / "source.sqlite3").write_text("somebody's work")

    tour = take_tour(tmp_path)

    assert tour.returncode == 2
    assert tour.stdout == ""
    assert tour.stderr == f"{str(tmp_path)!r} holds files that the demo did not make. Name an empty directory.\n"
    assert (tmp_path / "source.sqlite3").read_text() == "somebody's work"


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        pytest.param(
            "UPDATE demo_person SET name = 'Nobody' WHERE id = 1",
            "These tables differ: demo_person.",
            id="value",
        ),
        pytest.param('DELETE FROM "Parcels sent"', "These tables differ: Parcels sent.", id="empty table"),
        pytest.param("DELETE FROM demo_note WHERE id = 1", "139 of 140 notes and log entries", id="note"),
        pytest.param("UPDATE demo_product SET archived = 0", "0 of 4 archived products arrived", id="archived"),
        pytest.param(
            "UPDATE \"order\" SET changed = '2050-01-01'",
            "The latest change of an order is of 2050",
            id="stamp",
        ),
        pytest.param("DROP INDEX demo_order_open", "defined differently: demo_order_open.", id="index"),
        pytest.param(
            "UPDATE demo_note SET content_type_id = 999 WHERE id = 1", "A foreign key leads nowhere", id="key"
        ),
        pytest.param(
            "UPDATE sqlite_sequence SET seq = 90000 WHERE name = 'order'",
            "its number is 90,001",
            id="counter",
        ),
    ],
)
def test_tells_what_is_wrong_in_the_new_database(moved: Path, tmp_path: Path, damage: str, found: str) -> None:
    new = shutil.copy(moved / "new.sqlite3", tmp_path)
    with sqlite3.connect(new) as database:
        database.execute(damage)
    database.close()

    look = run("-c", LOOK, moved / "source.sqlite3", new)

    assert look.returncode == 0, look.stderr
    assert [line for line in look.stdout.splitlines() if line.startswith("NO ") and found in line], look.stdout


def test_shop_of_the_usual_size_has_a_hundred_thousand_rows() -> None:
    counted = run("-c", COUNT_PLANNED)

    assert counted.returncode == 0, counted.stderr
    assert int(counted.stdout) >= 100_000


def test_fill_makes_as_many_rows_as_planned(tmp_path: Path) -> None:
    filled = run("-c", FILL_AND_COUNT, tmp_path)

    assert filled.returncode == 0, filled.stderr
