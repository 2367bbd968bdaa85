"""Empty the store that a transition has left behind, once nobody can need it any more."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, field

from .. import conf
from ..caches.stores.base import MICROSECONDS, digest, now
from ..errors import Declined, MigratorError, Refused, UsageError
from ..outages import telling_of_outages
from ..phases import Phase
from ..progress import Progress
from ..prompts import Prompter
from ..report import plural
from ..stopping import stopping_between_pages
from .codec import Unreadable, saved_at
from .ends import open_end
from .expiry import from_data
from .passes import Check, Pace
from .records import DEFAULT_CHUNK_SIZE, MAX_PROBLEMS_LISTED, CopyOptions, End, Problem, Session
from .standing import QUIET_SECONDS, configured, decided_long_enough, no_worker_in
from .stores.base import Store
from .stores.table import TableStore
from .tallying import tally_for_sessions
from .verify import SETTLE_SECONDS

# Workers add to their counts some seconds later, and their clocks differ a little.
MARGIN = 120 * MICROSECONDS
# An age is counted from the last save and is less than this; a date is more.
_YEARS = 20 * 365 * 86_400 * MICROSECONDS


@dataclass
class Leftovers:
    """What the old store still holds. ``lost`` are sessions that NEW lacks and nothing tells why."""

    live: int = 0
    in_new: int = 0
    ended: int = 0
    lost: int = 0
    listed: list[tuple[str, str]] = field(default_factory=list)

    def lose(self, key: str, why: str) -> None:
        """Count a session that NEW lacks, and list it by digest."""
        self.lost += 1
        if len(self.listed) < MAX_PROBLEMS_LISTED:
            self.listed.append((digest(key), why))


@dataclass(frozen=True)
class ClearPlan:
    """What would be emptied, and what it holds; shown before anything is deleted."""

    place: str
    old: str
    new: str
    in_new: int | None
    leftovers: Leftovers
    reasons: tuple[str, ...]


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


@telling_of_outages()
def clear_old_sessions(
    *,
    clear: str | None = None,
    after: float | None = None,
    discard_missing: bool = False,
    quiet_for: int = QUIET_SECONDS,
    rate: int | None = None,
    chunk_size: int = DEFAULT_CHUNK_SIZE,
    dry_run: bool = False,
    progress: Progress | None = None,
    prompter: Prompter | None = None,
    show: Callable[[ClearPlan], object] | None = None,
) -> Cleared:
    """Delete every session of OLD, and none of NEW. It may be called again at any time.

    ``clear``: the place that is emptied, as ``cache:ALIAS``, ``db:ALIAS`` or ``file``, where there is nobody to ask.
    ``after``: how many days NEW must have decided, in place of SESSION_COOKIE_AGE; with 0 no record is needed.
    ``discard_missing``: delete also what NEW lacks without anything telling why.

    Raises :exc:`Refused` before the first deletion, :exc:`Declined`, and :exc:`migrator.errors.Interrupted`.
    """
    # 1. ask the phase and the record  2. open both  3. compare  4. show the plan  5. ask the person  6. delete
    progress, prompter = progress or Progress(), prompter or Prompter()
    change, _ = configured()
    if change.phase() is not Phase.NEW:
        raise Refused(f"The phase is {change.phase()}: OLD is in use. It can be emptied once the phase is new.")
    old, new = change.old.end, change.new.end
    place = _name(old)
    if clear is not None and clear != place:
        raise UsageError(f"--clear names {clear!r}, and what would be emptied is {place!r}. Nothing was deleted.")
    decided_since, reasons = _ask_record(after, quiet_for)
    with ExitStack() as stack:
        left, live = (stack.enter_context(closing(_opened(end))) for end in (old, new))
        check_apart(left, live)
        check = stack.enter_context(stopping_between_pages())
        leftovers = _compare(left, live, decided_since, chunk_size, progress, check)
        if leftovers.lost and not discard_missing:
            reasons.append(_lost_text(leftovers))
        plan = ClearPlan(place, left.label(), live.label(), live.count(), leftovers, tuple(reasons))
        if show:
            show(plan)
        if dry_run:
            return Cleared(plan, is_dry_run=True)
        if reasons:
            raise Refused("Nothing was deleted. " + " ".join(reasons))
        if clear is None and not prompter.type_to_destroy(_warning(plan), place):
            raise Declined(f"Nothing was deleted. Without a question, --clear {place} decides it.")
        started = time.monotonic()
        removed, expired = _Clearing(left, Pace(rate), chunk_size, progress, check).all(leftovers.live)
        return Cleared(plan, removed, expired, left.count(), live.count(), time.monotonic() - started)


def _name(end: End) -> str:
    return end.kind if end.alias is None else f"{end.kind}:{end.alias}"


def _opened(end: End) -> Store:
    return open_end(end, CopyOptions(trust_pickle=False))


def _ask_record(after: float | None, quiet_for: int) -> tuple[int | None, list[str]]:
    """Ask what the workers counted; return since when NEW decides, and what speaks against emptying OLD."""
    try:
        tally = tally_for_sessions()
        tally.flush()
        record = tally.read()
    except MigratorError:
        raise
    except Exception as error:
        if after == 0:
            return None, []
        return None, [f"What the workers counted cannot be read ({type(error).__name__}); --after 0 goes on without."]
    asked = [no_worker_in(record, quiet_for, Phase.OLD, Phase.DUAL_OLD, Phase.DUAL_NEW)]
    if after != 0:
        asked.append(decided_long_enough(record, after))
    return record.new_decides_since, [
        f"It is not so that {item.text} ({item.figure})." for item in asked if not item.is_met
    ]


def check_apart(old: Store, new: Store) -> None:
    """Raise :exc:`Refused` where the two are one place, or OLD may not be emptied."""
    if old.identities() & new.identities():
        raise Refused(f"OLD and NEW are the same place: {new.label()}. Nothing was deleted.")
    if isinstance(old, TableStore):
        old.spare_shadow_of(new)
        if isinstance(new, TableStore) and new.before:
            old.spare_shadow_of(new.before)
    for alias in sorted(old.databases() & set(conf.load().PROTECTED)):
        raise Refused(f"MIGRATOR['PROTECTED'] names the database {alias!r}; nothing in it may be deleted.")
    if not old.can_list_keys:
        raise Refused(f"The sessions of {old.label()} cannot be listed; they end there by themselves.")


def _compare(
    old: Store, new: Store, decided_since: int | None, size: int, progress: Progress, check: Check
) -> Leftovers:
    """Look every live session of OLD up in NEW; what is missing is looked at again after a while."""
    found = Leftovers()
    with progress.task("compared", old.count(), unit="sessions") as task:
        for page in old.pages(size):
            found.live += len(page)
            there = new.present([session.key for session in page])
            absent = [session for session in page if session.key not in there]
            found.in_new += len(page) - len(absent)
            if absent:
                time.sleep(SETTLE_SECONDS)
                there, moment = new.present([session.key for session in absent]), now()
                for session in absent:
                    _sort_out(session, session.key in there, old, decided_since, moment, found)
            task.advance(len(page))
            check()
    return found


def _sort_out(
    session: Session, is_in_new: bool, old: Store, decided_since: int | None, moment: int, found: Leftovers
) -> None:
    if is_in_new:
        found.in_new += 1
        return
    if session.expires is not None and session.expires <= moment:
        found.live -= 1
        return
    saved = _saved(session, old)
    # Whoever saved it after NEW began to decide has saved it in NEW as well: there it has ended since.
    if saved is not None and decided_since is not None and saved > decided_since + MARGIN:
        found.ended += 1
        return
    found.lose(session.key, "NEW does not have it, and nothing tells whether it ever had")


def _saved(session: Session, store: Store) -> int | None:
    """Return when a session was last saved, to the second below; None where nothing tells."""
    if store.keeps_text:
        second = saved_at(str(session.payload))
        return None if second is None else second * MICROSECONDS
    if session.expires is None:
        return None
    try:
        age = from_data(store.load(session), store.engine, 0)
    except (Unreadable, Problem):
        return None
    return session.expires - age if age < _YEARS else None


def _lost_text(found: Leftovers) -> str:
    return (
        f"{plural(found.lost, 'live session')} of OLD {'is' if found.lost == 1 else 'are'} not in NEW, and nothing "
        "tells that they were ended there. Copy them, or delete them with --discard-missing if they were."
    )


def _warning(plan: ClearPlan) -> str:
    found = plan.leftovers
    return (
        f"All sessions of {plan.old} will be deleted: {found.live:,} live ones, of which {found.in_new:,} are in NEW "
        f"as well, {found.ended:,} have ended there, and {found.lost:,} are nowhere else. "
        f"NEW stays as it is: {plan.new}."
    )


class _Clearing:
    """The deletion, page by page."""

    def __init__(self, store: Store, pace: Pace, size: int, progress: Progress, check: Check) -> None:
        self._store, self._pace, self._size, self._progress, self._check = store, pace, size, progress, check

    def all(self, live: int) -> tuple[int, int]:
        """Delete everything; return how many live and how many expired sessions that were."""
        with self._progress.task("deleted", live, unit="sessions") as task:
            removed = self._live(self._store, task.advance)
            expired = 0
            while count := self._store.discard_expired(self._size):
                expired += count
                self._step(count)
        if isinstance(self._store, TableStore) and self._store.before and self._store.before.can_list_keys:
            self._live(self._store.before, lambda count: None)  # what it holds of rows that are gone
        return removed, expired

    def _live(self, store: Store, tick: Callable[[int], None]) -> int:
        removed = 0
        for page in store.pages(self._size):
            removed += len(store.discard(page))
            tick(len(page))
            self._step(len(page))
        return removed

    def _step(self, count: int) -> None:
        self._pace.wait(count)
        self._check()
