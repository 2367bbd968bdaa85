"""Passwords, values and session keys stay where they belong, files are their owner's, and names are only names."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.db import connections, models
from django.db.models import QuerySet

from tests.databases.planning.test_preflight import closed_port
from tests.databases.snapshots import insert_rows
from tests.manage import Finished
from tests.management.running import another_alias, contents, entry_of, execute, forbid_twins_unasked, run
from tests.scenarios.faults.oracle import THREE_PAIRS, Oracle, assert_ended, words
from tests.scenarios.test_resume import wait_for_chunks
from tests.servers.base import PASSWORD
from tests.servers.databases import FILE_PAIRS, PAIRS, Pair, engine_of
from tests.testapp.models import CharValue, Empty, TextKey, UniqueCode

CANARY = "c4nary of a row"
FORMS = ("json", "html", "txt")
to_each_engine = pytest.mark.parametrize("pair", THREE_PAIRS, ids=str, indirect=True)


def everything_left_by(finished: Finished, directory: Path) -> str:
    files = (path.read_text(encoding="utf-8") for path in directory.iterdir())
    return "\n".join([finished.out, finished.err, *files])


@to_each_engine
def test_no_password_in_reports_journals_logs_or_arguments(
    pair: Pair, oracle: Oracle, start_manage: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG"):
        for form in FORMS:
            more = ("--replace", pair.dest, "--keep-journal", "--report", str(tmp_path / f"report.{form}"), "-v", "3")
            finished = run(*words(pair, *more))
            assert_ended(finished, 0)
            journal = {table: rows for table, rows in contents(pair.dest).items() if table.startswith("migrator_")}
            assert len(journal) == 2
            assert all(journal.values())
            assert PASSWORD not in repr(journal)
    assert PASSWORD not in everything_left_by(finished, tmp_path) + caplog.text
    with start_manage(*words(pair, "--replace", pair.dest, "--chunk-size", "1"), may_fork=False) as process:
        wait_for_chunks(pair, process, 1)
        listed = subprocess.run(["ps", "-ww", "-o", "args=", str(process.pid)], capture_output=True, text=True)  # noqa: S607
        process.kill()
    assert "batch_migrate" in listed.stdout
    assert PASSWORD not in listed.stdout


@pytest.mark.parametrize("traceback", [[], ["--traceback"]], ids=["", "traceback"])
@pytest.mark.parametrize("fault", ["down", "wrong password", "no such database", "no port"])
@pytest.mark.parametrize("engine", ["postgresql", "mysql"])
def test_no_password_where_a_server_says_no(engine: str, fault: str, traceback: list[str], databases: Any) -> None:
    databases.fresh("sqlite_a", f"{engine}_b")
    changes = {
        "down": {"PORT": closed_port()},
        "wrong password": {"PASSWORD": CANARY},
        "no such database": {"NAME": "migrator_test_none"},
        "no port": {"PORT": f"12 {PASSWORD}"},
    }
    with another_alias("locked", **{**entry_of(f"{engine}_b"), **changes[fault]}):
        for command in (["batch_migrate", "--no-input"], ["verify_counts"]):
            try:
                finished = run(*command, "--source", "sqlite_a", "--dest", "locked", *traceback, "testapp.Tag")
            except Exception as error:  # what --traceback is for
                finished = Finished(1, "", f"'locked' {error!r} {error.__cause__!r}")
            assert finished.code == 1
            assert "'locked'" in finished.err
            assert not any(secret in finished.out + finished.err for secret in (PASSWORD, CANARY))


def bad_rows(pair: Pair) -> tuple[str, ...]:
    """Put in rows that are found before the first write, while rows are written, and by the server alone."""
    insert_rows(CharValue, pair.source, [{"id": 1, "label": "overlong", "value": CANARY * 3}])
    insert_rows(UniqueCode, pair.source, [{"id": n, "code": f"{CANARY} {n}", "label": CANARY} for n in (1, 2)])
    forbid_twins_unasked(pair.dest, "testapp_uniquecode", "label")
    return ("testapp.CharValue", "testapp.UniqueCode")


@pytest.mark.parametrize("more", [("--dry-run",), (), ("-v", "3"), ("--format", "json", "-v", "2")], ids=" ".join)
@pytest.mark.parametrize("pair", PAIRS[1:3], ids=str, indirect=True)
def test_no_value_in_what_is_said_of_bad_rows(
    pair: Pair, more: tuple[str, ...], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The primary key tells which row it is; what else is in it is for the file that its owner alone can read."""
    labels, rejects, directory = bad_rows(pair), tmp_path / "rejects.jsonl", tmp_path / "reports"
    directory.mkdir()
    ends = ("--source", pair.source, "--dest", pair.dest, "--no-input")
    stopped = run("batch_migrate", *ends, *more, "--report", str(directory / "a.html"), *labels)
    assert stopped.code == 1
    assert CANARY not in everything_left_by(stopped, directory)
    QuerySet(CharValue, using=pair.source).update(value="short")
    stopped = run("batch_migrate", *ends, *more, *labels)
    assert stopped.code == (0 if "--dry-run" in more else 1)
    assert CANARY not in stopped.out + stopped.err
    if "--dry-run" not in more:
        skipping = ("--on-error", "skip", "--rejects", str(rejects), "--report", str(directory / "b.html"))
        skipped = run("batch_migrate", *ends, *more, "--resume", *skipping, *labels)
        assert skipped.code == 4, skipped.err
        assert CANARY not in everything_left_by(skipped, directory)
        assert CANARY in rejects.read_text()
    assert CANARY not in caplog.text


