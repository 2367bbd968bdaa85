"""Mistakes in transitions of CACHES, as numbered system checks with a hint."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.apps import AppConfig
from django.core.cache import caches
from django.core.cache.backends.db import BaseDatabaseCache
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import router
from django.utils.module_loading import import_string

from ..caches.transition import TransitionCache, configuration
from ..caches.transition.readers import READERS, dotted_names
from ..caches.transition.same_store import kept_at, same_by_server
from .settings import atomic_databases_without_models

_LOCAL = "django.core.cache.backends.locmem.LocMemCache"


@register("migrator", Tags.caches)
def check_transitions(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Check the setting of every transition, without asking any server."""
    found: list[CheckMessage] = []
    for alias, entry in transitions():
        errors = [Error(fault.found, hint=fault.hint, id=fault.id) for fault in configuration.faults(alias, entry)]
        found += errors or _warnings(alias, entry)
    return found


@register("migrator", Tags.caches, deploy=True)
def check_places(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Check with the servers that OLD and NEW are two places."""
    found: list[CheckMessage] = []
    for alias, entry in transitions():
        if any(configuration.faults(alias, entry)):
            continue
        try:
            is_same = same_by_server(configuration.open_side(entry, "OLD"), configuration.open_side(entry, "NEW"))
        except Exception as error:
            kind = type(error).__qualname__
            found.append(
                Warning(
                    f"OLD or NEW of CACHES[{alias!r}] does not answer ({kind}).",
                    hint="Look at its LOCATION and at the server.",
                    id="migrator.W020",
                )
            )
            continue
        if is_same:
            found.append(
                Error(
                    f"OLD and NEW of CACHES[{alias!r}] are the same place.",
                    hint="Give NEW another LOCATION or KEY_PREFIX.",
                    id="migrator.E028",
                )
            )
    return found


def transitions() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Give the entries of CACHES whose backend is a transition."""
    for alias, entry in caches.settings.items():
        try:
            backend = import_string(entry["BACKEND"])
        except (ImportError, KeyError, TypeError):
            continue  # which Django tells where the cache is used
        if inspect.isclass(backend) and issubclass(backend, TransitionCache):
            yield alias, entry


def _warnings(alias: str, entry: Mapping[str, Any]) -> list[CheckMessage]:
    return [*_one_store(alias, entry), *_of_sides(alias, entry)]


def _one_store(alias: str, entry: Mapping[str, Any]) -> Iterator[CheckMessage]:
    """Doubt two sides that KEY_PREFIX or VERSION keeps apart in one database, table or directory."""
    old, new = (configuration.side_setting(entry, side) for side in ("OLD", "NEW"))
    places = [kept_at({**side, "VERSION": 1}) for side in (old, new)]
    if places[0] == places[1]:
        yield Warning(
            f"OLD and NEW of CACHES[{alias!r}] differ in VERSION alone: calls with a version of their own fail.",
            hint="Give NEW another LOCATION or KEY_PREFIX if the site calls incr_version() or passes version=.",
            id="migrator.W025",
        )
    if places[0][:-1] == places[1][:-1]:
        yield Warning(
            f"OLD and NEW of CACHES[{alias!r}] are one store to clear(), which empties both.",
            hint="Give NEW another LOCATION, such as another database of the server, or clear neither side.",
            id="migrator.W026",
        )


def _of_sides(alias: str, entry: Mapping[str, Any]) -> list[CheckMessage]:
    return [
        Warning(f"CACHES[{alias!r}]['{side}'] {found}", hint=hint, id=doubt)
        for side in ("OLD", "NEW")
        for doubt, found, hint in (
            *_doubts(side, configuration.side_setting(entry, side)),
            *_needed_by_requests(entry, side),
        )
    ]


def _needed_by_requests(entry: Mapping[str, Any], side: str) -> Iterator[tuple[str, str, str]]:
    """Doubt a cache in a table whose database every request needs, whichever side decides."""
    if not issubclass(import_string(configuration.side_setting(entry, side)["BACKEND"]), BaseDatabaseCache):
        return
    cache: Any = configuration.open_side(entry, side)
    database = router.db_for_write(cache.cache_model_class)
    if database in atomic_databases_without_models():
        yield (
            "migrator.W024",
            f"is in the database {database!r}, which has ATOMIC_REQUESTS and no models.",
            "Take it out there: every request begins a transaction in it, so that none is answered while it is down.",
        )


def _doubts(side: str, setting: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    names = set(dotted_names(import_string(setting["BACKEND"])))
    if _LOCAL in names:
        yield (
            "migrator.W021",
            "lives inside each process.",
            "What one worker changes, the others do not see; this is for tests.",
        )
    if side == "OLD" and not names & set(READERS):
        yield (
            "migrator.W022",
            f"is a {setting['BACKEND']}, which does not tell how long a value has left.",
            "Its values are served but not taken over to NEW: copy them, or wait until they have expired.",
        )
    if (setting.get("OPTIONS") or {}).get("IGNORE_EXCEPTIONS"):
        yield (
            "migrator.W023",
            "has IGNORE_EXCEPTIONS, which hides writes that fail.",
            "Take it out for the change: an earlier value can come back after a write that failed unseen.",
        )
