"""How far a transition of the sessions is, and whether its next step is safe."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from .. import conf
from ..caches.stores.base import MICROSECONDS, now
from ..caches.tables.reading import EPOCH, MICROSECOND
from ..errors import MigratorError, UsageError
from ..phases import Phase, percentage_reader
from ..progress import Progress
from ..report import plural
from ..tally_places import Record
from .apart import one_place
from .comparison import Comparison, VerifyOptions
from .ends import open_end
from .records import CopyOptions
from .tallying import place_of_tally, tally_for_sessions
from .transition.configuration import Transition, transition
from .transition.sides import Side
from .verify import verify_sessions

QUIET_SECONDS = 300
UNKNOWN = "not known"


@dataclass(frozen=True)
class Condition:
    """What the next step asks for, whether that is so, and the figure behind the answer."""

    text: str
    is_met: bool
    figure: str


@dataclass(frozen=True)
class SideFound:
    """One of the two stores: what it is, and how many live sessions it holds, None where that cannot be told."""

    name: str
    label: str
    sessions: int | None
    # Why it could not be asked, None where it could.
    error: str | None = None


@dataclass(frozen=True)
class Standing:
    """How far a transition is."""

    phase: Phase
    rollout: float
    setting: conf.Sessions
    sides: tuple[SideFound, SideFound]
    record: Record
    # Where the counts are kept, and why they could not be read, None where they could.
    place: str
    tally_error: str | None
    comparison: Comparison | None
    mode: str | None
    conditions: tuple[Condition, ...]
    notes: tuple[str, ...] = ()
    was_reset: bool = False

    @property
    def is_safe(self) -> bool:
        """Whether the next step forward is safe."""
        return all(condition.is_met for condition in self.conditions)


def session_transition(
    *,
    verify: str | None = None,
    quiet_for: int = QUIET_SECONDS,
    reset: bool = False,
    trust_pickle: bool = False,
    progress: Progress | None = None,
) -> Standing:
    """Tell how far the transition of ``MIGRATOR["SESSIONS"]`` is, and whether its next step is safe.

    ``verify``: compare the two stores as well, ``quick`` (existence and expiry) or ``full`` (the data also).
    ``quiet_for``: for how many seconds nothing that speaks against the step may have been counted.
    ``reset``: forget what was counted, after it has been told.

    Raises :exc:`UsageError` where the settings describe no transition.
    """
    change, setting = configured()
    phase = change.phase()
    share = percentage_reader(setting.ROLLOUT, name="MIGRATOR['SESSIONS']['ROLLOUT']")()
    record, tally_error = _record()
    sides = (_found(change.old), _found(change.new))
    apart = None if any(side.error for side in sides) else _are_apart(change)
    comparison = None
    if verify and apart and apart.is_met:
        options = VerifyOptions(mode=verify, trust_pickle=trust_pickle)
        ends = {"source": change.old.end, "dest": change.new.end}
        comparison = verify_sessions(**ends, options=options, progress=progress).comparison
    if reset and tally_error is None:
        tally_for_sessions().reset()
    asked = _Asked(phase, record, sides, apart, comparison, verify, quiet_for)
    return Standing(
        phase=phase,
        rollout=share if phase is Phase.DUAL_OLD else 0.0,
        setting=setting,
        sides=sides,
        record=record,
        place=place_of_tally(),
        tally_error=tally_error,
        comparison=comparison,
        mode=verify,
        conditions=tuple(asked.conditions()),
        notes=tuple(_notes(record)),
        was_reset=reset and tally_error is None,
    )


def configured() -> tuple[Transition, conf.Sessions]:
    """Return the transition of the settings; raise :exc:`UsageError` where they describe none."""
    try:
        change, setting = transition(), conf.load().SESSIONS
        change.phase()
    except ImproperlyConfigured as error:
        raise UsageError(str(error)) from error
    assert setting is not None  # noqa: S101  (transition() has raised)
    return change, setting


def _record() -> tuple[Record, str | None]:
    try:
        tally = tally_for_sessions()
        tally.flush()
        return tally.read(), None
    except Exception as error:
        # The message of a driver may tell how it connects.
        return Record({}, None), type(error).__name__


def _found(side: Side) -> SideFound:
    try:
        with closing(open_end(side.end, CopyOptions())) as store:
            return SideFound(side.name, store.label(), store.count())
    except MigratorError as error:
        return SideFound(side.name, side.setting.ENGINE, None, str(error))
    except Exception as error:
        return SideFound(side.name, side.setting.ENGINE, None, f"it does not answer ({type(error).__name__})")


def _are_apart(change: Transition) -> Condition:
    """Ask the servers whether the sides are two places: from one no step leads anywhere."""
    text = "OLD and NEW are two places"
    try:
        problem = one_place(change)
    except Exception as error:
        return Condition(text, False, f"{UNKNOWN} ({type(error).__name__})")
    return Condition(text, problem is None, problem or "as their servers tell")


def _notes(record: Record) -> Iterator[str]:
    """Say what no step depends on, and people should know before one."""
    found = [count for (_, event), count in record.counts.items() if event == "changed" and count.number]
    if found:
        last = max(count.last or count.since for count in found)
        yield (
            f"JSON has changed {plural(sum(count.number for count in found), 'write')} to the store that follows, the "
            f"last {moment_text(last)}: numbers as keys become texts, tuples lists. The workers' logs name the kinds."
        )


def moment_text(moment: int | None) -> str:
    """Render a moment for people."""
    return UNKNOWN if moment is None else f"{EPOCH + moment * MICROSECOND:%Y-%m-%d %H:%M:%S} UTC"


def span_text(microseconds: int) -> str:
    """Render a span of time for people, in whole seconds."""
    return str(dt.timedelta(seconds=microseconds // MICROSECONDS)).removesuffix(", 0:00:00")


@dataclass(frozen=True)
class _Asked:
    """What the conditions of the next step are asked of."""

    phase: Phase
    record: Record
    sides: tuple[SideFound, SideFound]
    # None where a side does not answer.
    apart: Condition | None
    comparison: Comparison | None
    mode: str | None
    quiet_for: int

    def conditions(self) -> Iterator[Condition]:
        """Ask what the step from this phase needs."""
        for side in self.sides:
            yield Condition(f"{side.name} answers", side.error is None, side.error or side.label)
        if self.apart:
            yield self.apart
        yield self._is_no_jump()
        yield from _IN_PHASE[self.phase](self)

    def from_old(self) -> Iterator[Condition]:
        """To write both needs no worker that already lets NEW decide."""
        yield self._no_worker_in(Phase.DUAL_NEW, Phase.NEW)

    def from_dual_old(self) -> Iterator[Condition]:
        """To let NEW decide needs it to be what OLD is."""
        yield self._is_counted()
        yield self._no_worker_in(Phase.OLD, Phase.NEW)
        yield self._none_lately("shadow_error", "no error of NEW")
        yield self._is_equal()

    def from_dual_new(self) -> Iterator[Condition]:
        """To leave OLD needs nothing to be in OLD alone."""
        yield self._is_counted()
        yield self._no_worker_in(Phase.OLD, Phase.DUAL_OLD)
        yield self._none_lately("fallback", "no session was found in OLD alone")
        yield self._none_is_missing()

    def from_new(self) -> Iterator[Condition]:
        """To empty OLD needs everybody to have left it."""
        yield self._is_counted()
        yield self._no_worker_in(Phase.OLD, Phase.DUAL_OLD, Phase.DUAL_NEW)
        yield decided_long_enough(self.record)

    @property
    def _since(self) -> int:
        return now() - self.quiet_for * MICROSECONDS

    def _is_no_jump(self) -> Condition:
        """Ask that workers came here from a phase next to this one: else sessions were left behind on the way."""
        text = f"workers came to {self.phase} from a phase next to it"
        before = phase_before(self.record, self.phase)
        if before is None:
            return Condition(text, True, "none was seen in another phase")
        figure = f"{before} last {moment_text(self.record.last_seen(before))}"
        return Condition(text, before.may_become(self.phase), figure)

    def _is_counted(self) -> Condition:
        last = self.record.last_seen(self.phase)
        return Condition(f"workers were seen in {self.phase}", last is not None, f"last {moment_text(last)}")

    def _no_worker_in(self, *phases: Phase) -> Condition:
        return no_worker_in(self.record, self.quiet_for, *phases)

    def _none_lately(self, event: str, text: str) -> Condition:
        """Ask that an event has not been counted lately in this phase, and that it would have been."""
        text = f"{text} for {span_text(self.quiet_for * MICROSECONDS)}"
        count = self.record.counts.get((self.phase, event))
        if count is None:
            return Condition(text, False, UNKNOWN)
        if count.since > self._since:
            return Condition(text, False, f"counted only since {moment_text(count.since)}")
        if count.last is None:
            return Condition(text, True, f"none since {moment_text(count.since)}")
        return Condition(text, count.last <= self._since, f"{count.number:,}, the last {moment_text(count.last)}")

    def _is_equal(self) -> Condition:
        text = "every live session of OLD is in NEW, with the same expiry and data"
        found = self.comparison
        if found is None:
            return Condition(text, False, "not compared: --verify full, or quick, does")
        figure = (
            f"{found.equal:,} of {plural(found.compared, 'session')} equal, {found.missing:,} missing, "
            f"{found.extra:,} only in NEW, {found.expiry_differs:,} with other expiry"
        )
        if self.mode == "full":
            return Condition(
                text, not found.found and not found.unreadable, f"{figure}, {found.data_differs:,} with other data"
            )
        changed = self.record.counts.get((self.phase, "changed"))
        if changed and changed.number:
            return Condition(text, False, f"{figure}; JSON has changed sessions: --verify full compares the data")
        errors = self.record.counts.get((self.phase, "shadow_error"))
        if errors is None or errors.number:
            return Condition(text, False, f"{figure}; NEW has failed at times: --verify full compares the data")
        return Condition(text, not found.found, f"{figure}; the data was not compared")

    def _none_is_missing(self) -> Condition:
        text = "every live session of OLD is in NEW"
        found = self.comparison
        if found is None:
            return Condition(text, False, "not compared: --verify quick does")
        return Condition(text, not found.missing, f"{found.missing:,} of {plural(found.compared, 'session')} missing")


_IN_PHASE: dict[Phase, Callable[[_Asked], Iterator[Condition]]] = {
    Phase.OLD: _Asked.from_old,
    Phase.DUAL_OLD: _Asked.from_dual_old,
    Phase.DUAL_NEW: _Asked.from_dual_new,
    Phase.NEW: _Asked.from_new,
}


def phase_before(record: Record, phase: Phase) -> Phase | None:
    """Return the other phase that workers were seen in last, None where none was or it is not known."""
    last = {other: record.last_seen(other) or 0 for other in Phase if other is not phase}
    before = max(last, key=lambda other: last[other])
    return before if last[before] else None


def no_worker_in(record: Record, quiet_for: int, *phases: Phase) -> Condition:
    """Ask that no worker has been seen in these phases lately."""
    last = {phase: record.last_seen(phase) for phase in phases}
    lately = {phase: moment for phase, moment in last.items() if moment and moment > now() - quiet_for * MICROSECONDS}
    *others, final = phases
    named = f"{', '.join(others)} or {final}"
    text = f"no worker was in {named} for {span_text(quiet_for * MICROSECONDS)}"
    figure = ", ".join(f"{phase} last {moment_text(moment)}" for phase, moment in last.items() if moment) or "none seen"
    return Condition(text, not lately, figure)


def decided_long_enough(record: Record, days: float | None = None) -> Condition:
    """Ask that NEW has decided for a session's whole lifetime, or for ``days``."""
    needed = int((settings.SESSION_COOKIE_AGE if days is None else days * 86_400) * MICROSECONDS)
    text = f"NEW has decided, without a break, for {span_text(needed)}"
    since = record.new_decides_since
    if since is None:
        return Condition(text, False, f"since when is {UNKNOWN}")
    return Condition(text, now() - since >= needed, f"for {span_text(now() - since)}, since {moment_text(since)}")