@to_each_engine
def test_files_are_their_owners_alone(pair: Pair, oracle: Oracle, tmp_path: Path) -> None:
    report, rejects = tmp_path / "report.json", tmp_path / "rejects.jsonl"
    report.write_text("of somebody else")
    report.chmod(0o666)
    before = set(Path(connections[pair.dest].settings_dict["NAME"]).parent.iterdir())
    assert_ended(run(*words(pair, "--report", str(report), "--on-error", "skip", "--rejects", str(rejects))), 0)
    assert json.loads(report.read_text())["exit_code"] == 0
    assert [stat.S_IMODE(path.stat().st_mode) for path in (report, rejects)] == [0o600, 0o600]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rejects.jsonl", "report.json"]
    assert set(Path(connections[pair.dest].settings_dict["NAME"]).parent.iterdir()) <= before


@pytest.mark.parametrize("option", ["--report", "--rejects"])
@pytest.mark.parametrize("pair", PAIRS[:1], ids=str, indirect=True)
def test_a_symbolic_link_in_a_files_place_is_refused(pair: Pair, oracle: Oracle, option: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    finished = run(
        *words(pair, "--on-error", "skip", "--rejects", str(tmp_path / "real"), option, str(tmp_path / "link"))
    )
    assert_ended(finished, 2, "is a symbolic link")
    assert not (tmp_path / "elsewhere").exists()
    oracle.assert_untouched()


@pytest.mark.parametrize("option", ["--report", "--rejects"])
@pytest.mark.parametrize("pair", PAIRS[:1], ids=str, indirect=True)
def test_a_device_or_a_hard_link_in_a_files_place_stays_as_it_is(
    pair: Pair, oracle: Oracle, option: str, tmp_path: Path
) -> None:
    precious, other = tmp_path / "precious", tmp_path / "other"
    precious.write_text("of somebody else")
    precious.chmod(0o644)
    other.hardlink_to(precious)
    for path, why in ((Path("/dev/null"), "is a device"), (other, "has other names (hard links)")):
        before = path.stat()
        real = ("--on-error", "skip", "--rejects", str(tmp_path / "real"))
        assert_ended(run(*words(pair, *real, option, str(path))), 2, why)
        after = path.stat()
        assert (after.st_mode, after.st_ino, after.st_rdev) == (before.st_mode, before.st_ino, before.st_rdev)
    assert precious.read_text() == "of somebody else"
    oracle.assert_untouched()


@pytest.mark.parametrize("option", ["--report", "--rejects"])
@pytest.mark.parametrize("pair", PAIRS[:1], ids=str, indirect=True)
def test_a_file_of_a_database_or_of_another_option_is_refused(
    pair: Pair, oracle: Oracle, option: str, tmp_path: Path
) -> None:
    """A report would replace every row, and rejected rows would go into a file that SQLite deletes."""
    files = [Path(connections[alias].settings_dict["NAME"]) for alias in pair]
    before = [file.read_bytes() for file in files]
    skip = ("--on-error", "skip", "--rejects", str(tmp_path / "rejects"))
    for alias, file in zip(pair, files, strict=True):
        for ending in ("", "-journal", "-wal", "-shm", ".migrator-lock"):
            finished = run(*words(pair, *skip, option, f"{file}{ending}"))
            assert_ended(finished, 2, f"{option} names '{file}{ending}', a file of the database {alias!r}")
    assert_ended(run(*words(pair, *skip, "--report", str(tmp_path / "rejects"))), 2, "name the same file")
    assert [file.read_bytes() for file in files] == before
    assert list(tmp_path.iterdir()) == []
    oracle.assert_untouched()


HOSTILE = "\x1b]0;title\x07\x1b[2J\x9b31m\u202e\u200b\ufeff\x7f\n0 errors, 0 rows rejected.\r\n<script>"
SHOWN = r"\x1b]0;title\x07\x1b[2J\x9b31m\u202e\u200b\ufeff\x7f\n0 errors, 0 rows rejected.\r\n<script>"


@to_each_engine
def test_text_from_rows_does_not_act_on_a_terminal(pair: Pair, tmp_path: Path) -> None:
    """A primary key that somebody chose: in findings, rejected rows, differences, and names of unknown tables."""
    insert_rows(TextKey, pair.source, [{"code": HOSTILE + number, "label": "one label"} for number in "12"])
    ends = ("--source", pair.source, "--dest", pair.dest, "testapp.TextKey")
    outputs = [run("verify_counts", *ends, "--mode", "full", "--report", str(tmp_path / "a.html"))]
    execute(pair.dest, "CREATE UNIQUE INDEX own ON testapp_textkey (label)")
    outputs += [
        run("batch_migrate", *ends, "--no-input", "--on-error", "skip", "--rejects", str(tmp_path / "rejects")),
        run("batch_migrate", *ends, "--no-input", "--replace", pair.dest),
    ]
    for finished in outputs:
        text = finished.out + finished.err
        assert [hex(ord(letter)) for letter in text if letter != "\n" and not letter.isprintable()] == []
        assert "\n0 errors, 0 rows rejected.\r" not in text
    assert all(SHOWN in outputs[number].out + outputs[number].err for number in (0, 2))
    assert "\x1b" not in (tmp_path / "a.html").read_text()
    assert json.loads((tmp_path / "rejects").read_text())["pk"].startswith(HOSTILE)


@pytest.mark.parametrize("pair", PAIRS[:1], ids=str, indirect=True)
def test_a_symbolic_link_in_the_place_of_a_lock_is_refused(pair: Pair, oracle: Oracle, tmp_path: Path) -> None:
    link = Path(f"{connections[pair.dest].settings_dict['NAME']}.migrator-lock")
    makers: dict[str, Callable[[], None]] = {
        "Too many levels of symbolic links": lambda: link.symlink_to(tmp_path / "elsewhere"),
        "File or stream is not seekable": lambda: os.mkfifo(link),
    }
    for reason, make in makers.items():
        make()
        try:
            said = f"The lock '{link}' cannot be created: {reason}"
            assert_ended(run(*words(pair)), 1, said, "Nothing was written.")
        finally:
            link.unlink()
    assert not (tmp_path / "elsewhere").exists()
    oracle.assert_untouched()


# -- names ------------------------------------------------------------------------------------------------------------

TABLE = "we\"ird`tab;-- 50%s'"
INDEX = 'in`d"ex;--'
COLUMN = 'va"l`ue; DROP TABLE testapp_empty;-- %(x)s'


@pytest.fixture
def weird() -> Iterator[Any]:
    """Give a model of a table that Django itself could not have made, for it leaves such names as they are."""

    class Weird(models.Model):
        value = models.CharField(max_length=40, db_column=COLUMN)

        class Meta:
            app_label = "testapp"
            managed = False
            db_table = TABLE

    yield Weird
    del apps.all_models["testapp"]["weird"]
    apps.clear_cache()


def quoted(alias: str, name: str) -> str:
    mark = "`" if engine_of(alias) == "mysql" else '"'
    return mark + name.replace(mark, 2 * mark) + mark


KEY = {
    "sqlite": "integer PRIMARY KEY AUTOINCREMENT",
    "postgresql": "serial PRIMARY KEY",
    "mysql": "integer AUTO_INCREMENT PRIMARY KEY",
}


@contextmanager
def weird_tables(pair: Pair) -> Iterator[None]:
    for alias in pair:
        table, column = quoted(alias, TABLE), quoted(alias, COLUMN)
        execute(
            alias,
            f"CREATE TABLE {table} (id {KEY[engine_of(alias)]}, {column} varchar(40) NOT NULL)",
            f"CREATE INDEX {quoted(alias, INDEX)} ON {table} ({column})",
        )
    try:
        yield
    finally:
        for alias in pair:
            execute(alias, f"DROP TABLE {quoted(alias, TABLE)}")


def values(alias: str) -> list[Any]:
    with connections[alias].cursor() as cursor:
        cursor.execute(f"SELECT * FROM {quoted(alias, TABLE)} ORDER BY id")
        return [tuple(row) for row in cursor.fetchall()]


@pytest.mark.parametrize("pair", [*PAIRS, *FILE_PAIRS], ids=str, indirect=True)
def test_names_are_only_names(pair: Pair, weird: Any) -> None:
    given = [(1, "it's"), (2, 'a "b" `c`'), (7, "%s %%"), (9, "; DROP TABLE testapp_empty; --")]
    insert_rows(Empty, pair.dest, [{"name": "still there"}])
    with weird_tables(pair):
        sql = f"INSERT INTO {quoted(pair.source, TABLE)} VALUES (%s, %s)".replace("50%s", "50%%s")
        with connections[pair.source].cursor() as cursor:
            cursor.executemany(sql, given)
        ends = ("--source", pair.source, "--dest", pair.dest)
        finished = run("batch_migrate", *ends, "--no-input", "--verify", "full", "--chunk-size", "2", "testapp.Weird")
        assert_ended(finished, 0)
        assert values(pair.dest) == given
        assert_ended(run("verify_counts", *ends, "--mode", "full", "testapp.Weird"), 0)
    assert QuerySet(Empty, using=pair.dest).count() == 1
