"""The phase ``dual_new``: NEW is authoritative, and OLD is kept as fresh as NEW and asked for what NEW lacks.

Writes go to OLD first. Workers in ``dual_old`` read OLD, and values are promoted from it, so each change of NEW is
followed by a check of OLD. What is not in OLD by then is deleted from NEW again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache

from ...transitions.phases import Phase
from .follower import MISSING, Follower, is_same
from .sides import Sides

# The result of a write that did not reach OLD.
_FAILED = object()
Version = int | None


class DualNew:
    """One method for each of the cache's. Values of OLD that :mod:`.marks` bars are treated as missing."""

    phase = Phase.DUAL_NEW

    def __init__(self, sides: Sides) -> None:
        self.sides = sides
        self.old, self.new = sides.old, sides.new
        self._follower = Follower(sides)
        self._barred = sides.marks.barred
        # Django's own incr() reads and sets, and loses the time to live that is left.
        self._has_own_incr = type(sides.new).incr is not BaseCache.incr

    # Reading

    def get(self, key: str, default: Any = None, version: Version = None) -> Any:
        value = self.new.get(key, MISSING, version=version)
        if value is not MISSING:
            self.sides.count("hit_new", phase=self.phase)
            return value
        value = self._ask_old(lambda: self.old.get(key, MISSING, version=version), MISSING)
        checked_at = time.monotonic()
        if value is MISSING or self._barred([key], version):
            self.sides.count("miss", phase=self.phase)
            return default
        self.sides.count("fallback", phase=self.phase)
        self._follower.promote([key], version, checked_at)
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
            checked_at = time.monotonic()
            barred = self._barred(older, version)
            older = {key: value for key, value in older.items() if key not in barred}
            self._follower.promote(older, version, checked_at)
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

        def write_old() -> Any:
            return self._on_old("set", [key], version, lambda: self.old.set(key, value, timeout, version=version))

        def write_both(_: list[str]) -> bool:
            kept = write_old()
            self.new.set(key, value, timeout, version=version)
            return kept is not _FAILED

        if timeout is not None and timeout <= 0:
            self._delete_last([key], version, write_old())
        elif write_both([key]):
            self._follower.settle({key: value}, version, write_both)

    def set_many(self, data: Mapping[str, Any], timeout: Any = DEFAULT_TIMEOUT, version: Version = None) -> list[str]:
        data, timeout = dict(data), self._timeout(timeout)

        def write_old(some: Mapping[str, Any]) -> Any:
            return self._on_old("set", some, version, lambda: self.old.set_many(some, timeout, version=version))

        def write_both(keys: list[str]) -> bool:
            some = {key: data[key] for key in keys}
            kept = write_old(some)
            self.new.set_many(some, timeout, version=version)
            return kept is not _FAILED

        failed = write_old(data)
        if timeout is not None and timeout <= 0:
            self._delete_last(list(data), version, failed)
            return []
        failed_too = self.new.set_many(data, timeout, version=version) or []
        if failed is _FAILED:
            return list(failed_too)
        wrote = {key: value for key, value in data.items() if key not in failed_too}
        self._follower.settle(wrote, version, write_both)
        return list(dict.fromkeys([*(failed or []), *failed_too]))

    def add(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Version = None) -> bool:
        timeout = self._timeout(timeout)

        def add_to_old() -> Any:
            return self._on_old("add", [key], version, lambda: self.old.add(key, value, timeout, version=version))

        is_first = add_to_old()
        if is_first is _FAILED:
            return bool(self.new.add(key, value, timeout, version=version))
        if is_first:
            return self._add_second(key, value, timeout, version, lambda _: add_to_old() not in (False, _FAILED))
        if self.new.has_key(key, version=version):
            return False
        checked_at = time.monotonic()
        if self._barred([key], version):
            return self._add_over(key, value, timeout, version)
        self._follower.promote([key], version, checked_at)
        return False

    def _add_over(self, key: str, value: Any, timeout: float | None, version: Version) -> bool:
        """Add to NEW, and then write over what OLD holds, which is barred."""

        def write_old(_: list[str]) -> bool:
            kept = self._on_old("add", [key], version, lambda: self.old.set(key, value, timeout, version=version))
            return kept is not _FAILED

        is_added = bool(self.new.add(key, value, timeout, version=version))
        if is_added and (timeout is None or timeout > 0):
            self._follower.settle({key: value}, version, write_old)
        return is_added

    def _add_second(
        self, key: str, value: Any, timeout: float | None, version: Version, add_to_old: Callable[[list[str]], bool]
    ) -> bool:
        """Add to NEW what OLD has accepted; the add succeeds if both accept it."""
        if self.new.add(key, value, timeout, version=version):
            if timeout is None or timeout > 0:
                self._follower.settle({key: value}, version, add_to_old)
            return True
        if is_same(self.new.get(key, MISSING, version=version), value) and not self._barred([key], version):
            return True  # a reader has promoted it between the two steps, which no reader does with a barred key
        if is_same(self._ask_old(lambda: self.old.get(key, MISSING, version=version), MISSING), value):
            self._on_old("delete", [key], version, lambda: self.old.delete(key, version=version))
            self._follower.give_back(key, version)
        return False

    def touch(self, key: str, timeout: Any = DEFAULT_TIMEOUT, version: Version = None) -> bool:
        timeout = self._timeout(timeout)
        if timeout is not None and timeout <= 0:
            return self.delete(key, version)

        def touch_old() -> Any:
            return self._on_old("touch", [key], version, lambda: self.old.touch(key, timeout, version=version))

        older = touch_old()
        if not older and self._follower.give_back(key, version):
            older = touch_old()
        if self.new.touch(key, timeout, version=version):
            return True
        checked_at = time.monotonic()
        if older is _FAILED or not older or self._barred([key], version):
            return False
        self._follower.promote([key], version, checked_at)
        return True

    def incr(self, key: str, delta: int = 1, version: Version = None) -> Any:
        return self._calculate("incr", key, delta, version)

    def decr(self, key: str, delta: int = 1, version: Version = None) -> Any:
        return self._calculate("decr", key, delta, version)

    def _calculate(self, name: str, key: str, delta: int, version: Version) -> Any:
        def count_in_old() -> Any:
            return self._on_old(
                "count", [key], version, lambda: _number(lambda: getattr(self.old, name)(key, delta, version=version))
            )

        older = count_in_old()
        if older is None and self._follower.give_back(key, version):
            older = count_in_old()
        if self._has_own_incr or older in (None, _FAILED):
            newer = _number(lambda: getattr(self.new, name)(key, delta, version=version))
            if older in (None, _FAILED) or older == newer:
                return _found(newer, key)
            if self._barred([key], version):
                return _found(newer, key)
        elif self._barred([key], version):
            return _found(_number(lambda: getattr(self.new, name)(key, delta, version=version)), key)
        self._follower.renew([key], version)
        return older

    def incr_version(self, key: str, delta: int = 1, version: Version = None) -> Any:
        """Move a value to another version, with the time to live that is left if the backends keep that."""
        first = self.new.version if version is None else version
        value = self.get(key, MISSING, version)
        if value is MISSING:
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
        """Delete from NEW, and check whether OLD holds any of the keys again."""
        self.new.delete_many(keys, version=version)
        if first is _FAILED:
            return
        if again := self._ask_old(lambda: self.old.get_many(keys, version=version), {}):
            self._delete_again(list(again), version)

    def _delete_again(self, keys: list[str], version: Version) -> None:
        """Delete what a copy from NEW to OLD restored between the two deletions; what was set since is in both."""
        there = self.new.get_many(keys, version=version)
        if back := [key for key in keys if key not in there]:
            self._on_old("delete", back, version, lambda: self.old.delete_many(back, version=version))
            self.new.delete_many(back, version=version)

    def clear(self) -> Any:
        """Clear NEW. What stays in OLD, for the way back, is fenced off."""
        if self.sides.clears_old:
            try:
                with self.sides.savepoint(self.old):
                    self.old.clear()
                return self.new.clear()
            except Exception as error:
                self.sides.forgive(error, "clear", phase=self.phase)
        self.sides.fence.set(old_lacks_writes=False)
        old_lacks_writes = not self.sides.marks.is_old_complete()
        answer = self.new.clear()
        self.sides.marks.set_fence(old_lacks_writes=old_lacks_writes)
        return answer

    def empty_old(self) -> None:
        """Clear OLD behind the fence, so that NEW does not follow it, and nothing that a copy restores is promoted."""
        self.sides.fence.set()
        self.old.clear()
        self.sides.marks.note_old_is_emptied()

    # OLD

    def _ask_old(self, ask: Callable[[], Any], otherwise: Any) -> Any:
        """Read from OLD; if it is down, return ``otherwise``, or raise if OLD_DOWN is ``raise``."""
        try:
            with self.sides.savepoint(self.old):
                return ask()
        except Exception as error:
            self.sides.forgive(error, "read", phase=self.phase)
            if not self.sides.misses_when_old_is_down:
                raise
            return otherwise

    def _on_old(self, what: str, keys: Iterable[str], version: Version, write: Callable[[], Any]) -> Any:
        """Write to OLD; if that fails, mark the keys before NEW is written, so that no earlier value comes back."""
        keys = list(keys)
        try:
            with self.sides.savepoint(self.old):
                answer = write()
        except Exception as error:
            self.sides.forgive(error, what, phase=self.phase)
            self.sides.marks.distrust(keys, version)
            return _FAILED
        self.sides.after_commit(lambda: self._forget(keys, version))
        return answer

    def _forget(self, keys: list[str], version: Version) -> None:
        """Delete from NEW what the next read takes from OLD again."""
        barred = self._barred(keys, version)
        self.new.delete_many([key for key in keys if key not in barred], version=version)

    def _timeout(self, timeout: Any) -> float | None:
        """Return the timeout for both sides, in seconds: they keep a value as long as NEW would."""
        seconds: float | None = self.new.default_timeout if timeout is DEFAULT_TIMEOUT else timeout
        return seconds


def _number(calculate: Callable[[], Any]) -> Any:
    """Return the result, None if the key does not exist."""
    try:
        return calculate()
    except ValueError:
        return None


def _found(number: Any, key: str) -> Any:
    if number is None:
        raise ValueError(f"Key '{key}' not found")
    return number
