"""Progress as bars, as lines, or not at all."""

from __future__ import annotations

import io

import pytest

from migrator.console import progress as module
from migrator.console.progress import BarProgress, LineProgress, Progress, progress_for


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_draws_bars_on_a_terminal_only() -> None:
    assert type(progress_for(verbosity=1, stream=Terminal())) is BarProgress
    assert type(progress_for(verbosity=1, stream=io.StringIO())) is LineProgress
    assert type(progress_for(verbosity=1, shown=False, stream=Terminal())) is LineProgress
    assert type(progress_for(verbosity=0, stream=Terminal())) is Progress


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
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_writes_one_line_for_a_finished_task(clock: list[float]) -> None:
    stream = io.StringIO()
    with LineProgress(stream).task("shop.Order", 3000) as task:
        for clock[0] in (1.0, 2.0, 2.5):
            task.advance(1000)
    assert stream.getvalue() == "  shop.Order: 3,000 of 3,000 rows, 2.5 s\n"


def test_writes_a_line_every_half_minute_with_what_is_left(clock: list[float]) -> None:
    stream = io.StringIO()
    with LineProgress(stream).task("shop.Order", 3000) as task:
        for clock[0] in (10.0, 29.9, 30.0, 45.0, 60.0, 65.0):
            task.advance(500)
    assert stream.getvalue().splitlines() == [
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
    assert stream.getvalue().splitlines() == [
        "  shop.Order: 2,500 of 3,000 rows, 40.0 s, about 40 s left",
        "  shop.Order: 2,500 of 3,000 rows, 40.0 s",
    ]


def test_says_what_it_can_where_the_end_is_not_known(clock: list[float]) -> None:
    stream = io.StringIO()
    with LineProgress(stream).task("indexes", None, unit="objects") as task:
        clock[0] = 40.0
        task.advance(5)
    assert stream.getvalue() == "  indexes: 5 objects, 40.0 s\n" * 2


def test_claims_no_end_for_a_task_that_broke_off() -> None:
    stream = io.StringIO()

    def break_off() -> None:
        with LineProgress(stream).task("shop.Order", 3000) as task:
            task.advance(1000)
            raise RuntimeError("the database is gone")

    with pytest.raises(RuntimeError, match="the database is gone"):
        break_off()
    assert stream.getvalue() == ""


def test_bars_show_what_is_counted_and_messages_stay_whole() -> None:
    stream = Terminal()
    progress = BarProgress(stream)
    with progress.task("shop.Order", 4000, done=1000) as task:
        for _ in range(3):
            task.advance(1000)
        progress.message("the link was lost; trying again")
    drawn = [line for piece in stream.getvalue().split("\r") for line in piece.split("\n")]
    assert "the link was lost; trying again" in drawn
    last = [line for line in drawn if "shop.Order" in line][-1]
    assert "100%" in last
    assert "4.00k/4.00k" in last
    assert " rows" in last


def test_lines_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    LineProgress().message("said")
    assert capsys.readouterr() == ("", "said\n")
