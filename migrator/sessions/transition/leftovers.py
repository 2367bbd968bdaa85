"""What a store that is to be emptied holds, compared with the one that stays."""

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

# A session that seems to be missing may be just being saved.
SETTLE_SECONDS = 0.5
# Workers add to their counts some seconds later, and their clocks differ a little.
MARGIN = 120 * MICROSECONDS_PER_SECOND


@dataclass
class Leftovers:
    """What the store to be emptied holds.

    ``in_new`` are in the store that stays as well, ``ended`` have ended there, ``lost`` are sessions that it lacks and
    nothing tells why.
    """

    live: int = 0
    in_new: int = 0
    ended: int = 0
    lost: int = 0
    listed: list[tuple[str, str]] = field(default_factory=list)

    def lose(self, key: str, why: str) -> None:
        """Count a session that the store that stays lacks, and list it by digest."""
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
    """Look every live session of the one store up in the other; what is missing is looked at again after a while."""
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
                    _sort_out(session, session.key in there, old, stays, decided_since, moment, found)
            task.advance(len(page))
            check()
    return found


def _sort_out(
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
    # Whoever saved it after the other store began to decide has saved it there as well: there it has ended since.
    if saved is not None and decided_since is not None and saved > decided_since + MARGIN:
        found.ended += 1
        return
    found.lose(session.key, f"{stays} does not have it, and nothing tells whether it ever had")


def _saved(session: Record, store: BaseSessionStore) -> int | None:
    """Return when a session was last saved, to the second below; None where nothing tells."""
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
