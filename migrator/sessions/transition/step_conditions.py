"""What a step between two phases needs, forward or back, and whether that is so."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from django.conf import settings

from ...clock import MICROSECONDS_PER_SECOND, to_datetime
from ...console.wording import plural
from ...transitions.metrics_storage import Record
from ...transitions.phases import Phase
from ..comparison import SessionComparison

QUIET_SECONDS = 300
UNKNOWN = "not known"
EMPTY_OLD, EMPTY_NEW = "clear_old_sessions --side old", "clear_old_sessions --side new"


@dataclass(frozen=True)
class Condition:
    """What a step asks for, whether that is so, the figure behind the answer, and what to do where it is not."""

    text: str
    is_met: bool
    figure: str
    advice: str = ""


@dataclass(frozen=True)
class SideFound:
    """One of the two stores: what it is, and how many live sessions it holds, None where that cannot be told."""

    name: str
    label: str
    sessions: int | None
    # Why it could not be asked, None where it could.
    error: str | None = None
    # How many keys begin as its sessions do and do not look like one; and whether its sessions can be listed at all.
    hidden: int = 0
    is_listed: bool = True


def moment_text(moment: int | None) -> str:
    """Render a moment for people."""
    return UNKNOWN if moment is None else f"{to_datetime(moment):%Y-%m-%d %H:%M:%S} UTC"


def span_text(microseconds: int) -> str:
    """Render a span of time for people, in whole seconds."""
    return str(dt.timedelta(seconds=microseconds // MICROSECONDS_PER_SECOND)).removesuffix(", 0:00:00")


@dataclass(frozen=True)
class Asked:
    """What the conditions of a step are asked of."""

    phase: Phase
    record: Record
    sides: tuple[SideFound, SideFound]
    # None where a side does not answer.
    apart: Condition | None
    comparison: SessionComparison | None
    mode: str | None
    quiet_for: int
    rollout: float = 0.0
    # How many sessions the cache before the rows of the side that is to decide holds otherwise, None without one.
    stale: int | None = None
    # Whether the keys' shape was the operator's choice, who knows what it leaves out.
    has_own_regex: bool = False
    # Whether the counts could be read: what is not known speaks against a step.
    is_record_known: bool = True

    def conditions(self, *, back: bool = False) -> Iterator[Condition]:
        """Ask what the step from this phase needs: forward, or back."""
        for side in self.sides:
            yield Condition(f"{side.name} answers", side.error is None, side.error or side.label)
            if side.hidden and not self.has_own_regex:
                yield _none_is_hidden(side)
        if self.apart:
            yield self.apart
        yield self._is_no_jump()
        yield from (_BACK if back else _FORWARD)[self.phase](self)

    def from_old(self) -> Iterator[Condition]:
        """To write both needs no worker that already lets NEW decide."""
        yield self._no_worker_in(Phase.DUAL_NEW, Phase.NEW)

    def from_dual_old(self) -> Iterator[Condition]:
        """To let NEW decide needs it to be what OLD is."""
        yield self._is_counted()
        yield self._no_worker_in(Phase.OLD, Phase.NEW)
        yield self._none_lately("shadow_error", "no error of NEW")
        yield self._is_equal("OLD", "NEW") if self._is_old_listed else self._new_is_not_older()
        yield from self._none_is_stale("NEW")

    def from_dual_new(self) -> Iterator[Condition]:
        """To leave OLD needs nothing to be in OLD alone."""
        yield self._is_counted()
        yield self._no_worker_in(Phase.OLD, Phase.DUAL_OLD)
        if self._is_old_listed:
            yield self._none_lately("fallback", "no session was found in OLD alone")
            yield self._none_is_missing()
        else:
            yield self._none_lately("fallback", "no session was found in OLD alone", settings.SESSION_COOKIE_AGE)

    def from_new(self) -> Iterator[Condition]:
        """To empty OLD needs everybody to have left it."""
        yield self._is_counted()
        yield self._no_worker_in(Phase.OLD, Phase.DUAL_OLD, Phase.DUAL_NEW)
        yield decided_long_enough(self.record)

    def back_from_old(self) -> Iterator[Condition]:
        """To go back to the engine that there was before needs no worker that writes NEW."""
        yield self._no_worker_in(Phase.DUAL_OLD, Phase.DUAL_NEW, Phase.NEW)

    def back_from_dual_old(self) -> Iterator[Condition]:
        """To go back to OLD alone needs NEW to decide for nobody."""
        if self.rollout:
            advice = "Set ROLLOUT to 0 first: workers in old do not ask NEW, which decides for these keys."
            yield Condition("ROLLOUT is 0", False, f"{self.rollout:g} %", advice)
        yield self._is_counted()
        yield self._no_worker_in(Phase.DUAL_NEW, Phase.NEW)

    def back_from_dual_new(self) -> Iterator[Condition]:
        """To let OLD decide again needs it to be what NEW is."""
        yield self._is_counted()
        yield self._no_worker_in(Phase.OLD, Phase.NEW)
        yield self._none_lately("shadow_error", "no error of OLD")
        yield self._is_equal("NEW", "OLD")
        yield from self._none_is_stale("OLD")

    def back_from_new(self) -> Iterator[Condition]:
        """To ask OLD again for what NEW does not have needs OLD to hold nothing that has ended."""
        yield self._is_counted()
        yield self._no_worker_in(Phase.OLD, Phase.DUAL_OLD)
        if not self._is_old_listed:
            yield self._none_lately("shadow_error", "no error of OLD", settings.SESSION_COOKIE_AGE)
            return
        yield self._none_is_missing("Sessions that are in OLD alone may have ended in NEW, and would be back.")

    @property
    def _is_old_listed(self) -> bool:
        """Whether OLD's sessions can be compared with NEW's; else each session of NEW is looked up in OLD."""
        return self.sides[0].is_listed or self.sides[0].error is not None

    def _is_no_jump(self) -> Condition:
        """Ask that workers came here from a phase next to this one: else sessions were left behind on the way."""
        text = f"workers came to {self.phase} from a phase next to it"
        if not self.is_record_known:
            return Condition(text, False, UNKNOWN)
        before = phase_before(self.record, self.phase)
        if before is None:
            return Condition(text, True, "none was seen in another phase")
        figure = f"{before} last {moment_text(self.record.last_seen(before))}"
        return Condition(text, before.may_become(self.phase), figure)

    def _is_counted(self) -> Condition:
        last = self.record.last_seen(self.phase)
        return Condition(f"workers were seen in {self.phase}", last is not None, f"last {moment_text(last)}")

    def _no_worker_in(self, *phases: Phase) -> Condition:
        found = no_worker_in(self.record, self.quiet_for, *phases)
        return found if self.is_record_known else replace(found, is_met=False, figure=UNKNOWN)

    def _none_lately(self, event: str, text: str, seconds: int | None = None) -> Condition:
        """Ask that an event has not been counted lately in this phase, and that it would have been."""
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

    def _is_equal(self, decider: str, follower: str) -> Condition:
        text = f"every live session of {decider} is in {follower}, with the same expiry and data"
        found = self.comparison
        if found is None:
            return Condition(text, False, self._not_compared("--verify full, or quick, does"))
        figure = (
            f"{found.equal:,} of {plural(found.compared, 'session')} equal, {found.missing:,} missing, "
            f"{found.extra:,} only in {follower}, {found.expiry_differs:,} with other expiry"
        )
        advice = self._advice(decider, follower)
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
        return Condition(text, not found.found, f"{figure}; the data was not compared", advice)

    def _not_compared(self, what_does: str) -> str:
        return f"not compared: {'two stores that answer are needed' if self.mode else what_does}"

    def _new_is_not_older(self) -> Condition:
        """Ask of sides of which OLD's sessions cannot be listed: what NEW lacks is moved when it is asked for."""
        text = "every live session of NEW is in OLD, with the same data"
        found = self.comparison
        if found is None:
            return Condition(text, False, self._not_compared("--verify full does"))
        figure = f"{found.equal:,} of {plural(found.compared, 'session')} equal, {found.missing:,} missing in OLD"
        if self.mode != "full":
            return Condition(text, False, f"{figure}; the data was not compared: --verify full does")
        is_equal = not (found.missing or found.data_differs or found.unreadable)
        advice = f"Empty NEW ({EMPTY_NEW}): its sessions are moved again when they are asked for."
        return Condition(text, is_equal, f"{figure}, {found.data_differs:,} with other data", advice)

    def _none_is_stale(self, side: str) -> Iterator[Condition]:
        """Ask that the cache before a side's rows, which the engine reads first, holds what the rows say."""
        if self.stale is not None:
            empty = EMPTY_NEW if side == "NEW" else EMPTY_OLD
            advice = f"The engine reads that cache first. Empty {side} with its cache ({empty}), and copy once more."
            yield Condition(
                f"the cache before the table of {side} holds what its rows say",
                not self.stale,
                f"{plural(self.stale, 'session')} otherwise, or without a row",
                advice,
            )

    def _advice(self, decider: str, follower: str) -> str:
        """Say what brings the two sides together, as far as the figures show what is wrong."""
        found = self.comparison
        copy = f"copy the sessions of {decider} to {follower} with --overwrite-older"
        if found is None or not found.found:
            return ""
        if found.extra:
            return (
                f"{plural(found.extra, 'session')} in {follower} alone ended in {decider} without {follower} being "
                f"told, and would be back: empty {follower} ({EMPTY_NEW if follower == 'NEW' else EMPTY_OLD}), then "
                f"{copy}."
            )
        return f"{copy[0].upper()}{copy[1:]}, and compare again."

    def _none_is_missing(self, why: str = "") -> Condition:
        text = "every live session of OLD is in NEW"
        found = self.comparison
        if found is None:
            return Condition(text, False, self._not_compared("--verify quick does"))
        advice = f"{why} Empty OLD first: {EMPTY_OLD}." if why else ""
        figure = f"{found.missing:,} of {plural(found.compared, 'session')} missing"
        return Condition(text, not found.missing, figure, advice)


