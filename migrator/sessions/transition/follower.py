"""The shadow made to follow the authority, one session at a time.

Whoever writes a session to the shadow looks at the authority again: what has ended there is taken back, what was saved
there meanwhile is written anew, each time only where the shadow still holds what was written here. Whoever ends a
session ends it in the authority first. So of a writer and a deleter one removes what must not stay.
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

# How often a session is followed that changes each time it is looked at; its next save brings the sides together.
ROUNDS = 6
# Two workers of different phases that repair each other's writes must not keep step.
PAUSE_SECONDS = (0.005, 0.03)
_OPTIONS = CopyOptions(trust_pickle=True)


def pause() -> None:
    """Let a worker of another phase finish."""
    time.sleep(random.uniform(*PAUSE_SECONDS))  # noqa: S311  (no secret)


class Follower:
    """Keeps ``shadow`` at what ``authority`` holds. Where ``gives_way``, workers of another phase repair first.

    ``tell_change`` is called with a key and what becomes of its session, where the shadow does not give it back equal.
    """

    def __init__(
        self,
        authority: TransitionSide,
        shadow: TransitionSide,
        *,
        tell_change: Callable[[TransitionSide, str, str], None],
        gives_way: bool = False,
    ) -> None:
        self.authority, self.shadow = authority, shadow
        self._tell_change = tell_change
        self._gives_way = gives_way
        self._made = threading.local()

    def convert(self, held: Record) -> Record | None:
        """Spell a session of the authority for the shadow; None where its time is over."""
        stores = (self.authority.store, self.shadow.store)
        if getattr(self._made, "stores", None) != stores:
            self._made.converter, self._made.stores = Converter(*stores, _OPTIONS), stores
        converter: Converter = self._made.converter
        tally = CopyCounts()
        try:
            new = converter.convert(held, tally, now())
        except Expired:
            return None
        if tally.changed_by_json:
            self._tell_change(self.shadow, held.key, "; ".join(what for _, what in tally.problems))
        return new

    def write(self, held: Record) -> int:
        """Bring the shadow to what the authority was seen to hold; return how often that took a repair."""
        new = self.convert(held)
        if new is None:
            self.shadow.delete(held.key)
            return 0
        if not self.shadow.store.update(new):
            # It was never here, or has just been ended: an end must not be undone even for a moment.
            if not self.authority.holds(held.key):
                return 0
            if not self.shadow.store.add([new]):
                self.shadow.store.update(new)
        return self.settle(held, new)[1]

    def settle(self, held: Record, written: Record) -> tuple[Record | None, int]:
        """Look at the authority again until it still holds what the shadow was given; return that, and the repairs."""
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
                return current, repairs  # whoever else wrote there knew better
            repairs += 1
            held, written = current, new
        return held, repairs
