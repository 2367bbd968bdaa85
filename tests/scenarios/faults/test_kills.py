"""`batch_migrate` is killed with kill -9 at random moments, again and again, and always comes to its end.

MIGRATOR_TEST_KILLS is the number of kills of each pair of engines (`make faults`: 50), MIGRATOR_TEST_SEED repeats
their moments as far as a machine can.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable

from django.db import connections

from migrator.databases.journal.journal import Journal
from tests.manage import start_manage
from tests.scenarios.faults.amounts import KILLS
from tests.scenarios.faults.oracle import LABELS, MODELS, Oracle, count_rows, fill, journal_tables, wait_until_unlocked
from tests.scenarios.faults.watching import committed, copied_again, forget, watched
from tests.servers.databases import Pair

ROWS = 60
# What a command says once it knows its arguments and has both databases; what comes before is Python's own start.
BEGUN = "Checking "


class Killer:
    """Starts runs between two databases and kills them, as long after their begin as a whole run may take."""

    def __init__(self, pair: Pair, chosen: random.Random) -> None:
        self.pair, self._chosen = pair, chosen
        self.kills = 0
        self._takes = 1.0

    def move(self, *more: str) -> None:
        """Move everything, killed as often as chance and :data:`KILLS` will have it."""
        words = self._words(*more)
        while not self._comes_to_its_end(*words):
            connections.close_all()
            wait_until_unlocked(self.pair.dest)
            if not committed(self.pair.dest) and Journal(self.pair.dest).current() is None:
                continue  # killed before there was anything to go on with
            if not journal_tables(self.pair.dest):
                return  # killed when there was nothing left to do but to say so
            words = self._words("--resume")

    def _words(self, *more: str) -> list[str]:
        ends = ("--source", self.pair.source, "--dest", self.pair.dest)
        kept = ("--keep-triggers",)  # which count what is committed
        return ["batch_migrate", *ends, "--no-input", "--chunk-size", "4", *kept, *more, *LABELS]

    def _comes_to_its_end(self, *words: str) -> bool:
        with start_manage(*words) as process:
            assert process.stderr
            while BEGUN not in (line := process.stderr.readline()):
                assert line, "the command ended before it began"
            began, moment = time.monotonic(), self._chosen.uniform(0, self._takes)
            while self.kills < KILLS and process.poll() is None and time.monotonic() - began < moment:
                time.sleep(0.002)
            if self.kills < KILLS and process.poll() is None:
                process.kill()
                self.kills += 1
            _, said = process.communicate()
        if process.returncode == 0:
            self._takes = time.monotonic() - began
        assert process.returncode in (0, -signal.SIGKILL), said
        return process.returncode == 0


def test_random_kills_lose_and_double_nothing(pair: Pair, record_property: Callable[[str, object], None]) -> None:
    """Each move is killed until it gets through, and the next one replaces what it made."""
    seed = int(os.environ.get("MIGRATOR_TEST_SEED", random.randrange(10**6)))  # noqa: S311
    killer = Killer(pair, random.Random(seed))  # noqa: S311
    fill(pair.source, ROWS)
    with watched(pair.dest, MODELS[0]._meta.db_table):
        oracle = Oracle(pair)
        again = 0
        try:
            while killer.kills < KILLS:
                forget(pair.dest)
                killer.move("--replace", pair.dest)
                again += copied_again(pair.dest)
                oracle.assert_complete()
        except BaseException as error:
            error.add_note(f"seed {seed}, after {killer.kills} kills")
            raise
        finally:
            differences = [count_rows(model, pair.dest) - count_rows(model, pair.source) for model in MODELS]
            record_property("kills survived", killer.kills)
            record_property("rows lost", -sum(min(number, 0) for number in differences))
            record_property("rows doubled", again + sum(max(number, 0) for number in differences))
    assert again == 0, f"seed {seed}: {again} rows of chunks that were done were copied again"
