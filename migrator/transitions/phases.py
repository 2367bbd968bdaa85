"""The phases of a transition from one store to another, and how a worker reads the current one."""

from __future__ import annotations

import enum
import hashlib
import inspect
import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

logger = logging.getLogger("migrator.phases")

# A roll-out is set in steps of 0.01 percent.
_BUCKETS = 10_000
# How often an invalid setting is logged.
_LOG_INTERVAL_SECONDS = 60.0
T = TypeVar("T")


class Phase(enum.StrEnum):
    """Which of the two stores is authoritative, and which one only follows.

    The authority of a phase is the store that is read and believed; the shadow is kept up to date with it.
    """

    OLD = "old"
    DUAL_OLD = "dual_old"
    DUAL_NEW = "dual_new"
    NEW = "new"

    @property
    def new_decides(self) -> bool:
        """Whether NEW is the authority."""
        return self in (Phase.DUAL_NEW, Phase.NEW)

    @property
    def is_dual(self) -> bool:
        """Whether both stores are written."""
        return self in (Phase.DUAL_OLD, Phase.DUAL_NEW)

    @property
    def following(self) -> Phase | None:
        """The phase to deploy next on the way forward, None after the last."""
        return None if self is Phase.NEW else _IN_ORDER[_IN_ORDER.index(self) + 1]

    @property
    def previous(self) -> Phase | None:
        """The phase to deploy next on the way back, None before the first."""
        return None if self is Phase.OLD else _IN_ORDER[_IN_ORDER.index(self) - 1]

    def may_become(self, other: Phase) -> bool:
        """Whether workers of both phases may run side by side, so that one deploy can change from this to the other."""
        return abs(_IN_ORDER.index(self) - _IN_ORDER.index(other)) <= 1


_IN_ORDER = list(Phase)


def phase_reader(setting: object, *, name: str) -> Callable[[], Phase]:
    """Return a function that returns the phase at the time of the call.

    ``setting``: a phase, a callable that returns one, or the dotted path of either. ``name``: the setting's name in
    messages. The function raises :exc:`ImproperlyConfigured` for anything else.
    """

    def read() -> Phase:
        found = _present(setting, constants=frozenset(_IN_ORDER), name=name)
        try:
            return Phase(found)
        except ValueError:
            raise ImproperlyConfigured(
                f"{name} is {found!r}, which is not a phase; the phases are {', '.join(_IN_ORDER)}."
            ) from None

    return read


def percentage_reader(setting: object, *, name: str) -> Callable[[], float]:
    """Return a function that returns the percentage of a roll-out at the time of the call.

    ``setting``: a number from 0 to 100, a callable that returns one, or the dotted path of either.
    The function raises :exc:`ImproperlyConfigured` for anything else.
    """

    def read() -> float:
        found = _present(setting, constants=frozenset(), name=name)
        if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found <= 100:
            raise ImproperlyConfigured(f"{name} is {found!r}, which is not a number from 0 to 100.")
        return float(found)

    return read


def steady_phase_reader(setting: object, *, name: str) -> Callable[[], Phase]:
    """Return a function that returns the phase as :func:`phase_reader` does, for use by requests.

    If a callable or a dotted path fails or returns an invalid value, the function returns the last valid one of this
    process and logs that. Before the first valid one it raises :exc:`ImproperlyConfigured`: no phase would be safe.
    """
    return _steady(phase_reader(setting, name=name), setting, name)


def steady_percentage_reader(setting: object, *, name: str) -> Callable[[], float]:
    """Return a function that returns the percentage as :func:`percentage_reader` does, for use by requests.

    If a callable or a dotted path fails or returns an invalid value, the function returns the last valid one of this
    process and logs that. Before the first valid one it returns 0, even if other workers have a higher one.
    """
    return _steady(percentage_reader(setting, name=name), setting, name, 0.0)


# By the setting's name, and its path or the identity of its callable: not all callables can be hashed.
_last_valid: dict[tuple[str, str | int], tuple[Any, Any]] = {}
_logged_at: dict[str, float] = {}


def _steady(read: Callable[[], T], setting: Any, name: str, otherwise: T | None = None) -> Callable[[], T]:
    if not callable(setting) and not (isinstance(setting, str) and "." in setting):
        return read  # a constant: an invalid one stays invalid
    cache_key = (name, setting if isinstance(setting, str) else id(setting))

    def read_or_keep() -> T:
        try:
            found = read()
        except ImproperlyConfigured as error:
            kept: T | None = _last_valid.get(cache_key, (setting, otherwise))[1]
            if kept is None:
                raise
            _log_error(name, f"{error} The last valid value is used: {kept}.")
            return kept
        _last_valid[cache_key] = setting, found
        return found

    return read_or_keep


def _log_error(name: str, text: str) -> None:
    if time.monotonic() - _logged_at.get(name, -_LOG_INTERVAL_SECONDS) >= _LOG_INTERVAL_SECONDS:
        _logged_at[name] = time.monotonic()
        logger.error("%s", text)


def is_rolled_out(key: str, percentage: float) -> bool:
    """Whether a key is among the first ``percentage`` percent; every worker returns the same answer.

    A key that is among them stays among them when the percentage grows.
    """
    bucket = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest()) % _BUCKETS
    return bucket < percentage * _BUCKETS / 100


def _present(setting: object, *, constants: frozenset[str], name: str) -> Any:
    """Import what a dotted path names, and call it if it is callable."""
    if isinstance(setting, str) and setting not in constants and "." in setting:
        try:
            setting = import_string(setting)
        except ImportError as error:
            raise ImproperlyConfigured(f"{name} is {setting!r}, which cannot be imported: {error}.") from error
    if not callable(setting):
        return setting
    try:
        found = setting()
    except Exception as error:
        # The error's message may contain the credentials of a feature-flag store.
        raise ImproperlyConfigured(f"{name} raised {type(error).__name__} when it was called.") from error
    if inspect.iscoroutine(found):
        found.close()
        raise ImproperlyConfigured(f"{name} is a coroutine function. Write a synchronous one: nothing awaits it.")
    return found
