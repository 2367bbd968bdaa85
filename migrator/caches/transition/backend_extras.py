"""What some backends offer in addition to Django's methods, if it is sound while two caches are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ...transitions.phases import Phase
from .dual_new import DualNew
from .follower import Follower
from .sides import Sides

# Methods that return the time to live, list keys, and change an expiry.
TIMES = ("ttl", "pttl")
LISTS = ("keys", "iter_keys")
EXPIRIES = ("expire", "pexpire", "expire_at", "pexpire_at", "persist")
_GONE = 0


def extra(sides: Sides, phase: Phase, name: str) -> Any:
    """Return a backend's attribute; raise :exc:`AttributeError` if it has no sound meaning in the phase."""
    if not phase.is_dual:
        if phase is Phase.NEW and hasattr(sides.new, name):
            sides.fence.renew()  # the method may write
        return getattr(sides.new if phase.new_decides else sides.old, name)
    make = _EXTRAS.get(name)
    if make is None:
        known = "an attribute of one of the two caches" if _has(sides, name) else "not an attribute of either cache"
        raise AttributeError(
            f"{name!r} is {known}. In phase {phase} the cache {sides.name!r} consists of two: "
            "use the alias of the one you mean."
        )
    for side, cache in (("OLD", sides.old), ("NEW", sides.new)):
        if not hasattr(cache, name):
            raise AttributeError(
                f"{name!r} is not offered in phase {phase}: {side} of {sides.name!r} does not have it."
            )
    do = make(sides, phase, name)

    def called(*args: Any, version: int | None = None, **kwargs: Any) -> Any:
        sides.check_stores_differ()
        sides.check_version(version)
        if phase is Phase.DUAL_OLD:
            sides.lift_fence()
        return do(*args, **kwargs) if version is None else do(*args, version=version, **kwargs)

    return called


def _has(sides: Sides, name: str) -> bool:
    return hasattr(sides.old, name) or hasattr(sides.new, name)


def _time(sides: Sides, phase: Phase, name: str) -> Callable[..., Any]:
    def ask(key: str, version: int | None = None) -> Any:
        if phase is Phase.DUAL_OLD:
            return getattr(sides.old, name)(key, version=version)
        left = getattr(sides.new, name)(key, version=version)
        if left != _GONE or sides.marks.barred([key], version):
            return left
        return getattr(sides.old, name)(key, version=version)

    return ask


def _list(sides: Sides, phase: Phase, name: str) -> Callable[..., Any]:
    def walk(*args: Any, **kwargs: Any) -> Iterator[str]:
        yield from getattr(sides.old, name)(*args, **kwargs)
        if phase is Phase.DUAL_NEW:
            yield from getattr(sides.new, name)(*args, **kwargs)

    def ask(*args: Any, **kwargs: Any) -> Any:
        found = dict.fromkeys(walk(*args, **kwargs))
        return list(found) if name == "keys" else iter(found)

    return ask


def _expiry(sides: Sides, phase: Phase, name: str) -> Callable[..., Any]:
    def change(key: str, *args: Any, version: int | None = None, **kwargs: Any) -> bool:
        older = getattr(sides.old, name)(key, *args, version=version, **kwargs)
        if phase is Phase.DUAL_OLD:
            sides.new.delete(key, version=version)
            return bool(older)
        if not older and Follower(sides).give_back(key, version):
            older = getattr(sides.old, name)(key, *args, version=version, **kwargs)
        newer = getattr(sides.new, name)(key, *args, version=version, **kwargs)
        if newer and not sides.new.has_key(key, version=version):
            DualNew(sides).delete(key, version)  # it ended at once, and OLD is checked
        return bool(newer) or (bool(older) and not sides.marks.barred([key], version))

    return change


def _pattern(sides: Sides, phase: Phase, name: str) -> Callable[..., Any]:
    def delete(*args: Any, **kwargs: Any) -> int:
        deleted = [getattr(cache, name)(*args, **kwargs) or 0 for cache in (sides.old, sides.new)]
        return int(deleted[0] if phase is Phase.DUAL_OLD else max(deleted))

    return delete


class BothLocks:
    """OLD's lock and then NEW's, so that workers of the phases before and after, which take one of them, wait too."""

    def __init__(self, first: Any, second: Any) -> None:
        self._first, self._second = first, second

    def acquire(self, *args: Any, **kwargs: Any) -> bool:
        """Acquire both locks, or neither."""
        if not self._first.acquire(*args, **kwargs):
            return False
        try:
            taken = bool(self._second.acquire(*args, **kwargs))
        except BaseException:
            self._first.release()
            raise
        if not taken:
            self._first.release()
        return taken

    def release(self) -> None:
        """Release both locks."""
        try:
            self._second.release()
        finally:
            self._first.release()

    def __enter__(self) -> BothLocks:
        if not self.acquire():
            raise TimeoutError("the lock was not free within its blocking_timeout")
        return self

    def __exit__(self, *about: object) -> None:
        self.release()


def _lock(sides: Sides, phase: Phase, name: str) -> Callable[..., Any]:
    def lock(*args: Any, **kwargs: Any) -> Any:
        first = sides.old.lock(*args, **kwargs)
        return first if phase is Phase.DUAL_OLD else BothLocks(first, sides.new.lock(*args, **kwargs))

    return lock


_EXTRAS: dict[str, Callable[[Sides, Phase, str], Callable[..., Any]]] = {
    **dict.fromkeys(TIMES, _time),
    **dict.fromkeys(LISTS, _list),
    **dict.fromkeys(EXPIRIES, _expiry),
    "delete_pattern": _pattern,
    "lock": _lock,
}
