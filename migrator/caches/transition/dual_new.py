"""The phase ``dual_new``: NEW decides, OLD is asked for what NEW lacks and is kept as fresh as NEW.

Writes go to OLD first: OLD is what workers in ``dual_old`` believe, and what values are promoted from, so that every
change of NEW is followed by a look at OLD. What is not in OLD by then is taken out of NEW again.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache

from ...transitions.phases import Phase
from .readers import CacheValue
from .sides import GRACE_SECONDS, Sides

_MISSING = object()
# A write that did not reach OLD.
_FAILED = object()
_NOTHING = CacheValue(_MISSING, None)
# How often a value that others keep changing is followed, before NEW gives it up.
_ROUNDS = 10
# For these alone equality says that they are stored alike.
_PLAIN = (str, int, bytes, float, bool, type(None))
Version = int | None


class DualNew:
    """One method for each of the cache's. Values of OLD that are barred, by :mod:`.marks`, are as if not there."""

    phase = Phase.DUAL_NEW

    def __init__(self, sides: Sides) -> None:
        self.sides = sides
        self.old, self.new = sides.old, sides.new
        self._barred = sides.marks.barred
        # Where the backend has no incr of its own, Django's reads and sets, and the time left is lost.
        self._counts_itself = type(sides.new).incr is not BaseCache.incr

    # Reading

    def get(self, key: str, default: Any = None, version: Version = None) -> Any:
        value = self.new.get(key, _MISSING, version=version)
        if value is not _MISSING:
            self.sides.count("hit_new", phase=self.phase)
            return value
        value = self._ask_old(lambda: self.old.get(key, _MISSING, version=version), _MISSING)
        begun = time.monotonic()
        if value is _MISSING or self._barred([key], version):
            self.sides.count("miss", phase=self.phase)
            return default
        self.sides.count("fallback", phase=self.phase)
        self._promote([key], version, begun)
        return value

    def get_many(self, keys: Collection[str], version: Version = None) -> dict[str, Any]:
        keys = list(dict.fromkeys(keys))
        found: dict[str, Any] = self.new.get_many(keys, version=version)
        self.sides.count("hit_new", len(found), phase=self.phase)
        missing = [key for key in keys if key not in found]
        if not missing:
            return found
        older: dict[str, Any] = self._ask_old(lambda: self.old.get_many(missing, version=version), {})
        if older:
            begun = time.monotonic()
            barred = self._barred(older, version)
            older = {key: value for key, value in older.items() if key not in barred}
            self._promote(older, version, begun)
        self.sides.count("fallback", len(older), phase=self.phase)
        self.sides.count("miss", len(missing) - len(older), phase=self.phase)
        return {key: found[key] if key in found else older[key] for key in keys if key in found or key in older}

    def has_key(self, key: str, version: Version = None) -> bool:
        if self.new.has_key(key, version=version):
            return True
        is_there = self._ask_old(lambda: self.old.has_key(key, version=version), False)
        return bool(is_there) and not self._barred([key], version)

    # Writing

    def set(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Version = None) -> None:
        timeout = self._timeout(timeout)
        kept = self._on_old("set", [key], version, lambda: self.old.set(key, value, timeout, version=version))
        if timeout is not None and timeout <= 0:
            self._delete_last([key], version, kept)
            return
        self.new.set(key, value, timeout, version=version)
        if kept is not _FAILED:
            self._settle({key: value}, version)

    def set_many(self, data: Mapping[str, Any], timeout: Any = DEFAULT_TIMEOUT, version: Version = None) -> list[str]:
        data, timeout = dict(data), self._timeout(timeout)
        failed = self._on_old("set", data, version, lambda: self.old.set_many(data, timeout, version=version))
        if timeout is not None and timeout <= 0:
            self._delete_last(list(data), version, failed)
            return []
        failed_too = self.new.set_many(data, timeout, version=version) or []
        if failed is _FAILED:
            return list(failed_too)
        self._settle({key: value for key, value in data.items() if key not in failed_too}, version)
        return list(dict.fromkeys([*(failed or []), *failed_too]))

    def add(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Version = None) -> bool:
        timeout = self._timeout(timeout)
        is_first = self._on_old("add", [key], version, lambda: self.old.add(key, value, timeout, version=version))
        if is_first is _FAILED:
            return bool(self.new.add(key, value, timeout, version=version))
        if is_first:
            return self._add_second(key, value, timeout, version)
        if self.new.has_key(key, version=version):
            return False
        begun = time.monotonic()
        if self._barred([key], version):
            return bool(self.new.add(key, value, timeout, version=version))
        self._promote([key], version, begun)
        return False

    def _add_second(self, key: str, value: Any, timeout: float | None, version: Version) -> bool:
        """Add to NEW what OLD has taken: the key is ours where both took it."""
        if self.new.add(key, value, timeout, version=version):
            if timeout is None or timeout > 0:
                self._settle({key: value}, version)
            return True
        if is_same(self.new.get(key, _MISSING, version=version), value) and not self._barred([key], version):
            return True  # a reader has promoted it between our two steps, as none does with what is barred
        if is_same(self._ask_old(lambda: self.old.get(key, _MISSING, version=version), _MISSING), value):
            self._on_old("delete", [key], version, lambda: self.old.delete(key, version=version))
        return False

    def touch(self, key: str, timeout: Any = DEFAULT_TIMEOUT, version: Version = None) -> bool:
        timeout = self._timeout(timeout)
        older = self._on_old("touch", [key], version, lambda: self.old.touch(key, timeout, version=version))
        if self.new.touch(key, timeout, version=version):
            return True
        begun = time.monotonic()
        if older is _FAILED or not older or self._barred([key], version):
            return False
        self._promote([key], version, begun)
        return True

    def incr(self, key: str, delta: int = 1, version: Version = None) -> Any:
        return self._calculate("incr", key, delta, version)

    def decr(self, key: str, delta: int = 1, version: Version = None) -> Any:
        return self._calculate("decr", key, delta, version)

    def _calculate(self, name: str, key: str, delta: int, version: Version) -> Any:
        older = self._on_old(
            "count", [key], version, lambda: _number(lambda: getattr(self.old, name)(key, delta, version=version))
        )
        if self._counts_itself or older in (None, _FAILED):
            newer = _number(lambda: getattr(self.new, name)(key, delta, version=version))
            if older in (None, _FAILED) or older == newer:
                return _found(newer, key)
            if self._barred([key], version):
                return _found(newer, key)
        elif self._barred([key], version):
            return _found(_number(lambda: getattr(self.new, name)(key, delta, version=version)), key)
        self._renew([key], version)
        return older

    def incr_version(self, key: str, delta: int = 1, version: Version = None) -> Any:
        """Move a value to another version, with the time that it has left where the backends keep that."""
        first = self.new.version if version is None else version
        value = self.get(key, _MISSING, version)
        if value is _MISSING:
            raise ValueError(f"Key '{key}' not found")
        timeout: Any = DEFAULT_TIMEOUT
        if type(self.new).incr_version is not BaseCache.incr_version:
            seen = self.sides.new_reader.look([key], version).get(key)
            timeout = seen.left if seen else timeout
        self.set(key, value, timeout, first + delta)
        self.delete(key, version)
        return first + delta

    def decr_version(self, key: str, delta: int = 1, version: Version = None) -> Any:
        return self.incr_version(key, -delta, version)

    def delete(self, key: str, version: Version = None) -> bool:
        older = self._on_old("delete", [key], version, lambda: self.old.delete(key, version=version))
        newer = self.new.delete(key, version=version)
        if older is not _FAILED and self._ask_old(lambda: self.old.has_key(key, version=version), False):
            self._delete_again([key], version)
        if newer:
            return True
        return older is not _FAILED and bool(older) and not self._barred([key], version)

    def delete_many(self, keys: Collection[str], version: Version = None) -> None:
        keys = list(keys)
        first = self._on_old("delete", keys, version, lambda: self.old.delete_many(keys, version=version))
        self._delete_last(keys, version, first)

    def _delete_last(self, keys: list[str], version: Version, first: Any) -> None:
        """Delete from NEW, and look whether OLD has something again."""
        self.new.delete_many(keys, version=version)
        if first is _FAILED:
            return
        if again := self._ask_old(lambda: self.old.get_many(keys, version=version), {}):
            self._delete_again(list(again), version)

    def _delete_again(self, keys: list[str], version: Version) -> None:
        """Delete what a copy from NEW to OLD has put back between the two deletions; what was set since is in both."""
        there = self.new.get_many(keys, version=version)
        if back := [key for key in keys if key not in there]:
            self._on_old("delete", back, version, lambda: self.old.delete_many(back, version=version))
            self.new.delete_many(back, version=version)

    def clear(self) -> Any:
        """Empty NEW. What stays in OLD, for the way back, is fenced off."""
        if self.sides.clears_old:
            try:
                with self.sides.sparing(self.old):
                    self.old.clear()
                return self.new.clear()
            except Exception as error:
                self.sides.forgive(error, "clear", phase=self.phase)
        self.sides.fence()
        answer = self.new.clear()
        self.sides.marks.fence()
        return answer

    # OLD

    def _ask_old(self, ask: Callable[[], Any], otherwise: Any) -> Any:
        """Read from OLD; where it is down, that is a miss unless the options say otherwise."""
        try:
            with self.sides.sparing(self.old):
                return ask()
        except Exception as error:
            self.sides.forgive(error, "read", phase=self.phase)
            if not self.sides.misses_when_old_is_down:
                raise
            return otherwise

    def _on_old(self, what: str, keys: Iterable[str], version: Version, write: Callable[[], Any]) -> Any:
        """Write to OLD; where that fails, mark the keys before NEW is written, so that nothing earlier comes back."""
        keys = list(keys)
        try:
            with self.sides.sparing(self.old):
                answer = write()
        except Exception as error:
            self.sides.forgive(error, what, phase=self.phase)
            self.sides.marks.distrust(keys, version)
            return _FAILED
        self.sides.after_commit(lambda: self._forget(keys, version))
        return answer

    def _forget(self, keys: list[str], version: Version) -> None:
        """Delete from NEW what OLD will give again."""
        barred = self._barred(keys, version)
        self.new.delete_many([key for key in keys if key not in barred], version=version)

    def _timeout(self, timeout: Any) -> float | None:
        """Both sides keep a value as long as NEW would."""
        seconds: float | None = self.new.default_timeout if timeout is DEFAULT_TIMEOUT else timeout
        return seconds

    # Keeping NEW as OLD is

    def _settle(self, wrote: Mapping[str, Any], version: Version) -> None:
        """After NEW was written: where OLD holds another value by now, or none, NEW follows it."""
        try:
            current = self._current(wrote, version)
        except Exception as error:
            self.sides.forgive(error, "read", phase=self.phase)
            return
        others = [key for key, value in wrote.items() if not is_same(current.get(key, _MISSING), value)]
        if others:
            barred = self._barred(others, version)
            if unbarred := [key for key in others if key not in barred]:
                self._renew(unbarred, version)

    def _current(self, keys: Mapping[str, Any], version: Version) -> dict[str, Any]:
        with self.sides.sparing(self.old):
            return self.sides.reader.read(keys, version)

    def _renew(self, keys: Collection[str], version: Version) -> None:
        """Write to NEW what OLD holds, until OLD holds it still. NEW never lacks it meanwhile, for OLD may go down."""
        waiting, reader = list(keys), self.sides.reader
        self.sides.count("repaired", len(waiting), phase=self.phase)
        wrote: dict[str, tuple[CacheValue, Any]] = {}
        for _ in range(_ROUNDS if reader.can_tell else 0):
            try:
                with self.sides.sparing(self.old):
                    seen = reader.look(waiting, version)
                    values = reader.load(seen, version) if seen else {}
            except Exception as error:
                self.sides.forgive(error, "read", phase=self.phase)
                self._take_back({key: value for key, (_, value) in wrote.items() if key in waiting}, version)
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

    def _promote(self, keys: Iterable[str], version: Version, begun: float) -> None:
        """Add to NEW what OLD holds, for the time that it has left there, and look at OLD once more.

        ``begun``: when it was asked whether the keys are barred, which holds for a while.
        """
        reader = self.sides.reader
        if not reader.can_tell:
            return
        asked = time.monotonic()
        try:
            with self.sides.sparing(self.old):
                seen = {key: one for key, one in reader.look(keys, version).items() if _lasts(one)}
                values = reader.load(seen, version) if seen else {}
        except Exception as error:
            self.sides.forgive(error, "read", phase=self.phase)
            return
        added = [key for key, value in values.items() if self.new.add(key, value, seen[key].left, version=version)]
        if not added:
            return
        try:
            with self.sides.sparing(self.old):
                again = reader.look(added, version)
        except Exception as error:
            self.sides.forgive(error, "read", phase=self.phase)
            again = {}
        passed = time.monotonic() - asked
        wrong = {key for key in added if not reader.is_still(seen[key], again.get(key), passed)}
        if time.monotonic() - begun >= GRACE_SECONDS:
            wrong |= self._barred(added, version)
        if wrong:
            self._take_back({key: values[key] for key in wrong}, version)
        self.sides.count("promoted", len(added) - len(wrong), phase=self.phase)

    def _take_back(self, promoted: Mapping[str, Any], version: Version) -> None:
        """Delete from NEW what was promoted, but not what others have put in its place."""
        current = self.new.get_many(list(promoted), version=version)
        ours = [key for key, value in promoted.items() if is_same(current.get(key, _MISSING), value)]
        if ours:
            self.new.delete_many(ours, version=version)


def is_same(one: Any, other: Any) -> bool:
    """Tell whether two values are stored alike. Where it is wrong it says that they are not."""
    if one is _MISSING or other is _MISSING or type(one) is not type(other):
        return False
    if type(one) in _PLAIN:
        return bool(one == other)
    try:
        return pickle.dumps(one) == pickle.dumps(other)
    except Exception:  # a value that only the backend's own serializer knows
        return False


def _lasts(seen: CacheValue) -> bool:
    """Tell whether a value has time enough left to be written with it."""
    return seen.left is None or seen.left >= 1


def _number(calculate: Callable[[], Any]) -> Any:
    """Return None where the key is not there."""
    try:
        return calculate()
    except ValueError:
        return None


def _found(number: Any, key: str) -> Any:
    if number is None:
        raise ValueError(f"Key '{key}' not found")
    return number
