"""NEW brought to what OLD holds, in the phase ``dual_new``: by promotion, and by a check after each write."""

from __future__ import annotations

import pickle
import time
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ...stores.value_reader import SeenValue
from ...transitions.phases import Phase
from .markers import GRACE_SECONDS
from .sides import Sides

MISSING = object()
_NOTHING = SeenValue(MISSING, None)
# How often a value that other workers keep changing is copied before NEW drops it.
_ROUNDS = 10
# Only for values of these types does equality mean that they are stored alike.
_PLAIN = (str, int, bytes, float, bool, type(None))
Version = int | None


class Follower:
    """Copies values from OLD to NEW, and checks OLD again after each copy."""

    phase = Phase.DUAL_NEW

    def __init__(self, sides: Sides) -> None:
        self.sides = sides
        self.old, self.new = sides.old, sides.new

    def settle(self, wrote: Mapping[str, Any], version: Version) -> None:
        """Check OLD after NEW was written: if OLD holds another value by now, or no value, NEW takes that over."""
        try:
            with self.sides.savepoint(self.old):
                current = self.sides.reader.read(wrote, version)
        except Exception as error:
            self.sides.forgive(error, "read", phase=self.phase)
            return
        others = [key for key, value in wrote.items() if not is_same(current.get(key, MISSING), value)]
        if others:
            barred = self.sides.marks.barred(others, version)
            if unbarred := [key for key in others if key not in barred]:
                self.renew(unbarred, version)

    def renew(self, keys: Collection[str], version: Version) -> None:
        """Write what OLD holds to NEW until OLD still holds it afterwards.

        Each round reads OLD and handles the keys by what it finds:

        - unchanged since this worker wrote it to NEW: the key is done;
        - no value, or less than a second to live: the key is deleted from NEW and done;
        - any other value: it is written to NEW, and the key is read again.

        NEW never lacks a value meanwhile, as OLD may go down. A key that still changes after the last round is deleted
        from NEW; so are the values of this worker if OLD stops answering.
        """
        waiting, reader = list(keys), self.sides.reader
        self.sides.count("repaired", len(waiting), phase=self.phase)
        wrote: dict[str, tuple[SeenValue, Any]] = {}
        for _ in range(_ROUNDS if reader.can_tell else 0):
            try:
                with self.sides.savepoint(self.old):
                    seen = reader.look(waiting, version)
                    values = reader.load(seen, version) if seen else {}
            except Exception as error:
                self.sides.forgive(error, "read", phase=self.phase)
                self._delete_ours({key: value for key, (_, value) in wrote.items() if key in waiting}, version)
                return
            waiting = [key for key in waiting if key not in wrote or seen.get(key, _NOTHING)[0] != wrote[key][0][0]]
            lacking = [key for key in waiting if key not in values or not _lasts(seen[key])]
            if lacking:
                self.new.delete_many(lacking, version=version)
            waiting = [key for key in waiting if key not in lacking]
            if not waiting:
                return
            for key in waiting:
                self.new.set(key, values[key], seen[key].left, version=version)
                wrote[key] = seen[key], values[key]
        if waiting:
            self.new.delete_many(waiting, version=version)

    def promote(self, keys: Iterable[str], version: Version, barred_checked_at: float) -> None:
        """Add to NEW what OLD holds, with the time to live that it has left there, and check OLD once more.

        ``barred_checked_at``: when the markers were read, by ``time.monotonic()``; they hold for GRACE_SECONDS.
        """
        reader = self.sides.reader
        if not reader.can_tell:
            return
        asked = time.monotonic()
        try:
            with self.sides.savepoint(self.old):
                seen = {key: one for key, one in reader.look(keys, version).items() if _lasts(one)}
                values = reader.load(seen, version) if seen else {}
        except Exception as error:
            self.sides.forgive(error, "read", phase=self.phase)
            return
        added = [key for key, value in values.items() if self.new.add(key, value, seen[key].left, version=version)]
        if not added:
            return
        try:
            with self.sides.savepoint(self.old):
                again = reader.look(added, version)
        except Exception as error:
            self.sides.forgive(error, "read", phase=self.phase)
            again = {}
        passed = time.monotonic() - asked
        wrong = {key for key in added if not reader.is_still(seen[key], again.get(key), passed)}
        if time.monotonic() - barred_checked_at >= GRACE_SECONDS:
            wrong |= self.sides.marks.barred(added, version)
        if wrong:
            self._delete_ours({key: values[key] for key in wrong}, version)
        self.sides.count("promoted", len(added) - len(wrong), phase=self.phase)

    def _delete_ours(self, promoted: Mapping[str, Any], version: Version) -> None:
        """Delete from NEW what this worker put there, but not what others have written over it."""
        current = self.new.get_many(list(promoted), version=version)
        ours = [key for key, value in promoted.items() if is_same(current.get(key, MISSING), value)]
        if ours:
            self.new.delete_many(ours, version=version)


def is_same(one: Any, other: Any) -> bool:
    """Whether two values are stored alike. If it errs, it errs by returning False."""
    if one is MISSING or other is MISSING or type(one) is not type(other):
        return False
    if type(one) in _PLAIN:
        return bool(one == other)
    try:
        return pickle.dumps(one) == pickle.dumps(other)
    except Exception:  # a value that only the backend's own serializer knows
        return False


def _lasts(seen: SeenValue) -> bool:
    """Whether a value has enough time to live left to be written with it."""
    return seen.left is None or seen.left >= 1
