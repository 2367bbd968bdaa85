"""Files with personal data in them: for their owner alone, whole or not at all, and never somewhere else."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from migrator.console import private_files
from migrator.console.private_files import append_private, check_apart, check_target, given_lines, replace_private
from migrator.console.report_files import write_report
from migrator.console.reports import Mood, Report, Verdict
from migrator.errors import MigratorError, UsageError


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def write_appended(path: Path, text: str) -> None:
    with append_private(path) as file:
        file.write(text)


WAYS = [pytest.param(replace_private, id="replaced"), pytest.param(write_appended, id="appended")]


@pytest.mark.parametrize("write", WAYS)
def test_keeps_everybody_else_out(tmp_path: Path, write: Callable[[Path, str], None]) -> None:
    path, before = tmp_path / "report.txt", os.umask(0)
    try:
        write(path, "ä")
    finally:
        os.umask(before)
    assert mode(path) == 0o600
    assert path.read_text(encoding="utf-8") == "ä"


@pytest.mark.parametrize("write", WAYS)
def test_locks_up_a_file_that_was_open_to_all(tmp_path: Path, write: Callable[[Path, str], None]) -> None:
    path = tmp_path / "report.txt"
    path.touch(0o666)
    path.chmod(0o666)
    write(path, "text")
    assert mode(path) == 0o600


@pytest.mark.parametrize(("write", "expected"), [(replace_private, "new"), (write_appended, "a longer oldnew")])
def test_replaces_or_appends(tmp_path: Path, write: Callable[[Path, str], None], expected: str) -> None:
    path = tmp_path / "file"
    path.write_text("a longer old")
    write(path, "new")
    assert path.read_text() == expected
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("write", [check_target, *[way.values[0] for way in WAYS]])
@pytest.mark.parametrize("leads", ["to a file", "nowhere"])
def test_refuses_a_symbolic_link(tmp_path: Path, write: Callable[..., None], leads: str) -> None:
    victim, link = tmp_path / "victim", tmp_path / "link"
    if leads == "to a file":
        victim.write_text("precious")
    link.symlink_to(victim)
    with pytest.raises(UsageError) as raised:
        write(link, *([] if write is check_target else ["text"]))
    assert str(raised.value) == (f"{str(link)!r} is a symbolic link, which can be redirected; name a plain file.")
    assert link.is_symlink()
    assert victim.read_text() == "precious" if leads == "to a file" else not victim.exists()


@pytest.mark.parametrize("write", [check_target, *[way.values[0] for way in WAYS]])
def test_refuses_a_directory_and_a_missing_one(tmp_path: Path, write: Callable[..., None]) -> None:
    text = [] if write is check_target else ["text"]
    with pytest.raises(UsageError) as raised:
        write(tmp_path, *text)
    assert str(raised.value) == f"{str(tmp_path)!r} is a directory; name a file in it."
    with pytest.raises(UsageError) as raised:
        write(tmp_path / "missing" / "file", *text)
    assert str(raised.value) == (
        f"The directory {str(tmp_path / 'missing')!r} does not exist; create it, or name another file."
    )
    assert list(tmp_path.iterdir()) == []


def test_refuses_a_directory_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**words: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(private_files.tempfile, "TemporaryFile", fail)  # root may write anywhere
    with pytest.raises(UsageError) as raised:
        check_target(tmp_path / "file")
    assert str(raised.value) == (
        f"The directory {str(tmp_path)!r} cannot be written (Permission denied); name another file."
    )


@pytest.mark.parametrize("write", WAYS)
def test_takes_the_longest_name_and_refuses_a_longer_one(tmp_path: Path, write: Callable[[Path, str], None]) -> None:
    longest = os.pathconf(tmp_path, "PC_NAME_MAX")
    write(tmp_path / ("n" * longest), "text")
    with pytest.raises(UsageError, match="cannot be written: File name too long; name another file"):
        check_target(tmp_path / ("n" * (longest + 1)))


def test_leaves_what_is_not_text_as_it_is(tmp_path: Path) -> None:
    """A report would take the place of a database, an archive or a picture."""
    path = tmp_path / "shop.txt"
    path.write_bytes(b"some format\0and data")
    with pytest.raises(UsageError, match=r"shop\.txt' holds data that is not text, such as a database"):
        write_report(Report("title", Verdict(Mood.GOOD, "DONE", "All is copied.")), path)
    assert path.read_bytes() == b"some format\0and data"


def test_two_options_do_not_name_one_file(tmp_path: Path) -> None:
    path, link = tmp_path / "file", tmp_path / "link"
    link.symlink_to(tmp_path)
    check_apart({"--report": path, "--rejects": tmp_path / "other"})
    for other in (path, link / "file", tmp_path / "link" / ".." / tmp_path.name / "file"):
        with pytest.raises(UsageError, match="--report and --rejects name the same file"):
            check_apart({"--report": path, "--rejects": other})


def test_keeps_the_old_file_where_the_new_one_cannot_be_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.txt"
    path.write_text("old")

    def fail(descriptor: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(private_files.os, "fsync", fail)
    with pytest.raises(MigratorError, match=r"report\.txt' cannot be written: No space left on device"):
        replace_private(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


SPECIAL = {
    "device": lambda path: os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3)),
    "FIFO": os.mkfifo,
    "socket": lambda path: os.mknod(path, stat.S_IFSOCK | 0o666),
}


@pytest.mark.parametrize("write", [check_target, *[way.values[0] for way in WAYS]])
@pytest.mark.parametrize("kind", SPECIAL)
def test_leaves_what_is_not_a_plain_file_as_it_is(tmp_path: Path, kind: str, write: Callable[..., None]) -> None:
    path = tmp_path / "null"
    try:
        SPECIAL[kind](path)
    except PermissionError:  # only root makes devices
        path = Path(os.devnull)
    before = path.stat()
    with pytest.raises(UsageError) as raised:
        write(path, *([] if write is check_target else ["text"]))
    assert str(raised.value) == f"{str(path)!r} is a {kind}, not a plain file; name another file."
    after = path.stat()
    assert (after.st_ino, after.st_mode, after.st_rdev) == (before.st_ino, before.st_mode, before.st_rdev)


@pytest.mark.parametrize("write", [check_target, *[way.values[0] for way in WAYS]])
def test_leaves_a_file_with_another_name_as_it_is(tmp_path: Path, write: Callable[..., None]) -> None:
    victim, path = tmp_path / "victim", tmp_path / "report.txt"
    victim.write_text("precious")
    victim.chmod(0o644)
    path.hardlink_to(victim)
    with pytest.raises(UsageError, match=r"report\.txt' has other names \(hard links\)"):
        write(path, *([] if write is check_target else ["text"]))
    assert (victim.read_text(), mode(victim)) == ("precious", 0o644)


def test_does_not_wait_for_the_reader_of_a_fifo_that_has_come_in_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rejects"
    os.mkfifo(path)
    monkeypatch.setattr(private_files, "check_target", lambda path: None)
    with pytest.raises(MigratorError, match=r"rejects' cannot be written"):
        append_private(path)
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK)), pytest.raises(UsageError, match="is a FIFO"):
        append_private(path)


def test_reads_given_lines_without_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "keys").write_bytes("\ufeffone\r\ntwo\n\nthree ä".encode())
    assert list(given_lines(tmp_path / "keys")) == ["one", "two", "", "three ä"]


def test_refuses_given_lines_that_cannot_be_read_twice_or_are_not_text(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "text").write_bytes("one\n".encode("utf-16"))
    reasons = {
        "pipe": "is a FIFO, and is read more than once; name a plain file",
        "text": "is not text in UTF-8",
        "missing": "cannot be read: No such file or directory",
        ".": "cannot be read: Is a directory",
    }
    for name, reason in reasons.items():
        with pytest.raises(UsageError, match=reason):
            list(given_lines(tmp_path / name))
