"""Progress as bars, as lines, or not at all."""

from __future__ import annotations

import datetime as dt
import fcntl
import io
import os
import pty
import re
import struct
import termios
import threading
import time
from collections.abc import Iterator

import pytest

from migrator.console import overall, progress_bars
from migrator.console import progress as counters
from migrator.console.progress import Progress
from migrator.console.progress_bars import BarProgress
from migrator.console.progress_choice import progress_for
from migrator.console.progress_lines import LineProgress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_draws_bars_on_a_terminal_only() -> None:
    assert type(progress_for(verbosity=1, stream=Terminal())) is BarProgress
    assert type(progress_for(verbosity=1, stream=io.StringIO())) is LineProgress
    assert type(progress_for(verbosity=1, shown=False, stream=Terminal())) is LineProgress
    assert type(progress_for(verbosity=0, stream=Terminal())) is Progress


def test_draws_no_bars_on_a_terminal_without_a_size(narrow: Narrow) -> None:
    """tqdm would write empty lines in their place."""
    assert type(progress_for(verbosity=1, stream=narrow)) is BarProgress
    fcntl.ioctl(narrow.fileno(), termios.TIOCSWINSZ, struct.pack("HHHH", 0, 80, 0, 0))
    assert type(progress_for(verbosity=1, stream=narrow)) is LineProgress


def test_silence_says_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    progress = Progress()
    progress.message("not heard")
    with progress.task("shop.Order", 3) as task:
        task.advance(3)
    assert capfd.readouterr() == ("", "")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Give the time: each look at it finds what the test has put there."""
    now = [0.0]
    monkeypatch.setattr(overall.time, "monotonic", lambda: now[0])
    return now


def lines_of(stream: io.StringIO) -> list[str]:
    """Return the lines without their times, each of which has to be one of now."""
    found = []
    for line in stream.getvalue().splitlines():
        moment, _, text = line.partition(" ")
        assert abs((dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(moment)).total_seconds()) < 60, line
        found.append(text)
    return found


# -- lines of one task ------------------------------------------------------------------------------------------------


def test_writes_one_line_for_a_finished_task(clock: list[float]) -> None:
    stream = io.StringIO()
    with LineProgress(stream).task("shop.Order", 3000) as task:
        for clock[0] in (1.0, 2.0, 2.5):
            task.advance(1000)
    assert lines_of(stream) == ["  shop.Order: 3,000 of 3,000 rows, 2.5 s"]


def test_writes_a_line_every_half_minute_with_what_is_left(clock: list[float]) -> None:
    stream = io.StringIO()
    with LineProgress(stream).task("shop.Order", 3000) as task:
        for clock[0] in (10.0, 29.9, 30.0, 45.0, 60.0, 65.0):
            task.advance(500)
    assert lines_of(stream) == [
        "  shop.Order: 1,500 of 3,000 rows, 30.0 s, about 30 s left",
        "  shop.Order: 2,500 of 3,000 rows, 60.0 s, about 12 s left",
        "  shop.Order: 3,000 of 3,000 rows, 65.0 s",
    ]


def test_counts_on_from_what_an_earlier_run_did(clock: list[float]) -> None:
    """Its rows are no measure of this run's speed."""
    stream = io.StringIO()
    with LineProgress(stream).task("shop.Order", 3000, done=2000) as task:
        clock[0] = 40.0
        task.advance(500)
    assert lines_of(stream) == [
        "  shop.Order: 2,500 of 3,000 rows, 40.0 s, about 40 s left",
        "  shop.Order: 2,500 of 3,000 rows, 40.0 s",
    ]


def test_says_what_it_can_where_the_end_is_not_known(clock: list[float]) -> None:
    stream = io.StringIO()
    with LineProgress(stream).task("indexes", None, unit="objects") as task:
        clock[0] = 40.0
        task.advance(5)
    assert lines_of(stream) == ["  indexes: 5 objects, 40.0 s"] * 2


def test_claims_no_end_for_a_task_that_broke_off() -> None:
    stream = io.StringIO()

    def break_off() -> None:
        with LineProgress(stream).task("shop.Order", 3000) as task:
            task.advance(1000)
            raise RuntimeError("the database is gone")

    with pytest.raises(RuntimeError, match="the database is gone"):
        break_off()
    assert stream.getvalue() == ""


def test_lines_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    LineProgress().message("said")
    out, err = capsys.readouterr()
    assert (out, err.partition(" ")[2]) == ("", "said\n")


# -- lines of a run ---------------------------------------------------------------------------------------------------


def test_lines_of_a_run_say_how_far_the_whole_is(clock: list[float]) -> None:
    stream = io.StringIO()
    progress = LineProgress(stream)
    with progress.run({"copying": 3.0, "indexes": 1.0}):
        progress.stage("copying", 3000)
        with progress.task("shop.Order", 2000) as task:
            for clock[0] in (10.0, 20.0):
                task.advance(1000)
        with progress.task("shop.Tag", 1000) as task:
            clock[0] = 30.0  # no table takes half a minute, and all of them do
            task.advance(1000)
        progress.finished("shop.Label", 1)
        progress.finished("shop.Empty", 0)
        with progress.task("shop.Empty", 0):
            pass
        progress.stage("indexes", 1, unit="objects")
    assert lines_of(stream) == [
        "copying: 3,000 rows",
        "  shop.Order: 2,000 of 2,000 rows, 20.0 s",
        "  shop.Tag: 1,000 of 1,000 rows, 10.0 s; run 75 %, 100 rows/s, ETA 00:10",
        "  shop.Tag: 1,000 of 1,000 rows, 10.0 s",
        "  shop.Label: 1 row",
        "indexes: 1 object",
    ]


