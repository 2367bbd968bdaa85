"""The backend itself: each call, synchronous or not, goes to the caches of the current phase."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from asgiref.sync import sync_to_async
from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django.core.exceptions import ImproperlyConfigured

from ...transitions.metrics import Metrics, metrics_for_cache
from ...transitions.phases import Phase, steady_phase_reader
from . import configuration
from .backend_extras import extra
from .dual_new import DualNew
from .dual_old import DualOld
from .owed_deletions import OwedDeletions
from .process_state import Worker
from .sides import Sides

Version = int | None

# What is created when the cache is first used.
_OPENED = ("_name", "_phase", "OLD", "NEW", "_sides", "_duals", "_metrics")
_workers: dict[tuple[str, str], Worker] = {}
_making = threading.Lock()


class _OfAuthority:
    """An attribute that both sides have; reading it returns that of the authoritative side."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, cache: TransitionCache, owner: type | None = None) -> Any:
        return getattr(cache._authority(), self._name)

    def __set__(self, cache: TransitionCache, value: Any) -> None:
        """Ignore the value: Django's constructor sets that of the outer setting."""


class TransitionCache(BaseCache):
    """A cache that moves from OLD to NEW; what each phase does is in the package's docstring."""

    OLD: Any
    NEW: Any
    _name: str
    _phase: Callable[[], Phase]
    _sides: Sides
    _duals: dict[Phase, Any]
    default_timeout = _OfAuthority()
    key_prefix = _OfAuthority()
    version = _OfAuthority()
    key_func = _OfAuthority()

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        # Mistakes are raised at the first use, not here: Django's own checks open every cache before ours can run.
        super().__init__({})
        self._params = {**params, "LOCATION": location}

    def _open(self) -> None:
        """Open both sides; raise :exc:`ImproperlyConfigured` for a mistake in the settings, at each use."""
        params = self._params
        name = configuration.name_of(params)
        configuration.check(name, params)
        phase = _phase_of(params["PHASE"], name)
        old, new = (configuration.open_side(params, side) for side in ("OLD", "NEW"))
        sides = Sides(
            name=name,
            old=old,
            new=new,
            worker=_worker(name, params),
            metrics=self.tally,
            misses_when_old_is_down=configuration.option(params, "OLD_DOWN") == "miss",
            clears_old=configuration.option(params, "CLEAR_OLD"),
        )
        duals = {Phase.DUAL_OLD: DualOld(sides), Phase.DUAL_NEW: DualNew(sides)}
        self.__dict__ |= {"_name": name, "_phase": phase, "OLD": old, "NEW": new, "_sides": sides, "_duals": duals}
        self._metrics: Metrics | None = None

    @property
    def phase(self) -> Phase:
        """The current phase."""
        return self._phase()

    def tally(self) -> Metrics:
        """Return the metrics of this transition; the totals of all workers are kept in NEW."""
        if self._metrics is None:
            self._metrics = metrics_for_cache(f"cache.{self._name}", self.NEW)
        return self._metrics

    def _authority(self) -> Any:
        return self.NEW if self._phase().new_decides else self.OLD

    def _reads(self, version: Version = None) -> Any:
        phase = self._phase()
        if phase is Phase.OLD:
            return self.OLD
        self._sides.repeat_owed_deletions(phase=phase)
        if phase is Phase.NEW:
            return self.NEW
        self._sides.check_stores_differ()
        self._sides.check_version(version)
        if phase is Phase.DUAL_OLD:
            self._sides.clean_old()
        else:
            self._sides.worker.lifting_due = 0.0
        return self._duals[phase]

    def _writes(self, version: Version = None) -> Any:
        there = self._reads(version)
        if there is self.NEW:
            self._sides.fence.renew()
        elif there is self._duals[Phase.DUAL_OLD]:
            self._sides.lift_fence()
        return there

    def make_key(self, key: str, version: Version = None) -> str:
        return str(self._authority().make_key(key, version=version))

    def validate_key(self, key: str) -> None:
        self._authority().validate_key(key)

    # Reading

    def get(self, key: str, default: Any = None, version: Version = None) -> Any:
        return self._reads(version).get(key, default, version=version)

    def get_many(self, keys: Iterable[Any], version: Version = None) -> dict[str, Any]:
        found: dict[str, Any] = self._reads(version).get_many(list(keys), version=version)
        return found

    def has_key(self, key: str, version: Version = None) -> bool:
        return bool(self._reads(version).has_key(key, version=version))

    # Writing

    def set(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Version = None) -> Any:
        return self._writes(version).set(key, value, timeout, version=version)

    def add(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Version = None) -> bool:
        return bool(self._writes(version).add(key, value, timeout, version=version))

    def touch(self, key: str, timeout: Any = DEFAULT_TIMEOUT, version: Version = None) -> bool:
        return bool(self._writes(version).touch(key, timeout, version=version))

    def incr(self, key: str, delta: int = 1, version: Version = None) -> Any:
        return self._writes(version).incr(key, delta, version=version)

    def decr(self, key: str, delta: int = 1, version: Version = None) -> Any:
        return self._writes(version).decr(key, delta, version=version)

    def incr_version(self, key: str, delta: int = 1, version: Version = None) -> Any:
        return self._writes(self.version if version is None else version).incr_version(key, delta, version=version)

    def decr_version(self, key: str, delta: int = 1, version: Version = None) -> Any:
        return self._writes(self.version if version is None else version).decr_version(key, delta, version=version)

    def delete(self, key: str, version: Version = None) -> bool:
        return bool(self._writes(version).delete(key, version=version))

    def set_many(self, data: Mapping[str, Any], timeout: Any = DEFAULT_TIMEOUT, version: Version = None) -> list[str]:
        return list(self._writes(version).set_many(data, timeout, version=version) or [])

    def delete_many(self, keys: Iterable[Any], version: Version = None) -> Any:
        return self._writes(version).delete_many(list(keys), version=version)

    def clear(self) -> Any:
        there = self._writes()
        answer = there.clear()
        if there is self.NEW:
            self._sides.marks.set_fence()  # it was cleared as well
        return answer

    def empty_old(self) -> None:
        """Empty OLD in ``dual_new``, before a copy from NEW fills it for the way back to ``dual_old``.

        Raises :exc:`ImproperlyConfigured` in any other phase, in which a value of OLD can be the only one.
        """
        there = self._reads()
        if there is not self._duals[Phase.DUAL_NEW]:
            raise ImproperlyConfigured(
                f"OLD of the cache {self._name!r} is not emptied in phase {self._phase()}. Deploy dual_new first, in "
                "which NEW has every value and writes reach both caches."
            )
        there.empty_old()

    def close(self, **kwargs: Any) -> None:
        if "OLD" not in self.__dict__:
            try:
                self._open()
            except ImproperlyConfigured:
                return  # it was never used
        for side in (self.OLD, self.NEW):
            try:
                side.close(**kwargs)
            except Exception as error:
                if side is self._authority():
                    raise
                self._sides.forgive(error, "close", phase=self._phase())

    # The same, awaited

    async def _awaited(self, name: str, *args: Any) -> Any:
        """Use a single side's own asynchronous method if it has one; otherwise run the method above in a thread."""
        phase = self._phase()
        if not phase.is_dual:
            side = self._authority()
            # Django's own asynchronous methods may bypass a backend's better ones.
            if getattr(type(side), f"a{name}") is not getattr(BaseCache, f"a{name}"):
                if phase is Phase.NEW and name not in ("get", "get_many", "has_key"):
                    await sync_to_async(self._sides.fence.renew, thread_sensitive=True)()
                return await getattr(side, f"a{name}")(*args)
        return await sync_to_async(getattr(self, name), thread_sensitive=True)(*args)

    async def aget(self, key: str, default: Any = None, version: Version = None) -> Any:
        return await self._awaited("get", key, default, version)

    async def aget_many(self, keys: Iterable[Any], version: Version = None) -> Any:
        return await self._awaited("get_many", list(keys), version)

    async def ahas_key(self, key: str, version: Version = None) -> Any:
        return await self._awaited("has_key", key, version)

    async def aset(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Version = None) -> Any:
        return await self._awaited("set", key, value, timeout, version)

    async def aadd(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Version = None) -> Any:
        return await self._awaited("add", key, value, timeout, version)

    async def atouch(self, key: str, timeout: Any = DEFAULT_TIMEOUT, version: Version = None) -> Any:
        return await self._awaited("touch", key, timeout, version)

    async def aincr(self, key: str, delta: int = 1, version: Version = None) -> Any:
        return await self._awaited("incr", key, delta, version)

    async def adecr(self, key: str, delta: int = 1, version: Version = None) -> Any:
        return await self._awaited("decr", key, delta, version)

    async def aincr_version(self, key: str, delta: int = 1, version: Version = None) -> Any:
        return await self._awaited("incr_version", key, delta, version)

    async def adecr_version(self, key: str, delta: int = 1, version: Version = None) -> Any:
        return await self._awaited("decr_version", key, delta, version)

    async def adelete(self, key: str, version: Version = None) -> Any:
        return await self._awaited("delete", key, version)

    async def aset_many(self, data: Mapping[str, Any], timeout: Any = DEFAULT_TIMEOUT, version: Version = None) -> Any:
        return await self._awaited("set_many", data, timeout, version)

    async def adelete_many(self, keys: Iterable[Any], version: Version = None) -> Any:
        return await self._awaited("delete_many", list(keys), version)

    async def aclear(self) -> Any:
        return await self._awaited("clear")

    async def aclose(self, **kwargs: Any) -> None:
        await sync_to_async(self.close, thread_sensitive=True)(**kwargs)

    # Methods that only some backends have

    def __getattr__(self, name: str) -> Any:
        if name in _OPENED and "_params" in self.__dict__:
            self._open()
            return self.__dict__[name]
        if name.startswith("_") or name in ("OLD", "NEW"):
            raise AttributeError(name)
        return extra(self._sides, self._phase(), name)


def _phase_of(setting: Any, name: str) -> Any:
    """Return a function that returns the phase; a constant is read once."""
    read = steady_phase_reader(setting, name=f"CACHES[{name!r}]['PHASE']")
    if isinstance(setting, str) and setting in list(Phase):
        phase = read()
        return lambda: phase
    return read


def _worker(name: str, params: Mapping[str, Any]) -> Worker:
    """Return what this process knows of a transition; each thread has its own caches."""
    key = (name, repr([configuration.side_setting(params, side) for side in ("OLD", "NEW")]))
    with _making:
        return _workers.setdefault(key, Worker(OwedDeletions(name)))
