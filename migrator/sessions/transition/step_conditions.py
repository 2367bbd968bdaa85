"""The conditions of a step between two phases, forward or back, and whether each is met."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from django.conf import settings

from ...clock import MICROSECONDS_PER_SECOND, to_datetime
from ...console.wording import plural
from ...transitions.metrics_storage import Record
from ...transitions.phases import Phase
from ..comparison import SessionComparison

QUIET_SECONDS = 300
UNKNOWN = "unknown"
EMPTY_OLD, EMPTY_NEW = "clear_old_sessions --side old", "clear_old_sessions --side new"
# In the phase new: a step back does not wait for a session's whole lifetime, and what NEW lacks is what has to go.
EMPTY_OLD_IN_NEW = "clear_old_sessions --after 0 --discard-missing"


@dataclass(frozen=True)
class Condition:
    """What a step requires, whether that is so, the figure behind the answer, and what to do if it is not met."""

    text: str
    is_met: bool
    figure: str
    advice: str = ""


@dataclass(frozen=True)
class SideFound:
    """One of the two stores: what it is, and how many live sessions it holds, None if that is unknown."""

    name: str
    label: str
    sessions: int | None
    # Why it could not be read, None if it could.
    error: str | None = None
    # How many keys have the prefix of its sessions but do not look like one; and whether its sessions can be listed.
    hidden: int = 0
    is_listed: bool = True


def moment_text(moment: int | None) -> str:
    """Return microseconds of Unix time as text in UTC."""
    return UNKNOWN if moment is None else f"{to_datetime(moment):%Y-%m-%d %H:%M:%S} UTC"


def span_text(microseconds: int) -> str:
    """Return a time span as text, in its two largest units: ``5 minutes``, ``13 days 4 hours``."""
    minutes, seconds = divmod(microseconds // MICROSECONDS_PER_SECOND, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    units = {"day": days, "hour": hours, "minute": minutes, "second": seconds}
    return " ".join([plural(count, unit) for unit, count in units.items() if count][:2]) or plural(0, "second")


@dataclass(frozen=True)
class TransitionState:
    """What the conditions of a step are checked against."""

    phase: Phase
    record: Record
    # Both, or none if they were not opened.
    sides: tuple[SideFound, ...]
    # Whether OLD and NEW are different stores; None if a side does not answer.
    stores_differ: Condition | None
    comparison: SessionComparison | None
    mode: str | None
    quiet_for: int
    rollout: float = 0.0
    # How many sessions differ between the table of the side that becomes authoritative and the cache before it;
    # None without such a cache.
    stale: int | None = None
    # Whether the operator chose the pattern of session keys, and so knows what it leaves out.
    has_own_regex: bool = False
    # Whether the metrics could be read: what is unknown counts against a step.
    is_record_known: bool = True

    def conditions(self, *, back: bool = False) -> Iterator[Condition]:
        """Yield the conditions of the step forward from this phase, or of the step back."""
        for side in self.sides:
            yield Condition(f"{side.name} answers", side.error is None, side.error or side.label)
            if side.hidden and not self.has_own_regex:
                yield _none_is_hidden(side)
        if self.stores_differ:
            yield self.stores_differ
        yield self._no_phase_was_skipped()
        yield from (_BACK if back else _FORWARD)[self.phase](self)

    def from_old(self) -> Iterator[Condition]:
        """To write both stores, no worker may treat NEW as authoritative already."""
        yield self._no_worker_in(Phase.DUAL_NEW, Phase.NEW)

    def from_dual_old(self) -> Iterator[Condition]:
        """To make NEW authoritative, it must hold what OLD holds."""
        yield self._workers_were_seen()
        yield self._no_worker_in(Phase.OLD, Phase.NEW)
        yield self._none_lately("shadow_error", "no error of NEW")
        yield self._is_equal("OLD", "NEW") if self._is_old_listed else self._new_is_not_older()
        yield from self._none_is_stale("NEW")

    def from_dual_new(self) -> Iterator[Condition]:
        """To leave OLD, no session may be only in OLD."""
        yield self._workers_were_seen()
        yield self._no_worker_in(Phase.OLD, Phase.DUAL_OLD)
        if self._is_old_listed:
            yield self._none_lately("fallback", "no session was found only in OLD")
            yield self._none_is_missing()
        else:
            yield self._none_lately("fallback", "no session was found only in OLD", settings.SESSION_COOKIE_AGE)

    def from_new(self) -> Iterator[Condition]:
        """To empty OLD, all workers must have left it."""
        yield self._workers_were_seen()
        yield self._no_worker_in(Phase.OLD, Phase.DUAL_OLD, Phase.DUAL_NEW)
        yield new_decided_long_enough(self.record)

    def back_from_old(self) -> Iterator[Condition]:
        """To go back to the engine before the transition, no worker may write to NEW."""
        yield self._no_worker_in(Phase.DUAL_OLD, Phase.DUAL_NEW, Phase.NEW)

    def back_from_dual_old(self) -> Iterator[Condition]:
        """To go back to OLD alone, NEW may not be authoritative for any key."""
        if self.rollout:
            advice = "Set ROLLOUT to 0 first: workers in old do not read NEW, which is authoritative for these keys."
            yield Condition("ROLLOUT is 0", False, f"{self.rollout:g} %", advice)
        yield self._workers_were_seen()
        yield self._no_worker_in(Phase.DUAL_NEW, Phase.NEW)

    def back_from_dual_new(self) -> Iterator[Condition]:
        """To make OLD authoritative again, it must hold what NEW holds."""
        yield self._workers_were_seen()
        yield self._no_worker_in(Phase.OLD, Phase.NEW)
        yield self._none_lately("shadow_error", "no error of OLD")
        yield self._is_equal("NEW", "OLD")
        yield from self._none_is_stale("OLD")

    def back_from_new(self) -> Iterator[Condition]:
        """To read OLD again for what NEW lacks, OLD may not hold a session that was deleted."""
        yield self._workers_were_seen()
        yield self._no_worker_in(Phase.OLD, Phase.DUAL_OLD)
        if not self._is_old_listed:
            yield self._none_lately("shadow_error", "no error of OLD", settings.SESSION_COOKIE_AGE)
            return
        yield self._none_is_missing("Users may have logged out of sessions that are only in OLD; they would be back.")

    @property
    def _is_old_listed(self) -> bool:
        """Whether OLD's sessions can be compared with NEW's; if not, each session of NEW is looked up in OLD."""
        return not self.sides or self.sides[0].is_listed or self.sides[0].error is not None

    def _no_phase_was_skipped(self) -> Condition:
        """Require that workers came here from an adjacent phase; otherwise sessions were left behind."""
        text = f"workers came to {self.phase} from an adjacent phase"
        if not self.is_record_known:
            return Condition(text, False, UNKNOWN)
        before = self.record.last_phase(other_than=self.phase)
        if before is None:
            return Condition(text, True, "none was seen in another phase")
        figure = f"{before} last {moment_text(self.record.last_seen(before))}"
        advice = (
            f"A phase between {before} and {self.phase} was skipped, and sessions were left behind: deploy it first. "
            "If the counts are those of an earlier transition, delete them with session_transition --reset."
        )
        return Condition(text, before.may_become(self.phase), figure, advice)

    def _workers_were_seen(self) -> Condition:
        last = self.record.last_seen(self.phase)
        none = "none seen" if self.is_record_known else UNKNOWN
        figure = none if last is None else f"last {moment_text(last)}"
        return Condition(f"workers were seen in {self.phase}", last is not None, figure)

    def _no_worker_in(self, *phases: Phase) -> Condition:
        found = no_worker_in(self.record, self.quiet_for, *phases)
        return found if self.is_record_known else replace(found, is_met=False, figure=UNKNOWN)

    def _none_lately(self, event: str, text: str, seconds: int | None = None) -> Condition:
        """Require that an event was not counted lately in this phase, although it would have been."""
        seconds = self.quiet_for if seconds is None else max(seconds, self.quiet_for)
        span = seconds * MICROSECONDS_PER_SECOND
        since, text = self.record.read_at - span, f"{text} for {span_text(span)}"
        count = self.record.counts.get((self.phase, event))
        if count is None:
            return Condition(text, False, UNKNOWN)
        if count.since > since:
            return Condition(text, False, f"counted only since {moment_text(count.since)}")
        if count.last is None:
            return Condition(text, True, f"none since {moment_text(count.since)}")
        return Condition(text, count.last <= since, f"{count.number:,}, the last {moment_text(count.last)}")

    def _is_equal(self, authority: str, follower: str) -> Condition:
        text = f"every live session of {authority} is in {follower}, with the same expiry and data"
        found = self.comparison
        if found is None:
            how = "run with --verify full" if authority == "OLD" else "run with --verify full, or quick"
            return Condition(text, False, self._not_compared(how))
        figure = (
            f"{found.equal:,} of {plural(found.compared, 'session')} equal, {found.missing:,} missing, "
            f"{found.extra:,} only in {follower}, {found.expiry_differs:,} with another expiry"
        )
        advice = self._advice(authority, follower)
        if self.mode == "full":
            is_equal = not found.found and not found.unreadable
            return Condition(text, is_equal, f"{figure}, {found.data_differs:,} with other data", advice)
        changed = self.record.counts.get((self.phase, "changed"))
        if changed and changed.number:
            return Condition(text, False, f"{figure}; JSON has changed sessions: --verify full compares the data")
        errors = self.record.counts.get((self.phase, "shadow_error"))
        if errors is None or errors.number:
            return Condition(
                text, False, f"{figure}; {follower} has failed at times: --verify full compares the data", advice
            )
        if authority == "OLD":
            # During the deploy of dual_old, a worker still in old may have saved what NEW got from another; if its
            # expiry is a fixed date, only the data shows it.
            return Condition(text, False, f"{figure}; the data was not compared: run with --verify full", advice)
        return Condition(text, not found.found, f"{figure}; the data was not compared", advice)

    def _not_compared(self, how: str) -> str:
        return f"not compared: {'both stores must answer and differ' if self.mode else how}"

    def _new_is_not_older(self) -> Condition:
        """Require, if OLD's sessions cannot be listed, that NEW's are up to date: what NEW lacks is moved on demand."""
        text = "every live session of NEW is in OLD, with the same data"
        found = self.comparison
        if found is None:
            return Condition(text, False, self._not_compared("run with --verify full"))
        figure = f"{found.equal:,} of {plural(found.compared, 'session')} equal, {found.missing:,} missing in OLD"
        if self.mode != "full":
            return Condition(text, False, f"{figure}; the data was not compared: run with --verify full")
        is_equal = not (found.missing or found.data_differs or found.unreadable)
        advice = f"Empty NEW ({EMPTY_NEW}): its sessions are moved again when they are read."
        return Condition(text, is_equal, f"{figure}, {found.data_differs:,} with other data", advice)

    def _none_is_stale(self, side: str) -> Iterator[Condition]:
        """Require that the cache before a side's table, which the engine reads first, matches the rows."""
        if self.stale is not None:
            empty = EMPTY_NEW if side == "NEW" else EMPTY_OLD
            advice = f"The engine reads that cache first. Empty {side} with its cache ({empty}), and copy again."
            yield Condition(
                f"the cache before the table of {side} matches its rows",
                not self.stale,
                f"{plural(self.stale, 'session')} with other data, or without a row",
                advice,
            )

    def _advice(self, authority: str, follower: str) -> str:
        """Return how to make both sides equal, as far as the figures show what is wrong."""
        found = self.comparison
        copy = f"copy the sessions of {authority} to {follower} with --overwrite-older"
        if found is None or not found.found:
            return ""
        if found.extra:
            return (
                f"{plural(found.extra, 'session')} only in {follower} would be back: {follower} missed their logout or "
                f"expiry in {authority}. Empty {follower} ({EMPTY_NEW if follower == 'NEW' else EMPTY_OLD}), then "
                f"{copy}."
            )
        return f"{copy[0].upper()}{copy[1:]}, and compare again."

    def _none_is_missing(self, why: str = "") -> Condition:
        text = "every live session of OLD is in NEW"
        found = self.comparison
        if found is None:
            return Condition(text, False, self._not_compared("run with --verify quick"))
        advice = f"{why} Empty OLD first: {EMPTY_OLD_IN_NEW}." if why else ""
        figure = f"{found.missing:,} of {plural(found.compared, 'session')} missing"
        return Condition(text, not found.missing, figure, advice)


