"""Mistakes in ``MIGRATOR["SESSIONS"]``, as numbered system checks with a hint. No server is asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.cache import InvalidCacheBackendError, caches
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from .. import conf
from ..errors import Refused
from ..sessions.engines import TRANSITION as ENGINE
from ..sessions.engines import cache_prefix
from ..sessions.transition.metrics_place import place_of_tally
from ..sessions.transition.same_store import one_place, shared_cache
from ..sessions.transition.sides import TransitionSide
from ..stores import REFUSALS, STORES
from ..stores.ignore_exceptions import is_silent
from ..stores.key_space import key_space
from ..transitions.phases import Phase, percentage_reader, phase_reader
from .settings import atomic_databases_without_models

_PHASE, _ROLLOUT = "MIGRATOR['SESSIONS']['PHASE']", "MIGRATOR['SESSIONS']['ROLLOUT']"
_FILES = "django.core.cache.backends.filebased.FileBasedCache"


@register("migrator")
def check_sessions(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Check the two stores of a change of sessions, its phase, and whether anything uses it."""
    given = getattr(settings, "MIGRATOR", {})
    written = given.get("SESSIONS") if isinstance(given, dict) else None
    if written is None:
        return list(_check_engine_alone())
    try:
        setting = conf.sessions_from(written)
    except ImproperlyConfigured as error:
        return [Error(str(error), hint="Look its keys up in the README.", id="migrator.E030")]
    aliases = list(_check_aliases(setting))
    sides = [] if aliases else list(_check_sides(setting))
    return [*aliases, *sides, *_check_times(setting), *_check_use()]


def _check_engine_alone() -> Iterator[CheckMessage]:
    if settings.SESSION_ENGINE == ENGINE:
        yield Error(
            f"SESSION_ENGINE is {ENGINE!r}, and MIGRATOR['SESSIONS'] does not say which stores it keeps.",
            hint="Write MIGRATOR = {'SESSIONS': {'OLD': {'ENGINE': …}, 'NEW': {'ENGINE': …}, 'PHASE': 'old'}}.",
            id="migrator.E031",
        )


def _check_use() -> Iterator[CheckMessage]:
    if settings.SESSION_ENGINE != ENGINE:
        yield Warning(
            f"MIGRATOR['SESSIONS'] is set, and SESSION_ENGINE is {settings.SESSION_ENGINE!r}: nothing follows it.",
            hint=f"Set SESSION_ENGINE = {ENGINE!r}, or take SESSIONS out when the change is done.",
            id="migrator.W030",
        )


def _check_aliases(setting: conf.Sessions) -> Iterator[CheckMessage]:
    for name, side in (("OLD", setting.OLD), ("NEW", setting.NEW)):
        place = f"MIGRATOR['SESSIONS']['{name}']"
        if side.DATABASE is not None and side.DATABASE not in connections:
            yield Error(
                f"{place}['DATABASE'] is {side.DATABASE!r}, which is not in DATABASES.",
                hint=f"The aliases are {', '.join(sorted(connections))}.",
                id="migrator.E032",
            )
        if side.CACHE is not None and side.CACHE not in caches.settings:
            yield Error(
                f"{place}['CACHE'] is {side.CACHE!r}, which is not in CACHES.",
                hint=f"The aliases are {', '.join(sorted(caches.settings))}.",
                id="migrator.E033",
            )


def _check_sides(setting: conf.Sessions) -> Iterator[CheckMessage]:
    sides = []
    for name, given in (("OLD", setting.OLD), ("NEW", setting.NEW)):
        if given.ENGINE == ENGINE:
            yield Error(
                f"MIGRATOR['SESSIONS']['{name}']['ENGINE'] is the engine that keeps both sides.",
                hint="Name the engine that the sessions are, or will be, kept by.",
                id="migrator.E034",
            )
            continue
        try:
            side = TransitionSide(name, given)
        except ImproperlyConfigured as error:
            yield Error(str(error), hint="Any engine with a store on the server will do.", id="migrator.E034")
            continue
        sides.append(side)
        if side.is_elsewhere:
            yield Warning(
                f"{given.ENGINE} keeps the sessions of OLD in no cache of CACHES, no table and no files: they cannot "
                "be listed, and so not copied.",
                hint="Stay in dual_new until all sessions have been seen or have expired.",
                id="migrator.W031",
            )
        yield from _check_cache(side)
        yield from _check_transactions(side)
    if len(sides) == 2:
        yield from _check_pair(*sides)


def _check_pair(old: TransitionSide, new: TransitionSide) -> Iterator[CheckMessage]:
    if problem := one_place(old, new):
        yield Error(problem, hint="Nothing can be changed from a place to itself.", id="migrator.E035")
    elif problem := shared_cache(old, new):
        yield Error(
            problem,
            hint="Give one side a CACHE of its own, if only one with another KEY_PREFIX: else sessions that are in OLD "
            "alone look as if NEW had them, until the cache drops them.",
            id="migrator.E041",
        )


