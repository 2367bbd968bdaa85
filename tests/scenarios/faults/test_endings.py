"""A run that gets a signal, or loses its terminal or pipe, ends with a clear message, and resumes where it was."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from django.db.models import QuerySet

from migrator.console.interrupts import AT_ONCE, SIGNALS, Interrupts
from migrator.databases.engines.registry import engine_for
from migrator.errors import Interrupted
from settings.base import ROOT
from tests.manage import Finished, run_manage
from tests.management.running import INTERRUPT, at_terminal, run, unwrapped
from tests.scenarios.faults.oracle import LABELS, THREE_PAIRS, Oracle, journal_tables, wait_until_unlocked
from tests.scenarios.test_resume import in_a_process_of_its_own, wait_for_chunks
from tests.servers.databases import PAIRS, Pair
from tests.testapp.models import Rating

SECONDS_AT_MOST = 60  # for what takes a second on a machine at rest
to_each_engine = pytest.mark.parametrize("pair", THREE_PAIRS, ids=str, indirect=True)
# What the bar shows right before the first chunk.
COPYING = "copying"


def words(pair: Pair, *more: str) -> tuple[str, ...]:
    """Give a move of so many chunks that it is met in the middle."""
    ends = ("--source", pair.source, "--dest", pair.dest)
    return ("batch_migrate", *ends, "--no-input", "--chunk-size", "1", *more, *LABELS)


def goes_on_as_told(pair: Pair, oracle: Oracle, said: str) -> None:
    """Type what the run said at its end, and assert that all is there then."""
    [line] = re.findall(r"^(?:CommandError: )?Resume:\n +(.*)$", said, re.MULTILINE)
    wait_until_unlocked(pair.dest)
    assert journal_tables(pair.dest)
    python, program, *arguments = shlex.split(line)
    assert (python, program, arguments[-1]) == (Path(sys.executable).name, "manage.py", "--resume")
    finished = run_manage(*arguments)
    assert finished.code == 0, finished.err
    oracle.assert_complete()


def assert_plain(finished: Finished, code: int) -> None:
    assert finished.code == code, finished.err
    assert "Traceback" not in finished.out + finished.err


@to_each_engine
def test_ctrl_c_ends_it_after_the_chunk(pair: Pair, oracle: Oracle) -> None:
    finished = at_terminal(*words(pair), answers=[(COPYING, INTERRUPT)], timeout=SECONDS_AT_MOST)
    assert_plain(finished, 130)
    shown = unwrapped(finished.err)
    assert "Stopped after the chunk that was being copied." in shown
    assert f"rows are committed in '{pair.dest}'." in shown
    goes_on_as_told(pair, oracle, finished.err)


@to_each_engine
def test_ctrl_c_twice_ends_it_at_once(pair: Pair, oracle: Oracle) -> None:
    finished = at_terminal(*words(pair), answers=[(COPYING, INTERRUPT), ("^C", INTERRUPT)], timeout=SECONDS_AT_MOST)
    assert_plain(finished, 130)
    goes_on_as_told(pair, oracle, finished.err)


def test_a_second_signal_while_the_first_one_ends_it_hides_nothing() -> None:
    def stopped_twice() -> None:
        with Interrupts() as interrupts:
            interrupts.defer("Resume: the same again")
            signal.raise_signal(signal.SIGINT)
            try:
                interrupts.check()
            finally:
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted) as caught:
        stopped_twice()
    assert caught.value.exit_code == 130
    assert str(caught.value).splitlines() == [AT_ONCE, "Resume: the same again"]


@pytest.fixture
def signals() -> Iterator[list[int]]:
    """Hear of the signals that reach this process outside of any work, and put all back as it was."""
    heard: list[int] = []
    before = {number: signal.signal(number, lambda number, _: heard.append(number)) for number in SIGNALS}
    yield heard
    for number, handler in before.items():
        signal.signal(number, handler)


def interrupted_once() -> None:
    with Interrupts() as interrupts:
        interrupts.defer("Resume: the same again")
        signal.raise_signal(signal.SIGINT)
        interrupts.check()


def test_nothing_cuts_off_what_an_interrupted_command_says(signals: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """As a second Ctrl-C would that comes while the first one ends the process."""
    monkeypatch.setattr(Interrupts, "ends_process", True)
    with pytest.raises(Interrupted):
        interrupted_once()
    for number in SIGNALS:
        signal.raise_signal(number)
    assert signals == []


def test_a_command_is_what_ends_the_process(signals: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped_twice(**options: Any) -> None:
        try:
            interrupted_once()
        finally:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("migrator.management.commands.batch_migrate.Command.function", stopped_twice)
    finished = run("batch_migrate", "--source", "default", "--dest", "sqlite_b", "--no-input")
    assert (finished.code, signals) == (130, [])
    assert finished.err == "CommandError: Stopped after the chunk that was being copied.\n"
    with pytest.raises(Interrupted):
        interrupted_once()
    signal.raise_signal(signal.SIGTERM)
    assert signals == [signal.SIGTERM]  # the command has left nothing behind


def test_code_that_calls_it_hears_signals_again(signals: list[int]) -> None:
    with pytest.raises(Interrupted):
        interrupted_once()
    signal.raise_signal(signal.SIGTERM)
    assert signals == [signal.SIGTERM]


def test_a_signal_that_meets_the_end_of_the_work_is_not_lost(
    signals: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_handler = signal.signal
    on_its_way = [signal.SIGTERM]

    def met(number: int, handler: Any) -> Any:
        if on_its_way:
            signal.raise_signal(on_its_way.pop())
        return set_handler(number, handler)

    with Interrupts() as interrupts:
        interrupts.defer("Resume: the same again")
        monkeypatch.setattr(signal, "signal", met)
    assert signals == [signal.SIGTERM]


@pytest.mark.parametrize("pair", [PAIRS[1]], ids=str, indirect=True)
def test_a_command_under_nohup_outlives_its_terminal(
    pair: Pair, oracle: Oracle, start_manage: Callable[..., Any]
) -> None:
    handler = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does for the process that it becomes
    try:
        started = start_manage(*words(pair))
    finally:
        signal.signal(signal.SIGHUP, handler)
    with started as process:
        wait_for_chunks(pair, process, 10)
        process.send_signal(signal.SIGHUP)
        _, err = process.communicate(timeout=SECONDS_AT_MOST)
    assert process.returncode == 0, err
    oracle.assert_complete()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=str)
@to_each_engine
def test_a_signal_ends_it_after_the_chunk(
    pair: Pair, oracle: Oracle, number: int, code: int, start_manage: Callable[..., Any]
) -> None:
    with start_manage(*words(pair)) as process:
        wait_for_chunks(pair, process, 10)
        process.send_signal(number)
        out, err = process.communicate(timeout=SECONDS_AT_MOST)
    assert_plain(Finished(process.returncode, out, err), code)
    goes_on_as_told(pair, oracle, err)


@pytest.mark.parametrize("pair", [PAIRS[1]], ids=str, indirect=True)
def test_a_terminal_that_hangs_up_ends_it_after_the_chunk(pair: Pair, oracle: Oracle) -> None:
    """What it says then has nowhere to go, and that is no fault of its own."""
    keyboard, terminal = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", SESSION_LEADER, sys.executable, "-W", "error", "manage.py", *words(pair)],
        cwd=ROOT, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
    ) as process:  # fmt: skip
        os.close(terminal)
        wait_for_chunks(pair, process, 10)  # type: ignore[arg-type]
        os.close(keyboard)
        assert process.wait(SECONDS_AT_MOST) == 129
    connections.close_all()
    assert journal_tables(pair.dest)
    oracle.assert_goes_on()


# Takes the terminal for its own, so that hanging up reaches it.
SESSION_LEADER = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)


@pytest.mark.parametrize("reader", ["| head -1", "2>&1 | head -1", "2>&1 >/dev/null | true", "2>&-", ">&-"])
@pytest.mark.parametrize("pair", [PAIRS[1]], ids=str, indirect=True)
def test_a_reader_that_goes_away_ends_nothing(pair: Pair, oracle: Oracle, reader: str) -> None:
    """The copy is what matters; with a line for each chunk it says much to nobody."""
    command = shlex.join([sys.executable, "-W", "error", "manage.py", *words(pair, "-v", "2")])
    finished = subprocess.run(
        ["/bin/bash", "-c", f"{command} {reader}; exit ${{PIPESTATUS[0]}}"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=SECONDS_AT_MOST,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    assert "Traceback" not in finished.stdout + finished.stderr
    assert "Exception ignored" not in finished.stderr
    oracle.assert_complete()


@to_each_engine
def test_nothing_was_written_before_the_answer(pair: Pair, oracle: Oracle) -> None:
    """An interrupt at the question, where a run may wait for hours, is no different from a no."""
    asked = [word for word in words(pair) if word != "--no-input"]
    started = time.monotonic()
    finished = at_terminal(*asked, answers=[("[y/N] ", INTERRUPT)], timeout=SECONDS_AT_MOST)
    assert_plain(finished, 130)
    assert "Nothing was written." in finished.err
    assert time.monotonic() - started < SECONDS_AT_MOST
    oracle.assert_untouched()


@pytest.mark.parametrize("pair", PAIRS[1:3], ids=str, indirect=True)
def test_a_second_signal_is_taken_for_no_fault_of_a_row(pair: Pair, oracle: Oracle, tmp_path: Path) -> None:
    """It may come while the rows of a chunk are tried one by one, for there is one among them that cannot be stored."""
    rejects = tmp_path / "rejects.jsonl"
    bad = QuerySet(Rating, using=pair.source).filter(id=7)
    bad.update(stars=10**6)
    dest = type(engine_for(connections[pair.dest]))
    dest_writer = dest.writer
    opened: list[str] = []

    def striking_writer(engine: Any, table: str, targets: Any) -> Any:
        writer = dest_writer(engine, table, targets)
        write = writer.write
        opened.append(table)
        is_careful = opened.count("testapp_rating") == 3  # the first chunk, the second, and the second once more

        def write_and_strike(rows: Any) -> int:
            if is_careful:
                os.kill(os.getpid(), signal.SIGINT)
                os.kill(os.getpid(), signal.SIGINT)
            return write(rows)

        writer.write = write_and_strike  # type: ignore[method-assign]
        return writer

    def run_struck() -> None:
        dest.writer = striking_writer  # type: ignore[method-assign, assignment]
        more = ("--on-error", "skip", "--rejects", str(rejects))
        os._exit(run(*words(pair, *more, "--chunk-size", "6")).code)

    assert in_a_process_of_its_own(run_struck) == 130
    assert {json.loads(line)["pk"] for line in rejects.read_text().splitlines()} <= {"7"}
    bad.update(stars=1)
    oracle.assert_goes_on()
