"""How far a transition of the sessions is, and whether its next step, or the step back, is safe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from ... import conf
from ...clock import MICROSECONDS_PER_SECOND
from ...console.progress import Progress
from ...console.wording import plural
from ...errors import MigratorError, UsageError
from ...transitions.metrics_storage import Record
from ...transitions.phases import Phase, percentage_reader
from ..cached_entries import stale_before_rows
from ..comparison import SessionComparison, VerifyOptions
from ..copying.preflight import check_sight
from ..engines import TRANSITION
from ..hidden_sessions import hidden_in
from ..places import SessionEndpoint, key_regex_of
from ..verification import verify_sessions
from .configuration import Transition, transition
from .metrics_place import place_of_tally, tally_for_sessions
from .same_server import one_place
from .sides import TransitionSide
from .step_conditions import QUIET_SECONDS, UNKNOWN, Asked, Condition, SideFound, moment_text, span_text

# A difference between two clocks that people should know of, in microseconds.
NOTABLE = 30 * MICROSECONDS_PER_SECOND


@dataclass(frozen=True)
class Readiness:
    """How far a transition is."""

    phase: Phase
    rollout: float
    setting: conf.Sessions
    sides: tuple[SideFound, SideFound]
    record: Record
    # Where the counts are kept, and why they could not be read, None where they could.
    place: str
    tally_error: str | None
    comparison: SessionComparison | None
    mode: str | None
    conditions: tuple[Condition, ...]
    notes: tuple[str, ...] = ()
    was_reset: bool = False
    # Whether the conditions are those of the step back.
    is_back: bool = False

    @property
    def is_safe(self) -> bool:
        """Whether the step that was asked for is safe."""
        return all(condition.is_met for condition in self.conditions)


def session_transition(
    *,
    verify: str | None = None,
    back: bool = False,
    quiet_for: int = QUIET_SECONDS,
    key_regex: str | None = None,
    reset: bool = False,
    trust_pickle: bool = False,
    progress: Progress | None = None,
) -> Readiness:
    """Tell how far the transition of ``MIGRATOR["SESSIONS"]`` is, and whether a step from its phase is safe.

    ``verify``: compare the two stores as well, ``quick`` (existence and expiry) or ``full`` (the data also).
    ``back``: judge the step back in place of the next one.
    ``quiet_for``: for how many seconds nothing that speaks against the step may have been counted; at least twice as
    long as workers take to add to their counts.
    ``key_regex``: what a session key looks like, as a whole; None for what the engines of both sides make.
    ``reset``: forget what was counted, after it has been told.

    Raises :exc:`UsageError` where the settings describe no transition.
    """
    change, setting = configured()
    phase = change.phase()
    share = percentage_reader(setting.ROLLOUT, name="MIGRATOR['SESSIONS']['ROLLOUT']")()
    record, tally_error = read_record()
    keys = key_regex or key_regex_of(change.old.end, change.new.end)
    sides = (_found(change.old, keys), _found(change.new, keys))
    apart = None if any(side.error for side in sides) else _are_apart(change)
    comparison, stale = None, None
    if verify and apart and apart.is_met:
        options = VerifyOptions(mode=verify, trust_pickle=trust_pickle, key_regex=keys, served=False)
        comparison, stale = _compared(change, phase, back, sides, options, progress)
    quiet, notes = quiet_enough(quiet_for)
    if reset and tally_error is None:
        tally_for_sessions().reset()
    rollout = share if phase is Phase.DUAL_OLD else 0.0
    asked = Asked(
        phase,
        record,
        sides,
        apart,
        comparison,
        verify,
        quiet,
        rollout,
        stale,
        has_own_regex=key_regex is not None,
        is_record_known=tally_error is None,
    )
    return Readiness(
        phase=phase,
        rollout=rollout,
        setting=setting,
        sides=sides,
        record=record,
        place=place_of_tally(),
        tally_error=tally_error,
        comparison=comparison,
        mode=verify,
        conditions=tuple(asked.conditions(back=back)),
        notes=(*notes, *_notes(record)),
        was_reset=reset and tally_error is None,
        is_back=back,
    )


def _compared(
    change: Transition,
    phase: Phase,
    back: bool,
    sides: tuple[SideFound, SideFound],
    options: VerifyOptions,
    progress: Progress | None,
) -> tuple[SessionComparison, int | None]:
    """Compare the side that decides with the other; return also how many sessions a cache before rows has otherwise.

    Where the sessions of OLD cannot be listed, each one of NEW is looked up there.
    """
    ends = [change.old.end, change.new.end]
    is_turned = phase is Phase.DUAL_NEW and back
    if is_turned or not sides[0].is_listed:
        ends.reverse()
    found = verify_sessions(source=ends[0], dest=ends[1], options=options, progress=progress).comparison
    next_to_decide = change.old if is_turned else change.new if phase is Phase.DUAL_OLD and not back else None
    if next_to_decide is None:
        return found, None
    return found, stale_before_rows(next_to_decide.end, trust_pickle=options.trust_pickle)


def quiet_enough(quiet_for: int) -> tuple[int, list[str]]:
    """Return for how many seconds nothing may have been counted, and what to say where that is longer than asked."""
    interval = tally_for_sessions().place.interval
    least = int(2 * interval)
    if quiet_for >= least:
        return quiet_for, []
    return least, [
        f"--quiet-for {quiet_for} is too short: workers add to their counts in {place_of_tally()} every {interval:g} "
        f"seconds, so twice that, {least} seconds, was used."
    ]


def configured() -> tuple[Transition, conf.Sessions]:
    """Return the transition of the settings; raise :exc:`UsageError` where they describe none."""
    try:
        change, setting = transition(), conf.load().SESSIONS
        change.phase()
    except ImproperlyConfigured as error:
        raise UsageError(str(error)) from error
    assert setting is not None  # noqa: S101  (transition() has raised)
    return change, setting


def read_record() -> tuple[Record, str | None]:
    """Return what the workers counted, and the kind of error where that cannot be read."""
    try:
        tally = tally_for_sessions()
        tally.flush()
        return tally.read(), None
    except Exception as error:
        # The message of a driver may tell how it connects.
        return Record({}, None), type(error).__name__


def _found(side: TransitionSide, key_regex: str) -> SideFound:
    try:
        with closing(SessionEndpoint(side.end, key_regex).open()) as store:
            check_sight(store)
            count = store.count()
            hidden = sum(found.count for found in hidden_in(store))
            return SideFound(side.name, store.label(), count, None, hidden, store.can_list_keys)
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
    if settings.SESSION_ENGINE != TRANSITION:
        yield f"SESSION_ENGINE is {settings.SESSION_ENGINE!r} in these settings: no worker with them is in any phase."
    if abs(record.ahead) >= NOTABLE:
        way = "ahead of" if record.ahead > 0 else "behind"
        yield (
            f"This host's clock is {span_text(abs(record.ahead))} {way} that of {place_of_tally()}, by which all "
            "moments here are told. Sessions that it saves end by its own."
        )
    found = [count for (_, event), count in record.counts.items() if event == "changed" and count.number]
    if found:
        last = max(count.last or count.since for count in found)
        yield (
            f"JSON has changed {plural(sum(count.number for count in found), 'write')} to the store that follows, the "
            f"last {moment_text(last)}: numbers as keys become texts, tuples lists. The workers' logs name the kinds."
        )
