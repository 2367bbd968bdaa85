"""Rounds: in each one, the destination becomes equal to one moment of the source, by the keys of what has changed."""

from __future__ import annotations

import dataclasses
import datetime as dt
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, closing

from django.db import Error

from ...console.progress import MessagesOnly, Progress
from ...console.wording import shortened
from ...errors import MigratorError, Refused
from ..copying.retry import Retries
from ..endpoints import Endpoints, to_migrator_error
from ..engines.base.change_feed import FeedLost
from ..engines.base.errors import Severity, SnapshotLost
from ..planning.plan import Plan, TablePlan
from ..planning.plan_request import Mode
from ..primary_keys import key_text
from ..tables import StoredColumn, shown_name
from ..update import Difference, apply_updates, compare_table, sides_of
from ..verification.rows import compare_keys
from .changed_rows import find_changed
from .record import Followed
from .tracker import ChangeTracker

PAUSE_SECONDS = 1.0
SHOWN_TABLES = 5


class Rounds:
    """The rounds of one run. A feed that was lost is replaced by a new one, and all rows are compared once."""

    def __init__(
        self,
        endpoints: Endpoints,
        tracker: ChangeTracker,
        plan: Plan,
        progress: Progress,
        check: Callable[[], None],
        *,
        chunk_size: int,
        keeps_triggers: bool,
    ) -> None:
        self._endpoints, self._source, self._dest = endpoints, endpoints.source, endpoints.dest
        self._tracker, self.changed = tracker, tracker.changed
        self._progress, self._check = MessagesOnly(progress), check
        self._whole_progress = progress
        self.plan = _guarded(plan)
        self._chunk_size, self._keeps_triggers = chunk_size, keeps_triggers
        self._retries = Retries(endpoints, progress, check)
        self._names = [planned.table.name for planned in plan.tables]
        self._schema = self._stored()
        self.followed = Followed()
        # Until when a lost source is waited for.
        self._deadline: float | None = None
        # Of the last round: how long it took, and how many keys it had.
        self.seconds = 0.0
        self.keys = 0

    # -- one round ------------------------------------------------------------------------------------------------

    def make(self) -> int:
        """Make the destination equal to the present moment of the source; return how many rows that changed.

        After a lost connection the round begins again. Raises :exc:`MigratorError` if the destination cannot become
        equal; then it has the moment of the round before.
        """
        began = time.perf_counter()
        self._deadline = None
        while True:
            try:
                if self._tracker.has_ended:
                    self._begin_again()
                with self._tracker.in_round():
                    rows = self._retries.run(self._attempt)
                break
            except FeedLost as error:
                self._note_loss(str(error))
            except SnapshotLost as error:
                self._wait_to_retry(error, str(error))
            except Error as error:
                if not self._can_be_made_again(error):
                    raise to_migrator_error(error, (self._dest, self._source)) from error
                self._wait_to_retry(error, self._source.fault(error, "").message)
        self.followed.rounds += 1
        self.seconds = time.perf_counter() - began
        return rows

    def _can_be_made_again(self, error: Error) -> bool:
        source = self._source
        return source.owns(error) and (source.severity(error) is Severity.RETRY or source.needs_new_snapshot(error))

    def _wait_to_retry(self, error: Exception, text: str) -> None:
        self._deadline = self._deadline or time.monotonic() + self._endpoints.retry_for
        if time.monotonic() > self._deadline:
            raise error
        self._progress.message(f"  {text} Trying again in {PAUSE_SECONDS:.0f} s.")
        until = time.monotonic() + PAUSE_SECONDS
        while time.monotonic() < until:
            self._check()
            time.sleep(0.1)

    def _attempt(self) -> int:
        began_at = self._look()
        with ExitStack() as stack:
            found = find_changed(
                self.plan, self.changed, chunk_size=self._chunk_size, progress=self._whole_progress, check=self._check
            )
            for difference in found:
                stack.callback(difference.close)
            self.keys = self.changed.count(but=self._tracker.feed.unreported)
            rows = self._apply(found)
        self.followed.keys += self.keys
        self.followed.carried += self.changed.carried()
        self.changed.forget()
        self.followed.equal_at = began_at
        return rows

    def _look(self) -> dt.datetime:
        """Begin the source's next snapshot, and take the keys of the changes that it sees; return its time."""
        self.changed.settle(self._tracker.feed)  # of what was read before this snapshot
        self._tracker.feed.expect_snapshot()
        self._source.renew_snapshot(self._names)
        began_at = dt.datetime.now(dt.UTC)
        self._refuse_changed_schema()
        feed = self._tracker.feed
        query = feed.snapshot_query
        moment = feed.moment(str(self._source.fetch_value(query)) if query else "")
        feed.check(self._source)
        self._tracker.read()
        self.followed.changes = self.changed.changes
        self.changed.mark(feed.unreported)
        self.changed.take(moment)
        return began_at

    def rest(self) -> None:
        """End the snapshot until the next round: it locks tables against changes of their schema."""
        self._source.close()

    def late(self) -> dict[str, list[str]]:
        """Begin a snapshot, and return what has changed since the last round, as :attr:`Followed.late` has it."""
        try:
            with self._tracker.in_round():
                being_written = self._tracker.feed.being_written()
                self._look()
        except FeedLost as error:
            raise MigratorError(
                f"Whether anything was written after the last pass is unknown, because {error}. Call again with "
                "--update --follow."
            ) from error
        self.changed.take_all()  # of transactions, too, that are committed and not visible yet
        tables = {planned.table.name: planned.table for planned in self.plan.tables}
        unreported = self._tracker.feed.unreported
        late = {
            tables[name].label: [key_text(tables[name], text) for text, _ in self.changed.keys(name)]
            for name in self.changed.tables()
            if name not in unreported
        }
        others = [one for one in self.plan.tables if one.table.name in being_written or self._is_late(one, unreported)]
        return {planned.table.label: [] for planned in others} | late

    def _is_late(self, planned: TablePlan, unreported: Collection[str]) -> bool:
        """Whether the rows of a table differ whose changes the feed does not report."""
        if planned.table.name not in unreported:
            return False
        with closing(Difference(planned)) as difference:
            compare_table(difference, chunk_size=self._chunk_size, progress=self._progress)
            return bool(difference.update.changes)

    def _apply(self, found: Sequence[Difference]) -> int:
        apply_updates(
            self._endpoints,
            found,
            self._progress,
            self._check,
            lambda: None,
            keeps_triggers=self._keeps_triggers,
        )
        self._read_back(found)
        for difference in found:
            self.followed.add(difference.planned.table.name, difference.update)
        return sum(difference.update.changes for difference in found)

    def _read_back(self, found: Sequence[Difference]) -> None:
        """Compare the written rows once more, as the destination returns them."""
        for difference in found:
            if not difference.update.changes:
                continue
            source, dest = sides_of(difference.planned)
            with self._source.reading_everything(), self._dest.reading_everything():
                # Rewritten rows are in both lists.
                deleted = difference.keys_to_delete() if difference.update.deleted else ()
                for pages in (difference.keys_to_insert(), deleted):
                    for page in pages:
                        if other := next(compare_keys(source, dest, page), None):
                            raise MigratorError(
                                f"{difference.planned.table.label}: a row of {self._dest.alias!r} differs from its "
                                f"source after it was written ({other.kind}). Does a trigger there change it, or does "
                                "someone else write there? Disable or stop that, and call again with --update --follow."
                            )

    # -- when changes may be missing --------------------------------------------------------------------------------

    def _note_loss(self, reason: str) -> None:
        self._progress.message(f"  Changes may be missing: {reason}. Comparing all rows once.")
        self.followed.lost_feeds.append(reason)
        self._tracker.end()

    def _begin_again(self) -> None:
        """Begin a new feed, and compare all rows once: nothing is assumed about what the old one did not report."""
        # The new feed waits for transactions that write, and they may wait for a table that this snapshot locks.
        self._source.close()
        try:
            feed = self._source.open_change_feed([planned.table for planned in self.plan.tables], self._check)
        except Refused as error:
            raise MigratorError(str(error)) from error
        self._tracker.replace(feed)
        self.changed.mark(self._names)

    # -- the schema -------------------------------------------------------------------------------------------------

    def _stored(self) -> Mapping[str, Mapping[str, StoredColumn]]:
        return self._source.catalogue.stored_tables(self._names)

    def _refuse_changed_schema(self) -> None:
        now = self._stored()
        if now == self._schema:
            return
        changed = [shown_name(name) for name in self._names if now.get(name) != self._schema.get(name)]
        raise MigratorError(
            f"The schema of {self._source.alias!r} changed while it was followed: {shortened(changed, SHOWN_TABLES)}. "
            "Bring the destination and this project's code to the same migrations, and call again with "
            "--update --follow."
        )


def _guarded(plan: Plan) -> Plan:
    """Return a plan of an update whose routes check each value: rows that come later were not examined."""

    def guarded(planned: TablePlan) -> TablePlan:
        return dataclasses.replace(planned, route=planned.route.guarded())

    return dataclasses.replace(
        plan,
        request=dataclasses.replace(plan.request, mode=Mode.UPDATE),
        groups=tuple(tuple(map(guarded, group)) for group in plan.groups),
    )
