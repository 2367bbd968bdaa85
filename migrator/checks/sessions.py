"""System checks of ``MIGRATOR["SESSIONS"]``. No server is asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.cache import InvalidCacheBackendError, caches
from django.core.checks import CheckMessage, register
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from .. import conf
from ..errors import Refused
from ..sessions.engines import TRANSITION as ENGINE
from ..sessions.engines import cache_prefix
from ..sessions.transition.same_store import same_by_settings, shared_cache
from ..sessions.transition.session_metrics import metrics_location
from ..sessions.transition.sides import TransitionSide
from ..stores import REFUSALS, STORES
from ..stores.ignore_exceptions import is_silent
from ..stores.key_space import key_space
from ..transitions.phases import Phase, percentage_reader, phase_reader
from .atomic_requests import HINT, atomic_databases_without_models
from .messages import error, warning

_PHASE, _ROLLOUT = "MIGRATOR['SESSIONS']['PHASE']", "MIGRATOR['SESSIONS']['ROLLOUT']"
_FILES = "django.core.cache.backends.filebased.FileBasedCache"
_STAY = "Stay in dual_new until all sessions have been read or have expired"


@register("migrator")
def check_sessions(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Check the two stores of a session transition, its phase, and whether SESSION_ENGINE uses it."""
    given = getattr(settings, "MIGRATOR", {})
    sessions = given.get("SESSIONS") if isinstance(given, dict) else None
    if sessions is None:
        return list(_check_engine_alone())
    try:
        setting = conf.sessions_from(sessions)
    except ImproperlyConfigured as mistake:
        return [error("migrator.E030", str(mistake), "The documentation of the settings lists its keys.")]
    aliases = list(_check_aliases(setting))
    sides = [] if aliases else list(_check_sides(setting))
    return [*aliases, *sides, *_check_phase(setting), *_check_metrics(setting), *_check_use()]


def _check_engine_alone() -> Iterator[CheckMessage]:
    if settings.SESSION_ENGINE == ENGINE:
        yield error(
            "migrator.E031",
            f"SESSION_ENGINE is {ENGINE!r}, but MIGRATOR['SESSIONS'], which describes its two stores, is not set.",
            "Write MIGRATOR = {'SESSIONS': {'OLD': {'ENGINE': …}, 'NEW': {'ENGINE': …}, 'PHASE': 'old'}}.",
        )


def _check_use() -> Iterator[CheckMessage]:
    if settings.SESSION_ENGINE != ENGINE:
        yield warning(
            "migrator.W030",
            f"MIGRATOR['SESSIONS'] is set, but SESSION_ENGINE is {settings.SESSION_ENGINE!r}: no session uses it.",
            f"Set SESSION_ENGINE = {ENGINE!r}, or remove SESSIONS when the transition is over.",
        )


def _check_aliases(setting: conf.Sessions) -> Iterator[CheckMessage]:
    for name, side in (("OLD", setting.OLD), ("NEW", setting.NEW)):
        where = f"MIGRATOR['SESSIONS']['{name}']"
        if side.DATABASE is not None and side.DATABASE not in connections:
            yield error(
                "migrator.E032",
                f"{where}['DATABASE'] is {side.DATABASE!r}, which is not in DATABASES.",
                f"The aliases are {', '.join(sorted(connections))}.",
            )
        if side.CACHE is not None and side.CACHE not in caches.settings:
            yield error(
                "migrator.E033",
                f"{where}['CACHE'] is {side.CACHE!r}, which is not in CACHES.",
                f"The aliases are {', '.join(sorted(caches.settings))}.",
            )


def _check_sides(setting: conf.Sessions) -> Iterator[CheckMessage]:
    sides = []
    for name, given in (("OLD", setting.OLD), ("NEW", setting.NEW)):
        try:
            side = TransitionSide(name, given)
        except ImproperlyConfigured as mistake:
            of_itself = "Name the engine that keeps, or will keep, the sessions."
            of_another = "Name any engine whose sessions are stored on the server."
            yield error("migrator.E034", str(mistake), of_itself if given.ENGINE == ENGINE else of_another)
            continue
        sides.append(side)
        if side.is_elsewhere:
            yield warning(
                "migrator.W031",
                f"{given.ENGINE} does not keep the sessions of OLD in a cache of CACHES, a table or files: they cannot "
                "be listed, so they cannot be copied.",
                f"{_STAY}.",
            )
        yield from _check_cache(side)
        yield from _check_requests(side)
    if len(sides) == 2:
        yield from _check_pair(*sides)


