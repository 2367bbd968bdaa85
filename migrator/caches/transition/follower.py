"""Each of two caches brought to what the other holds, in the phase ``dual_new``.

NEW follows OLD, by promotion and by a check after each write. Behind the fence, where no value of OLD is believed, OLD
follows NEW instead: on the way back it is emptied, and filled by a copy that adds what OLD lacks.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any

from ...stores.value_reader import SeenValue
from ...transitions.phases import Phase
from .markers import GRACE_SECONDS
from .sides import Sides

MISSING = object()
_NOTHING = SeenValue(MISSING, None)
# How often a value that other workers keep changing is copied before NEW drops it.
_ROUNDS = 10
# How often a write is repeated behind the fence; a value that OLD's serializer changes never is what was written.
_REPETITIONS = 3
# Only for values of these types does equality mean that they are stored alike.
_PLAIN = (str, int, bytes, float, bool, type(None))
Version = int | None


class Follower:
    """Copies values from OLD to NEW, and checks OLD again after each copy."""

    phase = Phase.DUAL_NEW

    def __init__(self, sides: Sides) -> None:
        self.sides = sides
        self.old, self.new = sides.old, sides.new

    def settle(self, wrote: Mapping[str, Any], version: Version, repeat: Callable[[list[str]], bool]) -> None:
        """Check OLD after NEW was written: if OLD holds another value by now, or no value, NEW takes that over.

        Values of barred keys are written once more instead: OLD may have been emptied after the write, or filled by a
        copy with what NEW held before it. ``repeat`` writes those keys, and returns whether to check again.
        """
        for _ in range(_REPETITIONS):
            try:
                with self.sides.savepoint(self.old):
                    current = self.sides.reader.read(wrote, version)
            except Exception as error:
                self.sides.forgive(error, "read", phase=self.phase)
                return
            others = [key for key, value in wrote.items() if not is_same(current.get(key, MISSING), value)]
            if not others:
                return
            barred = self.sides.marks.barred(others, version)
            if unbarred := [key for key in others if key not in barred]:
                self.renew(unbarred, version)
            wrote = {key: wrote[key] for key in others if key in barred}
            if not wrote or not repeat(list(wrote)):
                return

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

    def give_back(self, key: str, version: Version) -> bool:
        """Add to OLD what only NEW has, behind the fence; return whether OLD should be asked again.

        So a change that needs a value is made to both. Otherwise a copy could add the value as it was before the change
        after OLD was asked. Without the fence nothing is added: a worker in ``dual_old`` that deletes the key checks
        nothing afterwards.
        """
        reader, marks = self.sides.new_reader, self.sides.marks
        asked = time.monotonic()
        if not reader.can_tell or not marks.is_fenced():
            return False
        for _ in range(_ROUNDS):
            seen = reader.look([key], version)
            if key not in seen or not _lasts(seen[key]):
                return False
            value, left, looked = reader.load(seen, version)[key], seen[key].left, time.monotonic()
            is_added = self._change_old(partial(self.old.add, key, value, left, version=version))
            if not is_added:
                return is_added is not None
            again = reader.look([key], version).get(key)
            is_in_time = time.monotonic() - asked < GRACE_SECONDS or marks.is_fenced()
            if is_in_time and reader.is_still(seen[key], again, time.monotonic() - looked):
                return True
            self._change_old(partial(self._delete_from_old, key, value, version))
            if not is_in_time:
                return False
        return False

    def _change_old(self, change: Callable[[], Any]) -> Any:
        """Change OLD; return None if it is down."""
        try:
            with self.sides.savepoint(self.old):
                return change()
        except Exception as error:
            self.sides.forgive(error, "add", phase=self.phase)
            return None

    def _delete_from_old(self, key: str, value: Any, version: Version) -> None:
        if is_same(self.old.get(key, MISSING, version=version), value):
            self.old.delete(key, version=version)

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
