"""Follow a source after its rows were copied: rounds, a proof while the site writes, and the last pass on request."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import time
from collections.abc import Callable

from django.db import Error

from ...console.finish_request import FinishRequest
from ...console.interrupts import Interrupts, raising_interrupted
from ...console.progress import CheckedProgress, Progress
from ...console.wording import seconds_text
from ...errors import Interrupted, MigratorError
from .. import run_messages
from ..copying.sequences import reset_sequences
from ..endpoints import Endpoints, to_migrator_error
from ..phases import Phase
from ..planning.natural_keys import clear_caches
from ..planning.plan import Plan
from ..run_options import Console, RunOptions
from ..verification.run import verify_run
from .record import Followed
from .rounds import Rounds
from .tracker import ChangeTracker

SHORTEST_PAUSE_SECONDS = 1.0
# For so long nothing may change after the last pass.
QUIET_SECONDS = 2.0
# The last pass is repeated for requests that were still being served.
MOST_LAST_PASSES = 3


def follow_source(
    endpoints: Endpoints,
    tracker: ChangeTracker,
    plan: Plan,
    options: RunOptions,
    console: Console,
    interrupts: Interrupts,
) -> Followed:
    """Follow the source of a run whose rows are copied, until the user asks for the last pass or the source is quiet.

    Raises :exc:`MigratorError` if the destination cannot become equal to the source, and :exc:`Interrupted` after a
    signal; both say which moment of the source the destination has.
    """
    interrupts.defer(run_messages.FOLLOWED)
    follower = Follower(endpoints, tracker, plan, options, console.progress, interrupts.check)
    followed, alias = follower.followed, endpoints.dest.alias
    try:
        with raising_interrupted(), FinishRequest.of(asks=console.prompter.can_ask) as request:
            follower.follow(request)
    except Interrupted as error:
        text = run_messages.followed_until(alias, followed.equal_at)
        raise Interrupted(f"Stopped. {text}", error.exit_code - 128) from None
    except (MigratorError, Error) as error:
        both = endpoints.dest, endpoints.source
        known = error if isinstance(error, MigratorError) else to_migrator_error(error, both)
        raise type(known)(f"{known}\n{run_messages.followed_until(alias, followed.equal_at)}") from error
    clear_caches()
    return followed


class Follower:
    """Follows the source of a run whose rows are copied. ``check`` raises after a signal."""

    def __init__(
        self,
        endpoints: Endpoints,
        tracker: ChangeTracker,
        plan: Plan,
        options: RunOptions,
        progress: Progress,
        check: Callable[[], None],
    ) -> None:
        self._endpoints, self._options = endpoints, options
        self._progress, self._check = progress, check
        self._rounds = Rounds(
            endpoints,
            tracker,
            plan,
            progress,
            check,
            chunk_size=options.rows_compared_at_once,
            keeps_triggers=options.keep_triggers,
        )
        self.followed = self._rounds.followed
        self._plan = self._rounds.plan
        self._quiet_since = self._shown_at = time.monotonic()
        self._shown_changes = 0

    def follow(self, request: FinishRequest) -> None:
        """Make rounds, prove, and make the last pass when ``request`` is made or the source is quiet."""
        self._round()
        if self._options.verify != "none" and not self._prove():
            return
        self._invite(request)
        while not self._is_due(request):
            self._round()
            self._progress.status(self._status())
        self._finish()

    def _round(self) -> None:
        before = self.followed.changes
        if self._rounds.make() or self.followed.changes > before:
            self._quiet_since = time.monotonic()

    # -- the proof ------------------------------------------------------------------------------------------------

    def _prove(self) -> bool:
        """Compare all values of one moment, while the site writes; return whether they are equal."""
        self._progress.message("Comparing all rows, while the source may change …")
        self._round()
        reset_sequences(self._plan)
        counted = self._counted()
        rows = sum(planned.source_rows for planned in counted.tables)
        options = dataclasses.replace(self._options, verify="full")
        with self._progress.run({Phase.VERIFICATION: 1.0}):
            self._progress.stage(Phase.VERIFICATION, rows)
            checked = CheckedProgress(self._progress, self._check)
            verification = verify_run(self._endpoints, counted, options, {}, checked)
        self.followed.verification = verification
        if not verification.is_clean:
            return False
        self.followed.proven_at = self.followed.equal_at
        return True

    def _counted(self) -> Plan:
        """Return the plan with the row counts of the last round's snapshot."""
        rows = self._endpoints.source.counts([planned.table.name for planned in self._plan.tables])
        return dataclasses.replace(
            self._plan,
            groups=tuple(
                tuple(dataclasses.replace(planned, source_rows=rows[planned.table.name]) for planned in group)
                for group in self._plan.groups
            ),
        )

    # -- the last pass --------------------------------------------------------------------------------------------

    def _invite(self, request: FinishRequest) -> None:
        """Say how the last pass is requested."""
        seconds = self._options.until_quiet
        if seconds is not None:
            self._progress.message(
                f"Stop everything that writes to the source. The last pass begins {seconds} s later."
            )
            return
        ways = [f"kill -USR1 {os.getpid()}"]
        if request.hears_terminal:
            ways.insert(0, "press ENTER")
        self._progress.message(f"Stop everything that writes to the source, then {' or '.join(ways)}.")

    def _is_due(self, request: FinishRequest) -> bool:
        """Wait until the next round is due, or the last pass; return whether it is that."""
        self._rounds.rest()
        pause = max(SHORTEST_PAUSE_SECONDS, self._rounds.seconds)
        if request.wait(pause, self._check):
            return True
        quiet = self._options.until_quiet
        return quiet is not None and time.monotonic() - self._quiet_since >= quiet

    def _finish(self) -> None:
        """Make the last pass, and prove that no one has written since; once more for requests still being served."""
        began = time.perf_counter()
        for _ in range(MOST_LAST_PASSES):
            self.followed.last_rows = self._rounds.make()
            reset_sequences(self._plan)
            self.followed.stop_seconds = time.perf_counter() - began
            self._wait_quietly()
            self.followed.late = self._rounds.late()
            if not self.followed.late:
                return

    def _wait_quietly(self) -> None:
        until = time.monotonic() + QUIET_SECONDS
        while time.monotonic() < until:
            self._check()
            time.sleep(0.1)

    def _status(self) -> str:
        behind = (dt.datetime.now(dt.UTC) - self.followed.equal_at).total_seconds() if self.followed.equal_at else 0.0
        now, changes = time.monotonic(), self.followed.changes
        rate = (changes - self._shown_changes) / max(now - self._shown_at, 0.001)
        self._shown_at, self._shown_changes = now, changes
        return (
            f"following: behind by {seconds_text(behind)}, {rate:,.0f} changes/s, last pass about "
            f"{seconds_text(self._rounds.seconds)}"
        )