def test_a_long_wait_is_shown_too(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as that for an index, which counts nothing until it is complete."""
    monkeypatch.setattr(counters, "TICK_SECONDS", 0.001)
    stream = io.StringIO()
    progress = LineProgress(stream)
    with progress.run({"copying": 1.0, "indexes": 1.0}):
        progress.stage("copying", 10)
        with progress.task("shop.Order", 10) as task:
            clock[0] = 20.0
            task.advance(10)
        progress.stage("indexes", ticks=True)
        clock[0] = 50.0
        deadline = time.perf_counter() + 5
        while "ETA" not in stream.getvalue() and time.perf_counter() < deadline:
            time.sleep(0.001)
    assert lines_of(stream)[-1] == "  indexes: run 50 %, ETA 00:50"
    assert not [thread for thread in threading.enumerate() if thread.name == "progress"]


# -- bars -------------------------------------------------------------------------------------------------------------


class Narrow(Terminal):
    """Has the size of a terminal of 80 columns."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor

    def fileno(self) -> int:
        return self._descriptor


@pytest.fixture
def narrow() -> Iterator[Narrow]:
    ends = pty.openpty()
    fcntl.ioctl(ends[1], termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    yield Narrow(ends[1])
    for end in ends:
        os.close(end)


def drawn(stream: Terminal) -> list[str]:
    """Return all that was drawn in lines, in order, without what moves the cursor."""
    return [text.replace("\x1b[A", "") for line in stream.getvalue().split("\n") for text in line.split("\r")]


def left_by(stream: Terminal) -> list[str]:
    """Return the lines that a terminal shows in the end."""
    lines, row = [""], 0
    for part in re.findall(r"\x1b\[A|\n|\r|[^\x1b\n\r]+", stream.getvalue()):
        if part == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif part == "\x1b[A":
            row -= 1
        elif part != "\r":  # each writes its line from the left, in full
            lines[row] = part.rstrip()
    return [line for line in lines if line]


def test_a_task_of_its_own_leaves_its_bar_and_messages_stay_whole(narrow: Narrow) -> None:
    progress = BarProgress(narrow)
    with progress.task("shop.Order", 4000, done=1000) as task:
        for _ in range(3):
            task.advance(1000)
        progress.message("the connection was lost; trying again")
    message, bar = left_by(narrow)
    assert message == "the connection was lost; trying again"
    assert re.fullmatch(r"  shop\.Order 100%\|[^|]+\| 4,000/4,000 rows, [\d,]+k?/s, 00:\d\d<00:00", bar), bar


def test_a_run_leaves_one_bar_whatever_the_number_of_its_tables(narrow: Narrow) -> None:
    progress = BarProgress(narrow)
    with progress.run({"copying": 1.0, "verification": 1.0}):
        progress.stage("copying", 165 * 30)
        for number in range(165):
            with progress.task(f"shop.Table{number}", 30) as task:
                task.advance(30)
            with progress.task("shop.Empty", 0):
                pass
        progress.stage("verification")
    (line,) = left_by(narrow)
    assert re.fullmatch(r"done 100%\|[^|]+\| in 00:0\d", line), line
    assert not [text for text in drawn(narrow) if "0.00" in text or "30.0" in text or "shop.Empty" in text]


def test_a_run_shows_its_phase_its_rate_and_the_time_left(narrow: Narrow, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SHOWN_AFTER_SECONDS", "DRAWN_EVERY_SECONDS"):
        monkeypatch.setattr(progress_bars, name, 0.0)
    now = [0.0]
    monkeypatch.setattr(overall.time, "monotonic", lambda: now[0])
    progress = BarProgress(narrow)
    with progress.run({"copying": 3.0, "indexes and keys": 1.0}):
        progress.stage("copying", 251_086)
        label = "store.\x1b[31mLine" + "x" * 40
        with progress.task(label, 251_085) as task:
            now[0] = 6.0
            task.advance(146_000)
        progress.stage("indexes and keys", 2, unit="objects")
    shown = drawn(narrow)
    assert any(re.fullmatch(r"copying  43%\|[^|]+\| 146,000/251,086 rows, 24k/s, ETA 00:08", text) for text in shown), (
        shown
    )
    assert any(re.fullmatch(r"  store\.\\x1b\[31mLinex+…  .*", text) for text in shown), shown
    (at_indexes,) = {text for text in shown if text.startswith("indexes and keys")}
    assert re.fullmatch(r"indexes and keys  75%\|[^|]+\| 0/2 objects, ETA 00:0\d", at_indexes), at_indexes
    assert max(map(len, shown)) < 80


def test_a_run_that_fails_leaves_its_bar_where_it_was(narrow: Narrow) -> None:
    progress = BarProgress(narrow)

    def fail() -> None:
        with progress.run({"copying": 1.0}):
            progress.stage("copying", 10)
            raise RuntimeError("the database is gone")

    with pytest.raises(RuntimeError, match="gone"):
        fail()
    (line,) = left_by(narrow)
    assert line.startswith("copying   0%|")