_FORWARD: dict[Phase, Callable[[Asked], Iterator[Condition]]] = {
    Phase.OLD: Asked.from_old,
    Phase.DUAL_OLD: Asked.from_dual_old,
    Phase.DUAL_NEW: Asked.from_dual_new,
    Phase.NEW: Asked.from_new,
}
_BACK: dict[Phase, Callable[[Asked], Iterator[Condition]]] = {
    Phase.OLD: Asked.back_from_old,
    Phase.DUAL_OLD: Asked.back_from_dual_old,
    Phase.DUAL_NEW: Asked.back_from_dual_new,
    Phase.NEW: Asked.back_from_new,
}


def _none_is_hidden(side: SideFound) -> Condition:
    return Condition(
        f"every key of {side.name} that begins like a session's looks like one",
        False,
        f"{plural(side.hidden, 'key')} {'does' if side.hidden == 1 else 'do'} not",
        "They were neither counted nor compared: say with --key-regex what the keys of sessions look like.",
    )


def phase_before(record: Record, phase: Phase) -> Phase | None:
    """Return the other phase that workers were seen in last, None where none was or it is not known."""
    last = {other: record.last_seen(other) or 0 for other in Phase if other is not phase}
    before = max(last, key=lambda other: last[other])
    return before if last[before] else None


