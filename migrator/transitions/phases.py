"""The phases of a change from one store to another, and how a worker learns which one it is in."""

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

# The finest share of a roll-out: a hundredth of one per cent.
_BUCKETS = 10_000
# How often it is logged that a setting gives no value.
_COMPLAIN_SECONDS = 60.0
T = TypeVar("T")


class Phase(enum.StrEnum):
    """Which of the two stores decides, and which one only follows.

    The authority of a phase is the store that is asked and believed; the shadow is kept up with it.
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
        """Tell whether workers of both phases may run side by side, so that one deploy leads from here to there."""
        return abs(_IN_ORDER.index(self) - _IN_ORDER.index(other)) <= 1


_IN_ORDER = list(Phase)


def phase_reader(setting: object, *, name: str) -> Callable[[], Phase]:
    """Return a function that tells the phase at the time it is called.

    ``setting`` is a phase, a callable that returns one, or the dotted path of either; ``name`` is what the
    setting is called in messages. The function raises :exc:`ImproperlyConfigured` for anything else.
    """

    def read() -> Phase:
        found = _present(setting, constants=frozenset(_IN_ORDER), name=name)
        try:
            return Phase(found)
        except ValueError:
            raise ImproperlyConfigured(
                f"{name} is {found!r}, which is no phase: there are {', '.join(_IN_ORDER)}."
            ) from None

    return read


def percentage_reader(setting: object, *, name: str) -> Callable[[], float]:
    """Return a function that tells the share of a roll-out in per cent at the time it is called.

    ``setting`` is a number from 0 to 100, a callable that returns one, or the dotted path of either.
    The function raises :exc:`ImproperlyConfigured` for anything else.
    """

    def read() -> float:
        found = _present(setting, constants=frozenset(), name=name)
        if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found <= 100:
            raise ImproperlyConfigured(f"{name} is {found!r}, which is no number from 0 to 100.")
        return float(found)

    return read


def steady_phase_reader(setting: object, *, name: str) -> Callable[[], Phase]:
    """Return a function that tells the phase as :func:`phase_reader` does, for use by requests.

    Where a callable or a dotted path fails or gives nonsense, it keeps the last good value of this process and logs
    that. Where there was none yet, the function raises :exc:`ImproperlyConfigured`: no phase would be safe.
    """
    return _steady(phase_reader(setting, name=name), setting, name)


def steady_percentage_reader(setting: object, *, name: str) -> Callable[[], float]:
    """Return a function that tells the share of a roll-out as :func:`percentage_reader` does, for use by requests.

    Where a callable or a dotted path fails or gives nonsense, it keeps the last good value of this process and logs
    that. Where there was none yet, the share is 0, which other workers may be ahead of.
    """
    return _steady(percentage_reader(setting, name=name), setting, name, 0.0)


# By the setting's name, and its path or the identity of its callable: not all of these can be hashed.
_last_good: dict[tuple[str, str | int], tuple[Any, Any]] = {}
_complained: dict[str, float] = {}


def _steady(read: Callable[[], T], setting: Any, name: str, otherwise: T | None = None) -> Callable[[], T]:
    if not callable(setting) and not (isinstance(setting, str) and "." in setting):
        return read  # a constant: what is wrong with it is wrong for good
    place = (name, setting if isinstance(setting, str) else id(setting))

    def read_or_keep() -> T:
        try:
            found = read()
        except ImproperlyConfigured as error:
            kept: T | None = _last_good.get(place, (setting, otherwise))[1]
            if kept is None:
                raise
            _complain(name, f"{error} The last good value is kept: {kept}.")
            return kept
        _last_good[place] = setting, found
        return found

    return read_or_keep


def _complain(name: str, text: str) -> None:
    if time.monotonic() - _complained.get(name, -_COMPLAIN_SECONDS) >= _COMPLAIN_SECONDS:
        _complained[name] = time.monotonic()
        logger.error("%s", text)


def is_rolled_out(key: str, percentage: float) -> bool:
    """Tell whether a key is among the first ``percentage`` per cent; every worker gives the same answer.

    A key that is among them stays so when the percentage grows.
    """
    bucket = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest()) % _BUCKETS
    return bucket < percentage * _BUCKETS / 100


def _present(setting: object, *, constants: frozenset[str], name: str) -> Any:
    """Follow a dotted path to what it names now, and call what can be called."""
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
        # The message of an error may tell how a store of flags is reached.
        raise ImproperlyConfigured(f"{name} fails with {type(error).__name__} when it is called.") from error
    if inspect.iscoroutine(found):
        found.close()
        raise ImproperlyConfigured(f"{name} is a coroutine function. Write a plain one: nothing awaits it.")
    return found