def _check_cache(side: TransitionSide) -> Iterator[CheckMessage]:
    alias = side.cache
    if alias is None:
        return
    try:
        cache = caches[alias]
    except InvalidCacheBackendError as error:
        yield Error(f"The cache {alias!r} cannot be opened: {error}.", id="migrator.E036")
        return
    names = [f"{base.__module__}.{base.__qualname__}" for base in type(cache).__mro__]
    refused = next((REFUSALS[name] for name in names if name in REFUSALS), None)
    if refused or not set(names) & set(STORES):
        yield Error(
            f"{side.name} of MIGRATOR['SESSIONS'] is the cache {alias!r}, {names[0]}"
            + (f": {refused}." if refused else ", whose keys' time to live is not known."),
            hint=f"The change can go between {', '.join(sorted(STORES))}.",
            id="migrator.E036",
        )
        return
    yield from _check_silence(side, alias, cache)
    if not side.keeps_rows:
        yield from _check_listing(side, alias, cache, names)
        yield from _check_room(side, alias, cache)


def _check_silence(side: TransitionSide, alias: str, cache: Any) -> Iterator[CheckMessage]:
    if is_silent(cache):
        yield Warning(
            f"The cache {alias!r} of {side.name} has IGNORE_EXCEPTIONS, and sessions that cannot be ended there are "
            "errors all the same.",
            hint="Take it out for the change, so that all failures of the side are heard.",
            id="migrator.W034",
        )
    elif getattr(cache, "_options", {}).get("ignore_exc"):
        yield Error(
            f"The cache {alias!r} of {side.name} has ignore_exc, which hides sessions that could not be ended.",
            hint="Take it out of its OPTIONS for the change: such sessions would be back in the next phase.",
            id="migrator.E040",
        )


def _check_listing(side: TransitionSide, alias: str, cache: Any, names: list[str]) -> Iterator[CheckMessage]:
    try:
        key_space(cache.make_key, alias=alias, prefix=cache_prefix(side.engine) or "")
        is_listed = _FILES not in names
    except Refused:
        is_listed = False
    if side.name == "OLD" and not is_listed:
        yield Warning(
            f"The keys of the cache {alias!r} cannot be listed, so its sessions cannot be copied.",
            hint="Stay in dual_new until all sessions have been seen or have expired, or copy with --keys-from FILE.",
            id="migrator.W031",
        )


def _check_room(side: TransitionSide, alias: str, cache: Any) -> Iterator[CheckMessage]:
    room = getattr(cache, "_max_entries", None)
    if room is not None and room < 10_000 and hasattr(cache, "_cull"):
        yield Warning(
            f"The cache {alias!r} of {side.name} keeps {room:,} entries (MAX_ENTRIES) and drops others.",
            hint="Raise MAX_ENTRIES in its OPTIONS above the number of sessions.",
            id="migrator.W032",
        )


def _check_times(setting: conf.Sessions) -> Iterator[CheckMessage]:
    phase = share = None
    try:
        phase = phase_reader(setting.PHASE, name=_PHASE)()
    except ImproperlyConfigured as error:
        yield Error(str(error), hint="Write one of them, or a callable that returns one.", id="migrator.E037")
    try:
        share = percentage_reader(setting.ROLLOUT, name=_ROLLOUT)()
    except ImproperlyConfigured as error:
        yield Error(str(error), hint="Leave it out to change phase for everybody at once.", id="migrator.E038")
    if share and phase not in (None, Phase.DUAL_OLD) and not callable(setting.ROLLOUT):
        yield Warning(
            f"{_ROLLOUT} is {share:g} and does nothing in the phase {phase}.",
            hint="It tells how many of the keys are in dual_new while PHASE is dual_old. Take it out.",
            id="migrator.W033",
        )
    if setting.TALLY is not None:
        try:
            place_of_tally()
        except ImproperlyConfigured as error:
            yield Error(str(error), hint="Without it a cache or a database of the sides is taken.", id="migrator.E039")


def _check_transactions(side: TransitionSide) -> Iterator[CheckMessage]:
    """Check that no request needs a database that only sessions are in: Django begins a transaction there."""
    for alias in sorted(atomic_databases_without_models() & set(side.databases)):
        yield Warning(
            f"The database {alias!r} of {side.name} has ATOMIC_REQUESTS, and no other model is kept there.",
            hint="Take it out there: every request begins a transaction in it, so that none is answered while it "
            f"is down, even in a phase in which {side.name} only follows.",
            id="migrator.W035",
        )