def no_worker_in(record: Record, quiet_for: int, *phases: Phase) -> Condition:
    """Ask that no worker has been seen in these phases lately."""
    last = {phase: record.last_seen(phase) for phase in phases}
    since = record.read_at - quiet_for * MICROSECONDS_PER_SECOND
    lately = {phase: moment for phase, moment in last.items() if moment and moment > since}
    *others, final = phases
    named = f"{', '.join(others)} or {final}"
    text = f"no worker was in {named} for {span_text(quiet_for * MICROSECONDS_PER_SECOND)}"
    figure = ", ".join(f"{phase} last {moment_text(moment)}" for phase, moment in last.items() if moment) or "none seen"
    return Condition(text, not lately, figure)


def decided_long_enough(record: Record, days: float | None = None) -> Condition:
    """Ask that NEW has decided for a session's whole lifetime, or for ``days``."""
    needed = int((settings.SESSION_COOKIE_AGE if days is None else days * 86_400) * MICROSECONDS_PER_SECOND)
    text = f"NEW has decided, without a break, for {span_text(needed)}"
    since = record.new_decides_since
    if since is None:
        return Condition(text, False, f"since when is {UNKNOWN}")
    passed = record.read_at - since
    return Condition(text, passed >= needed, f"for {span_text(passed)}, since {moment_text(since)}")
