"""The shadow kept up to date with the authority, one session at a time.

A worker that writes a session to the shadow checks the authority afterwards. If the session was deleted there, the
write is undone; if it was saved there meanwhile, it is written again. Both happen only if the shadow still holds what
this worker wrote. A worker that deletes a session deletes it in the authority first. So of a writer and a deleter, one
removes what must not stay.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

from ...clock import now
from ...stores.base import Record
from ...stores.copying.page_copier import Expired
from ...stores.copying.records import CopyCounts
from ..convert import Converter
from ..records import CopyOptions
from .sides import TransitionSide

# How often a session that changes at each check is followed; its next save makes the sides equal.
ROUNDS = 6
# Two workers of different phases that repair each other's writes must not run in lockstep.
PAUSE_SECONDS = (0.005, 0.03)
_OPTIONS = CopyOptions(trust_pickle=True)


def pause() -> None:
    """Wait a moment for a worker of another phase to finish."""
    time.sleep(random.uniform(*PAUSE_SECONDS))  # noqa: S311  (no secret)


class Follower:
    """Keeps ``shadow`` up to date with ``authority``. With ``gives_way``, workers of another phase repair first.

    ``report_change(side, key, what)`` is called for a session that the shadow cannot hold unchanged.
    """

    def __init__(
        self,
        authority: TransitionSide,
        shadow: TransitionSide,
        *,
        report_change: Callable[[TransitionSide, str, str], None],
        gives_way: bool = False,
    ) -> None:
        self.authority, self.shadow = authority, shadow
        self._report_change = report_change
        self._gives_way = gives_way
        self._made = threading.local()

    def convert(self, held: Record) -> Record | None:
        """Return a session of the authority in the format of the shadow; None if it has expired."""
        stores = (self.authority.store, self.shadow.store)
        if getattr(self._made, "stores", None) != stores:
            self._made.converter, self._made.stores = Converter(*stores, _OPTIONS), stores
        converter: Converter = self._made.converter
        counts = CopyCounts()
        try:
            new = converter.convert(held, counts, now())
        except Expired:
            return None
        if counts.changed_by_json:
            self._report_change(self.shadow, held.key, "; ".join(what for _, what in counts.problems))
        return new

    def write(self, held: Record) -> int:
        """Write to the shadow what the authority was seen to hold; return how many repairs followed."""
        new = self.convert(held)
        if new is None:
            self.shadow.delete(held.key)
            return 0
        if not self.shadow.store.update(new):
            # It was never here, or has just been deleted: a deletion must not be undone even for a moment.
            if not self.authority.holds(held.key):
                return 0
            if not self.shadow.store.add([new]):
                self.shadow.store.update(new)
        return self.settle(held, new)[1]

    def settle(self, held: Record, written: Record) -> tuple[Record | None, int]:
        """Check the authority until it still holds what the shadow was given.

        Returns the authority's session, None if it was deleted, and the number of repairs.
        """
        repairs = 0
        for attempt in range(ROUNDS):
            current = self.authority.fetch(held.key)
            if current is None:
                return None, repairs + len(self.shadow.store.discard([written]))
            if self.authority.store.same(current, held):
                break
            if self._gives_way and attempt == 0:
                pause()
                continue
            new = self.convert(current)
            if new is None or not self.shadow.store.replace([(written, new)]):
                return current, repairs  # another worker has written there since
            repairs += 1
            held, written = current, new
        return held, repairs
