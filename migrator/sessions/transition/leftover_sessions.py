"""The sessions of a store that is to be emptied, compared with the one that stays."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from ...clock import MICROSECONDS_PER_SECOND, now
from ...console.progress import Progress
from ...stores.base import Record, RecordProblem, digest
from ...stores.copying.passes import Check
from ...stores.copying.records import MAX_PROBLEMS_LISTED
from ..codec import UnreadableSession, saved_at
from ..expiry import age_from_data
from ..stores.base import BaseSessionStore

# A session that seems to be missing may be in the middle of a save.
SETTLE_SECONDS = 0.5
# Workers add their counts some seconds later, and their clocks differ slightly.
MARGIN = 120 * MICROSECONDS_PER_SECOND


@dataclass
class Leftovers:
    """How many sessions the store to be emptied holds.

    ``in_new`` are also in the store that stays, ``ended`` were deleted there, and ``lost`` are missing there for an
    unknown reason. ``listed``: the lost ones, as the digest of the key and the reason.
    """

    live: int = 0
    in_new: int = 0
    ended: int = 0
    lost: int = 0
    listed: list[tuple[str, str]] = field(default_factory=list)

    def add_lost(self, key: str, why: str) -> None:
        """Count a session as missing in the store that stays, and list it by digest."""
        self.lost += 1
        if len(self.listed) < MAX_PROBLEMS_LISTED:
            self.listed.append((digest(key), why))


def look_up_leftovers(
    old: BaseSessionStore,
    new: BaseSessionStore,
    stays: str,
    decided_since: int | None,
    size: int,
    progress: Progress,
    check: Check,
) -> Leftovers:
    """Look up every live session of ``old`` in ``new``; those that are missing are looked up again after a while."""
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
                    _classify(session, session.key in there, old, stays, decided_since, moment, found)
            task.advance(len(page))
            check()
    return found


def _classify(
    session: Record,
    is_in_new: bool,
    old: BaseSessionStore,
    stays: str,
    decided_since: int | None,
    moment: int,
    found: Leftovers,
) -> None:
    if is_in_new:
        found.in_new += 1
        return
    if session.expires is not None and session.expires <= moment:
        found.live -= 1
        return
    saved = _saved(session, old)
    # A worker that saved it after the other store became authoritative saved it there too: it was deleted there since.
    if saved is not None and decided_since is not None and saved > decided_since + MARGIN:
        found.ended += 1
        return
    found.add_lost(session.key, f"not in {stays}; unknown whether it ever was")


def _saved(session: Record, store: BaseSessionStore) -> int | None:
    """Return when a session was last saved, in microseconds of Unix time with full seconds; None if that is unknown."""
    if store.keeps_text:
        second = saved_at(str(session.raw))
        return None if second is None else second * MICROSECONDS_PER_SECOND
    if session.expires is None:
        return None
    try:
        age = age_from_data(store.load(session), store.engine)
    except (UnreadableSession, RecordProblem):
        return None
    return None if age is None else session.expires - age
