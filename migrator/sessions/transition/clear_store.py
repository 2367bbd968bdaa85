"""Empty the store that a transition has left behind, or the one that only follows so that it can be copied to again."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import TypedDict, Unpack

from ...console.command_line import days, option, positive_integer
from ...console.interrupts import stopping_between_pages
from ...console.progress import Progress
from ...console.prompts import Prompter
from ...console.wording import plural
from ...errors import Declined, MigratorError, Refused, UsageError
from ...server_errors import reporting_outages
from ...stores.copying.passes import Check, Pace
from ...stores.copying.preflight import check_not_protected, check_stores_differ
from ...transitions.metrics_storage import Record
from ...transitions.phases import Phase, percentage_reader
from ..copying.preflight import check_sight
from ..endpoints import SessionEndpoint, key_regex_of
from ..hidden_sessions import hidden_in
from ..records import End, Hidden, chunk_size_option, key_regex_option
from ..stores.base import BaseSessionStore
from ..stores.table import SessionTableStore
from .leftover_sessions import Leftovers, look_up_leftovers
from .readiness import configured, quiet_enough
from .session_metrics import session_metrics
from .step_conditions import QUIET_SECONDS, new_decided_long_enough, no_worker_in


@dataclass(frozen=True)
class ClearOptions:
    """What is deleted, and when: each field is an option of ``clear_old_sessions`` and a keyword of its function."""

    side: str | None = option(
        None,
        "Empty the store that only follows, so that it can be copied to again: new in the phases old and dual_old, "
        "old in dual_new (default: OLD in the phase new).",
        choices=("old", "new"),
    )
    clear: str | None = option(
        None,
        "The store to empty, as cache:ALIAS, db:ALIAS or file, instead of typing it at the prompt.",
        metavar="STORE",
    )
    after: float | None = option(
        None,
        "For how many days NEW must have been authoritative (default: SESSION_COOKIE_AGE); with 0 no counts are "
        "needed.",
        type=days,
        metavar="DAYS",
    )
    discard_missing: bool = option(False, "Also delete live sessions that the other store lacks for an unknown reason.")
    quiet_for: int = option(
        QUIET_SECONDS,
        "For how long no worker may have been seen in a phase that needs the store, at least twice the interval of "
        "the workers' counts.",
        type=positive_integer,
        metavar="SECONDS",
    )
    key_regex: str | None = key_regex_option()
    dry_run: bool = option(False, "Compare, show the plan and stop.")
    rate: int | None = option(None, "Delete at most N sessions per second.", type=positive_integer, metavar="N")
    chunk_size: int = chunk_size_option()


class ClearKeywords(TypedDict, total=False):
    """The fields of :class:`ClearOptions`."""

    side: str | None
    clear: str | None
    after: float | None
    discard_missing: bool
    quiet_for: int
    key_regex: str | None
    dry_run: bool
    rate: int | None
    chunk_size: int


@dataclass(frozen=True)
class ClearPlan:
    """What would be emptied, and what it holds; shown before anything is deleted.

    ``store``: the store to be emptied, in the format of ``--clear``. ``label`` and ``label_of_stays`` describe the two
    stores; ``in_new`` is the number of live sessions in the one that stays.
    """

    store: str
    label: str
    label_of_stays: str
    in_new: int | None
    leftovers: Leftovers
    reasons: tuple[str, ...]
    # OLD or NEW.
    emptied: str = "OLD"
    notes: tuple[str, ...] = ()
    hidden: tuple[Hidden, ...] = ()
    # How many keys have the prefix of its sessions but are not sessions.
    other_keys: int = 0
    # Whether workers write to it meanwhile, as they do to the store that follows.
    is_followed: bool = False

    @property
    def stays(self) -> str:
        """The store that is not emptied."""
        return "OLD" if self.emptied == "NEW" else "NEW"

    @property
    def old(self) -> str:
        """The description of OLD."""
        return self.label if self.emptied == "OLD" else self.label_of_stays

    @property
    def new(self) -> str:
        """The description of NEW."""
        return self.label_of_stays if self.emptied == "OLD" else self.label


@dataclass(frozen=True)
class Cleared:
    """What was deleted, and what remains."""

    plan: ClearPlan
    removed: int = 0
    expired: int = 0
    remaining: int | None = None
    in_new: int | None = None
    seconds: float = 0.0
    is_dry_run: bool = False


@reporting_outages()
def clear_old_sessions(
    *,
    progress: Progress | None = None,
    prompter: Prompter | None = None,
    show: Callable[[ClearPlan], object] | None = None,
    **keywords: Unpack[ClearKeywords],
) -> Cleared:
    """Delete every session of OLD and none of NEW, or the other way round. It may be called again at any time.

    The keywords are the fields of :class:`ClearOptions`. ``side`` is ``old`` or ``new``, the store that only follows in
    this phase; None empties OLD in ``new``, when no worker needs it any more.

    Raises :exc:`Refused` before the first deletion, :exc:`Declined`, and :exc:`migrator.errors.Interrupted`.
    """
    # 1. read the phase and the metrics  2. open both  3. compare  4. show the plan  5. ask  6. delete
    options, progress, prompter = ClearOptions(**keywords), progress or Progress(), prompter or Prompter()
    change, setting = configured()
    phase, share = change.phase(), percentage_reader(setting.ROLLOUT, name="MIGRATOR['SESSIONS']['ROLLOUT']")()
    target = _target(phase, options.side, share)
    ends = (change.new.end, change.old.end) if target.emptied == "NEW" else (change.old.end, change.new.end)
    store = _name(ends[0])
    if options.clear is not None and options.clear != store:
        raise UsageError(f"--clear names {options.clear!r}, but {store!r} would be emptied. Nothing was deleted.")
    decided_since, reasons, notes = _check_metrics(target, options.after, options.quiet_for)
    regex = options.key_regex or key_regex_of(*ends)
    with ExitStack() as stack:
        left, live = (stack.enter_context(closing(SessionEndpoint(end, regex).open())) for end in ends)
        check_may_be_emptied(left, live)
        check_sight(left, live)
        check = stack.enter_context(stopping_between_pages())
        leftovers = look_up_leftovers(left, live, target.stays, decided_since, options.chunk_size, progress, check)
        if leftovers.lost and not options.discard_missing:
            reasons.append(_lost_text(leftovers, target))
        plan = _plan(target, store, left, live, leftovers, reasons, notes)
        if show:
            show(plan)
        if options.dry_run:
            return Cleared(plan, is_dry_run=True)
        if reasons:
            raise Refused("Nothing was deleted. " + " ".join(reasons))
        if options.clear is None and not prompter.type_to_destroy(_warning(plan), store):
            raise Declined(f"Nothing was deleted. To delete without being asked, pass --clear {store}.")
        started = time.monotonic()
        size = min(options.chunk_size, options.rate or options.chunk_size)
        deletion = _Deletion(left, Pace(options.rate), size, progress, check)
        removed, expired = deletion.all(leftovers.live)
        return Cleared(plan, removed, expired, left.count(), live.count(), time.monotonic() - started)


@dataclass(frozen=True)
class _Target:
    """Which side is emptied, in which phases a worker would need it, and whether workers write to it meanwhile."""

    emptied: str
    needed_in: tuple[Phase, ...]
    is_followed: bool

    @property
    def stays(self) -> str:
        return "OLD" if self.emptied == "NEW" else "NEW"


def _target(phase: Phase, side: str | None, share: float) -> _Target:
    """Return what to empty; raise :exc:`Refused` for the authoritative side, or one that workers may still read."""
    if phase is Phase.NEW and side in (None, "old"):
        return _Target("OLD", (Phase.OLD, Phase.DUAL_OLD, Phase.DUAL_NEW), is_followed=False)
    if phase is Phase.DUAL_NEW and side == "old":
        return _Target("OLD", (Phase.OLD, Phase.DUAL_OLD), is_followed=True)
    if phase in (Phase.OLD, Phase.DUAL_OLD) and side == "new":
        if share and phase is Phase.DUAL_OLD:
            raise Refused(
                f"ROLLOUT is {share:g}: NEW is authoritative for these keys. Set it to 0 first. Nothing was deleted."
            )
        return _Target("NEW", (Phase.DUAL_NEW, Phase.NEW), is_followed=phase is Phase.DUAL_OLD)
    if side == "new":
        raise Refused(f"The phase is {phase}: NEW is authoritative and cannot be emptied. Nothing was deleted.")
    follower = "--side old" if phase is Phase.DUAL_NEW else "--side new"
    raise Refused(
        f"The phase is {phase}: OLD is in use. It can be emptied when the phase is new. To empty the store that only "
        f"follows in {phase}, before it is copied to again, pass {follower}. Nothing was deleted."
    )


def _plan(
    target: _Target,
    store: str,
    left: BaseSessionStore,
    live: BaseSessionStore,
    leftovers: Leftovers,
    reasons: list[str],
    notes: list[str],
) -> ClearPlan:
    """Return the plan to empty ``left``, named ``store``, while ``live`` stays."""
    hidden = hidden_in(left)
    return ClearPlan(
        store,
        left.label(),
        live.label(),
        live.count(),
        leftovers,
        tuple(reasons),
        emptied=target.emptied,
        notes=tuple(notes),
        hidden=hidden,
        other_keys=max(len(left.hidden) - sum(found.count for found in hidden), 0),
        is_followed=target.is_followed,
    )


def _name(end: End) -> str:
    return end.kind if end.alias is None else f"{end.kind}:{end.alias}"


def _check_metrics(target: _Target, after: float | None, quiet_for: int) -> tuple[int | None, list[str], list[str]]:
    """Check what the workers counted.

    Returns since when the side that stays is authoritative, in microseconds of Unix time, the reasons not to empty the
    other one, and notes.
    """
    try:
        metrics = session_metrics()
        metrics.flush()
        record = metrics.read()
    except MigratorError:
        raise
    except Exception as error:
        if after == 0:
            return None, [], []
        kind = type(error).__name__
        return None, [f"The workers' counts cannot be read ({kind}). Pass --after 0 to continue without them."], []
    quiet, notes = quiet_enough(quiet_for)
    conditions = [no_worker_in(record, quiet, *target.needed_in)]
    if after != 0 and not target.is_followed and target.emptied == "OLD":
        conditions.append(new_decided_long_enough(record, after))
    since = record.new_decides_since if target.emptied == "OLD" else _old_decides_since(record)
    return since, [f"Condition not met: {item.text} ({item.figure})." for item in conditions if not item.is_met], notes


def _old_decides_since(record: Record) -> int | None:
    """Return when NEW was last seen authoritative; 0 if it never was although events were counted, None if unknown."""
    if not record.counts:
        return None
    return max((record.last_seen(phase) or 0 for phase in Phase if phase.new_decides), default=0)


def check_may_be_emptied(emptied: BaseSessionStore, stays: BaseSessionStore) -> None:
    """Raise :exc:`Refused` if the two are the same store, or if ``emptied`` is protected or cannot be listed."""
    check_stores_differ(emptied, stays, "OLD and NEW", " Nothing was deleted.")
    if isinstance(emptied, SessionTableStore):
        emptied.spare_front_cache(stays)
        if isinstance(stays, SessionTableStore) and stays.front_cache:
            emptied.spare_front_cache(stays.front_cache)
    check_not_protected(emptied, consequence="nothing in it may be deleted")
    if not emptied.can_list_keys:
        raise Refused(f"The sessions of {emptied.label()} cannot be listed; they expire there by themselves.")


def _lost_text(found: Leftovers, target: _Target) -> str:
    verb = "is" if found.lost == 1 else "are"
    return (
        f"{plural(found.lost, 'live session')} of {target.emptied} {verb} not in {target.stays}, and the counts do not "
        "show that they were deleted there. Copy them, or pass --discard-missing if they were deleted."
    )


def _warning(plan: ClearPlan) -> str:
    found = plan.leftovers
    return (
        f"All sessions of {plan.label} will be deleted: {found.live:,} live ones, of which {found.in_new:,} are in "
        f"{plan.stays} as well, {found.ended:,} were deleted there since, and {found.lost:,} are nowhere else. "
        f"{plan.stays} is left unchanged: {plan.label_of_stays}."
    )


class _Deletion:
    """The deletion, page by page."""

    def __init__(self, store: BaseSessionStore, pace: Pace, size: int, progress: Progress, check: Check) -> None:
        self._store, self._pace, self._size, self._progress, self._check = store, pace, size, progress, check

    def all(self, live: int) -> tuple[int, int]:
        """Delete all sessions; return how many live and how many expired ones were deleted."""
        with self._progress.task("deleted", live, unit="sessions") as task:
            removed = self._live(self._store, task.advance)
            expired = 0
            while count := self._store.discard_expired(self._size):
                expired += count
                self._step(count)
        if (
            isinstance(self._store, SessionTableStore)
            and self._store.front_cache
            and self._store.front_cache.can_list_keys
        ):
            self._live(self._store.front_cache, lambda count: None)  # its entries of rows that are gone
        return removed, expired

    def _live(self, store: BaseSessionStore, tick: Callable[[int], None]) -> int:
        removed = 0
        for page in store.pages(self._size):
            removed += len(store.discard(page))
            tick(len(page))
            self._step(len(page))
        return removed

    def _step(self, count: int) -> None:
        self._pace.wait(count)
        self._check()