_FORWARD: dict[Phase, Callable[[TransitionState], Iterator[Condition]]] = {
    Phase.OLD: TransitionState.from_old,
    Phase.DUAL_OLD: TransitionState.from_dual_old,
    Phase.DUAL_NEW: TransitionState.from_dual_new,
    Phase.NEW: TransitionState.from_new,
}
_BACK: dict[Phase, Callable[[TransitionState], Iterator[Condition]]] = {
    Phase.OLD: TransitionState.back_from_old,
    Phase.DUAL_OLD: TransitionState.back_from_dual_old,
    Phase.DUAL_NEW: TransitionState.back_from_dual_new,
    Phase.NEW: TransitionState.back_from_new,
}


def _none_is_hidden(side: SideFound) -> Condition:
    return Condition(
        f"every key of {side.name} with the prefix of sessions looks like a session's",
        False,
        f"{plural(side.hidden, 'key')} {'does' if side.hidden == 1 else 'do'} not",
        "They were neither counted nor compared: pass the pattern of session keys with --key-regex.",
    )


def no_worker_in(record: Record, quiet_for: int, *phases: Phase) -> Condition:
    """Require that no worker was seen in these phases for ``quiet_for`` seconds."""
    last = {phase: record.last_seen(phase) for phase in phases}
    since = record.read_at - quiet_for * MICROSECONDS_PER_SECOND
    lately = {phase: moment for phase, moment in last.items() if moment and moment > since}
    *others, final = phases
    named = f"{', '.join(others)} or {final}"
    text = f"no worker was in {named} for {span_text(quiet_for * MICROSECONDS_PER_SECOND)}"
    figure = ", ".join(f"{phase} last {moment_text(moment)}" for phase, moment in last.items() if moment) or "none seen"
    return Condition(text, not lately, figure)


def new_decided_long_enough(record: Record, days: float | None = None) -> Condition:
    """Require that NEW was authoritative for a session's whole lifetime, or for ``days``."""
    needed = int((settings.SESSION_COOKIE_AGE if days is None else days * 86_400) * MICROSECONDS_PER_SECOND)
    text = f"NEW has been authoritative, without interruption, for {span_text(needed)}"
    since = record.new_decides_since
    if since is None:
        return Condition(text, False, "the start was not recorded")
    passed = record.read_at - since
    return Condition(text, passed >= needed, f"for {span_text(passed)}, since {moment_text(since)}")