def _check_pair(old: TransitionSide, new: TransitionSide) -> Iterator[CheckMessage]:
    if problem := same_by_settings(old, new):
        yield error("migrator.E035", problem, "Give OLD and NEW different stores.")
    elif problem := shared_cache(old, new):
        yield error(
            "migrator.E041",
            problem,
            "Give one side its own CACHE, for example the same server with another KEY_PREFIX: otherwise sessions that "
            "are only in OLD look as if they were in NEW, until the cache drops them.",
        )


def _check_cache(side: TransitionSide) -> Iterator[CheckMessage]:
    alias = side.cache
    if alias is None:
        return
    try:
        cache = caches[alias]
    except InvalidCacheBackendError as failure:
        yield error("migrator.E036", f"The cache {alias!r} cannot be opened: {failure}.")
        return
    names = [f"{base.__module__}.{base.__qualname__}" for base in type(cache).__mro__]
    refused = next((REFUSALS[name] for name in names if name in REFUSALS), None)
    if refused or not set(names) & set(STORES):
        yield error(
            "migrator.E036",
            f"{side.name} of MIGRATOR['SESSIONS'] is the cache {alias!r}, {names[0]}"
            + (f": {refused}." if refused else ", which does not report the time to live of its keys."),
            f"The supported backends are {', '.join(sorted(STORES))}.",
        )
        return
    yield from _check_hidden_failures(side, alias, cache)
    if not side.keeps_rows:
        yield from _check_listing(side, alias, cache, names)
        yield from _check_capacity(side, alias, cache)


def _check_hidden_failures(side: TransitionSide, alias: str, cache: Any) -> Iterator[CheckMessage]:
    if is_silent(cache):
        yield warning(
            "migrator.W034",
            f"The cache {alias!r} of {side.name} has IGNORE_EXCEPTIONS; a session that cannot be deleted there still "
            "raises an error.",
            "Remove it during the transition, so that all failures of this side are reported.",
        )
    elif getattr(cache, "_options", {}).get("ignore_exc"):
        yield error(
            "migrator.E040",
            f"The cache {alias!r} of {side.name} has ignore_exc, which hides failed deletions of sessions.",
            "Remove it from OPTIONS during the transition: such sessions would be back in the next phase.",
        )


def _check_listing(side: TransitionSide, alias: str, cache: Any, names: list[str]) -> Iterator[CheckMessage]:
    try:
        key_space(cache.make_key, alias=alias, prefix=cache_prefix(side.engine) or "")
        is_listed = _FILES not in names
    except Refused:
        is_listed = False
    if side.name == "OLD" and not is_listed:
        yield warning(
            "migrator.W031",
            f"The keys of the cache {alias!r} cannot be listed, so its sessions cannot be copied.",
            f"{_STAY}, or copy with --keys-from FILE.",
        )


def _check_capacity(side: TransitionSide, alias: str, cache: Any) -> Iterator[CheckMessage]:
    capacity = getattr(cache, "_max_entries", None)
    if capacity is not None and capacity < 10_000 and hasattr(cache, "_cull"):
        yield warning(
            "migrator.W032",
            f"The cache {alias!r} of {side.name} keeps only {capacity:,} entries (MAX_ENTRIES) and drops others.",
            "Raise MAX_ENTRIES in its OPTIONS above the number of sessions.",
        )


def _check_phase(setting: conf.Sessions) -> Iterator[CheckMessage]:
    phase = share = None
    try:
        phase = phase_reader(setting.PHASE, name=_PHASE)()
    except ImproperlyConfigured as mistake:
        yield error("migrator.E037", str(mistake), "Write a phase, or a callable that returns one.")
    try:
        share = percentage_reader(setting.ROLLOUT, name=_ROLLOUT)()
    except ImproperlyConfigured as mistake:
        yield error("migrator.E038", str(mistake), "Remove it to change the phase of all sessions at once.")
    if share and phase not in (None, Phase.DUAL_OLD) and not callable(setting.ROLLOUT):
        yield warning(
            "migrator.W033",
            f"{_ROLLOUT} is {share:g} and has no effect in the phase {phase}.",
            "It is the percentage of keys in dual_new while PHASE is dual_old. Remove it.",
        )


def _check_metrics(setting: conf.Sessions) -> Iterator[CheckMessage]:
    if setting.TALLY is not None:
        try:
            metrics_location()
        except ImproperlyConfigured as mistake:
            yield error("migrator.E039", str(mistake), "Without it, a cache or a database of the two sides is used.")


def _check_requests(side: TransitionSide) -> Iterator[CheckMessage]:
    """Warn of a database that every request needs although only sessions are in it."""
    for alias in sorted(atomic_databases_without_models() & set(side.databases)):
        yield warning(
            "migrator.W035",
            f"The database {alias!r} of {side.name} has ATOMIC_REQUESTS, and no model except sessions is kept there.",
            f"{HINT}, even in a phase in which {side.name} only follows.",
        )
