"""``cache_transition``: the phase of a cache's transition, and what all workers have counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.core.cache import caches
from django.core.cache.backends.base import InvalidCacheBackendError
from django.core.exceptions import ImproperlyConfigured

from ...console.suggestions import did_you_mean
from ...errors import Refused, UsageError
from ...transitions.metrics_storage import Record
from ...transitions.phases import Phase
from .cache import TransitionCache

_BEGIN = "To begin one, give an entry of CACHES the BACKEND 'migrator.caches.TransitionCache', with OLD, NEW and PHASE."


@dataclass(frozen=True)
class CacheTransition:
    """How far the transition of a cache is: ``old`` and ``new`` are the backends of its sides."""

    alias: str
    phase: Phase
    old: str
    new: str
    record: Record


def cache_transition(*, cache: str | None = None) -> CacheTransition:
    """Return the phase and the counts of a ``TransitionCache``: of the only one in ``CACHES``, unless it is named.

    Writes nothing. Raises :exc:`~migrator.errors.UsageError` if there is no such cache, and
    :exc:`~migrator.errors.Refused` if its counts cannot be read.
    """
    alias = _only_one() if cache is None else cache
    opened = _opened(alias)
    try:
        phase = opened.phase
        record = opened.tally().read()
    except ImproperlyConfigured as error:
        raise UsageError(str(error)) from None
    except Exception as error:  # whatever the client of NEW raises
        kind = f"{type(error).__module__}.{type(error).__qualname__}"
        raise Refused(f"The counts in NEW of {alias!r} cannot be read ({kind}).") from error
    return CacheTransition(alias, phase, _backend(opened.OLD), _backend(opened.NEW), record)


def _opened(alias: str) -> TransitionCache:
    try:
        found = caches[alias]
    except InvalidCacheBackendError as error:
        if alias in caches.settings:
            raise UsageError(f"The cache {alias!r} cannot be opened: {error}.") from None
        known = list(transitions())
        raise UsageError(f"CACHES has no alias {alias!r}.{did_you_mean(alias, known)} {_listed(known)}") from None
    if not isinstance(found, TransitionCache):
        raise UsageError(f"The cache {alias!r} is not a TransitionCache. {_listed(list(transitions()))}")
    return found


def _only_one() -> str:
    known = list(transitions())
    if len(known) != 1:
        advice = "Name the cache with --cache." if known else _BEGIN
        raise UsageError(f"{_listed(known)} {advice}")
    return known[0]


def transitions() -> Iterator[str]:
    """Yield the aliases of all caches that are transitions; a cache that cannot be opened is not one."""
    for alias in sorted(caches.settings):
        try:
            is_transition = isinstance(caches[alias], TransitionCache)
        except InvalidCacheBackendError:
            continue
        if is_transition:
            yield alias


def _listed(known: list[str]) -> str:
    return f"Transitions are: {', '.join(known)}." if known else "CACHES has no transition."


def _backend(side: object) -> str:
    return f"{type(side).__module__}.{type(side).__qualname__}"
