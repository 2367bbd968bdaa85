"""How far a transition of the sessions is, and whether its next step, or the step back, is safe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TypedDict, Unpack

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from ... import conf
from ...clock import MICROSECONDS_PER_SECOND
from ...console.command_line import option, positive_integer
from ...console.progress import Progress
from ...console.wording import plural
from ...errors import MigratorError, UsageError
from ...transitions.metrics_storage import Record
from ...transitions.phases import Phase, percentage_reader
from ..cached_entries import stale_before_rows
from ..comparison import MODES, SessionComparison, VerifyOptions
from ..copying.preflight import check_sight
from ..endpoints import SessionEndpoint, key_regex_of
from ..engines import TRANSITION
from ..hidden_sessions import hidden_in
from ..records import key_regex_option
from ..verification import verify_sessions
from .configuration import Transition, transition
from .same_store import same_by_server
from .session_metrics import metrics_location, session_metrics
from .sides import TransitionSide
from .step_conditions import QUIET_SECONDS, UNKNOWN, Condition, SideFound, TransitionState, moment_text, span_text

# A difference between two clocks that is reported, in microseconds.
NOTABLE = 30 * MICROSECONDS_PER_SECOND


@dataclass(frozen=True)
class ReadinessOptions:
    """How a transition is judged: each field is an option of ``session_transition`` and a keyword of its function."""

    verify: str | None = option(
        None,
        "Also compare the two stores: existence and expiry, or the data too (default: no comparison).",
        choices=MODES,
    )
    back: bool = option(False, "Check the step back instead of the next one.")
    quiet_for: int = option(
        QUIET_SECONDS,
        "For how long no event that makes the step unsafe may have been counted, at least twice the interval of the "
        "workers' counts.",
        type=positive_integer,
        metavar="SECONDS",
    )
    key_regex: str | None = key_regex_option()
    trust_pickle: bool = option(
        False, "With --verify full: load pickles of any class. Use it only if no one else can write to the cache."
    )
    reset: bool = option(False, "Delete the counts after showing them.")


class ReadinessKeywords(TypedDict, total=False):
    """The fields of :class:`ReadinessOptions`."""

    verify: str | None
    back: bool
    quiet_for: int
    key_regex: str | None
    trust_pickle: bool
    reset: bool


@dataclass(frozen=True)
class Readiness:
    """How far a transition is."""

    phase: Phase
    rollout: float
    setting: conf.Sessions
    # Both, or none if they were not opened.
    sides: tuple[SideFound, ...]
    record: Record
    # Where the metrics are stored, and why they could not be read, None if they could.
    metrics_location: str
    metrics_error: str | None
    comparison: SessionComparison | None
    mode: str | None
    conditions: tuple[Condition, ...]
    notes: tuple[str, ...] = ()
    was_reset: bool = False
    # Whether the conditions are those of the step back.
    is_back: bool = False

    @property
    def is_safe(self) -> bool:
        """Whether the step that was judged is safe."""
        return all(condition.is_met for condition in self.conditions)


def session_transition(*, progress: Progress | None = None, **keywords: Unpack[ReadinessKeywords]) -> Readiness:
    """Return how far the transition of ``MIGRATOR["SESSIONS"]`` is, and whether a step from its phase is safe.

    The keywords are the fields of :class:`ReadinessOptions`: ``verify`` is ``quick`` (existence and expiry) or ``full``
    (the data too), ``quiet_for`` is in seconds. Counts are deleted by ``reset`` after they have been read.

    Raises :exc:`UsageError` if the settings do not describe a transition.
    """
    options = ReadinessOptions(**keywords)
    change, setting = configured()
    phase = change.phase()
    share = percentage_reader(setting.ROLLOUT, name="MIGRATOR['SESSIONS']['ROLLOUT']")()
    record, metrics_error = read_record()
    keys = options.key_regex or key_regex_of(change.old.end, change.new.end)
    sides = (_found(change.old, keys), _found(change.new, keys))
    stores_differ = None if any(side.error for side in sides) else _stores_differ(change)
    comparison, stale = None, None
    if options.verify and stores_differ and stores_differ.is_met:
        comparison, stale = _compared(change, phase, sides, replace(options, key_regex=keys), progress)
    quiet, notes = quiet_enough(options.quiet_for)
    if options.reset and metrics_error is None:
        session_metrics().reset()
    state = TransitionState(
        phase,
        record,
        sides,
        stores_differ,
        comparison,
        options.verify,
        quiet,
        rollout=share if phase is Phase.DUAL_OLD else 0.0,
        stale=stale,
        has_own_regex=options.key_regex is not None,
        is_record_known=metrics_error is None,
    )
    return Readiness(
        phase=phase,
        rollout=state.rollout,
        setting=setting,
        sides=sides,
        record=record,
        metrics_location=metrics_location(),
        metrics_error=metrics_error,
        comparison=comparison,
        mode=options.verify,
        conditions=tuple(state.conditions(back=options.back)),
        notes=(*notes, *_notes(record)),
        was_reset=options.reset and metrics_error is None,
        is_back=options.back,
    )


def _compared(
    change: Transition,
    phase: Phase,
    sides: tuple[SideFound, SideFound],
    options: ReadinessOptions,
    progress: Progress | None,
) -> tuple[SessionComparison, int | None]:
    """Compare the authoritative side with the other; return also how many sessions differ in a cache before a table.

    If the sessions of OLD cannot be listed, each session of NEW is looked up there.
    """
    ends = [change.old.end, change.new.end]
    is_reversed = phase is Phase.DUAL_NEW and options.back
    if is_reversed or not sides[0].is_listed:
        ends.reverse()
    how = VerifyOptions(
        mode=options.verify or MODES[0], trust_pickle=options.trust_pickle, key_regex=options.key_regex, served=False
    )
    found = verify_sessions(source=ends[0], dest=ends[1], options=how, progress=progress).comparison
    next_authority = change.old if is_reversed else change.new if phase is Phase.DUAL_OLD and not options.back else None
    if next_authority is None:
        return found, None
    return found, stale_before_rows(next_authority.end, trust_pickle=options.trust_pickle)


def session_standing() -> Readiness:
    """Return how far the transition is, and the conditions of its next step, as far as the workers' counts show that.

    No store of sessions is opened, so :attr:`Readiness.conditions` are not all conditions. Writes nothing.

    Raises :exc:`UsageError` if the settings do not describe a transition.
    """
    change, setting = configured()
    try:
        phase, share = change.phase(), percentage_reader(setting.ROLLOUT, name="MIGRATOR['SESSIONS']['ROLLOUT']")()
        location = metrics_location()
    except ImproperlyConfigured as error:
        raise UsageError(str(error)) from error
    record, metrics_error = read_record(adds_own=False)
    quiet, _ = quiet_enough(QUIET_SECONDS)
    rollout = share if phase is Phase.DUAL_OLD else 0.0
    state = TransitionState(
        phase, record, (), None, None, None, quiet, rollout=rollout, is_record_known=metrics_error is None
    )
    return Readiness(
        phase=phase,
        rollout=rollout,
        setting=setting,
        sides=(),
        record=record,
        metrics_location=location,
        metrics_error=metrics_error,
        comparison=None,
        mode=None,
        conditions=tuple(state.conditions()),
        notes=tuple(_notes(record)),
    )


def quiet_enough(quiet_for: int) -> tuple[int, list[str]]:
    """Return ``quiet_for``, in seconds, raised to what the metrics can show, and a note if it was raised."""
    interval = session_metrics().storage.interval
    least = int(2 * interval)
    if quiet_for >= least:
        return quiet_for, []
    return least, [
        f"--quiet-for {quiet_for} is too short: workers add to their counts in {metrics_location()} every {interval:g} "
        f"seconds. Twice that, {least} seconds, was used."
    ]


def configured() -> tuple[Transition, conf.Sessions]:
    """Return the transition of the settings; raise :exc:`UsageError` if they do not describe one."""
    try:
        change, setting = transition(), conf.load().SESSIONS
        change.phase()
    except ImproperlyConfigured as error:
        raise UsageError(str(error)) from error
    assert setting is not None  # noqa: S101  (transition() has raised)
    return change, setting


def read_record(*, adds_own: bool = True) -> tuple[Record, str | None]:
    """Return what the workers counted, and the type of the error if that cannot be read.

    ``adds_own``: the counts of this process are added first.
    """
    try:
        metrics = session_metrics()
        if adds_own:
            metrics.flush()
        return metrics.read(), None
    except Exception as error:
        # A driver's message may contain credentials.
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


def _stores_differ(change: Transition) -> Condition:
    """Require that the sides are different stores, by their servers' answers."""
    text = "OLD and NEW are different stores"
    try:
        problem = same_by_server(change.old, change.new)
    except Exception as error:
        return Condition(text, False, f"{UNKNOWN} ({type(error).__name__})")
    return Condition(text, problem is None, problem or "as their servers report")


def _notes(record: Record) -> Iterator[str]:
    """Yield what operators should know before a step although no step depends on it."""
    if settings.SESSION_ENGINE != TRANSITION:
        engine = settings.SESSION_ENGINE
        yield f"SESSION_ENGINE is {engine!r} in these settings: no worker with them takes part in the transition."
    if abs(record.ahead) >= NOTABLE:
        way = "ahead of" if record.ahead > 0 else "behind"
        yield (
            f"This host's clock is {span_text(abs(record.ahead))} {way} that of {metrics_location()}, which all times "
            "in this report refer to. Sessions that this host saves expire by its own clock."
        )
    found = [count for (_, event), count in record.counts.items() if event == "changed" and count.number]
    if found:
        last = max(count.last or count.since for count in found)
        yield (
            f"JSON has changed {plural(sum(count.number for count in found), 'write')} to the store that follows, the "
            f"last {moment_text(last)}: numeric keys become strings, tuples become lists. The workers' logs list the "
            "types."
        )
