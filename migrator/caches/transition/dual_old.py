"""The phase ``dual_old``: OLD is authoritative, and NEW never keeps what was changed in OLD."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT

from ...transitions.phases import Phase
from .sides import Sides

_MISSING = object()
Version = int | None


class DualOld:
    """All answers come from OLD. A key that is written to OLD is then deleted from NEW, in one call."""

    phase = Phase.DUAL_OLD

    def __init__(self, sides: Sides) -> None:
        self.sides = sides
        self.old, self.new = sides.old, sides.new

    # Reading

    def get(self, key: str, default: Any = None, version: Version = None) -> Any:
        value = self.old.get(key, _MISSING, version=version)
        self.sides.count("miss" if value is _MISSING else "hit_old", phase=self.phase)
        return default if value is _MISSING else value

    def get_many(self, keys: Collection[str], version: Version = None) -> dict[str, Any]:
        keys = list(keys)
        found: dict[str, Any] = self.old.get_many(keys, version=version)
        self.sides.count("hit_old", len(found), phase=self.phase)
        self.sides.count("miss", len(set(keys)) - len(found), phase=self.phase)
        return found

    def has_key(self, key: str, version: Version = None) -> bool:
        return bool(self.old.has_key(key, version=version))

    # Writing

    def set(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Version = None) -> None:
        self._write(lambda: self.old.set(key, value, timeout, version=version), [key], version)

    def add(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Version = None) -> bool:
        return bool(self._write(lambda: self.old.add(key, value, timeout, version=version), [key], version, False))

    def touch(self, key: str, timeout: Any = DEFAULT_TIMEOUT, version: Version = None) -> bool:
        return bool(self._write(lambda: self.old.touch(key, timeout, version=version), [key], version))

    def incr(self, key: str, delta: int = 1, version: Version = None) -> Any:
        return self._write(lambda: self.old.incr(key, delta, version=version), [key], version)

    def decr(self, key: str, delta: int = 1, version: Version = None) -> Any:
        return self._write(lambda: self.old.decr(key, delta, version=version), [key], version)

    def incr_version(self, key: str, delta: int = 1, version: Version = None) -> Any:
        first = self.old.version if version is None else version
        answer = self._write(lambda: self.old.incr_version(key, delta, version=version), [key], version)
        self._drop([key], first + delta)
        return answer

    def decr_version(self, key: str, delta: int = 1, version: Version = None) -> Any:
        return self.incr_version(key, -delta, version)

    def delete(self, key: str, version: Version = None) -> bool:
        return bool(self._write(lambda: self.old.delete(key, version=version), [key], version))

    def set_many(self, data: Mapping[str, Any], timeout: Any = DEFAULT_TIMEOUT, version: Version = None) -> list[str]:
        return list(self._write(lambda: self.old.set_many(data, timeout, version=version), list(data), version) or [])

    def delete_many(self, keys: Collection[str], version: Version = None) -> None:
        keys = list(keys)
        self._write(lambda: self.old.delete_many(keys, version=version), keys, version)

    def clear(self) -> Any:
        answer = self.old.clear()
        try:
            with self.sides.savepoint(self.new):
                self.new.clear()
            self.sides.worker.owed.clear()
        except Exception as error:
            self.sides.forgive(error, "clear", phase=self.phase)
        return answer

    def _write(self, write: Callable[[], Any], keys: list[str], version: Version, unchanged: Any = _MISSING) -> Any:
        """Write to OLD, and delete the keys from NEW even if the write fails: it may have changed something.

        ``unchanged``: the answer that means that nothing was changed.
        """
        answer: Any = None
        try:
            answer = write()
        finally:
            if answer is not unchanged:
                self._drop(keys, version)
                self.sides.after_commit(lambda: self._drop(keys, version))
        return answer

    def _drop(self, keys: list[str], version: Version) -> None:
        try:
            with self.sides.savepoint(self.new):
                if len(keys) == 1:
                    self.new.delete(keys[0], version=version)
                elif keys:
                    self.new.delete_many(keys, version=version)
                if self.sides.worker.owed:
                    self.sides.worker.owed.repeat(self.new)
        except Exception as error:
            self.sides.worker.owed.add(keys, version)
            self.sides.forgive(error, "delete", phase=self.phase)
