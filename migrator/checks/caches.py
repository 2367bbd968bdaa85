"""System checks of the transitions in CACHES."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.apps import AppConfig
from django.core.cache import caches
from django.core.cache.backends.db import BaseDatabaseCache
from django.core.checks import CheckMessage, Tags, register
from django.db import router
from django.utils.module_loading import import_string

from ..caches.transition import TransitionCache, configuration
from ..caches.transition.same_store import kept_at, same_by_server
from ..stores import LIVE_STORES, dotted_names
from .atomic_requests import HINT, atomic_databases_without_models
from .messages import error, warning

_LOCAL = "django.core.cache.backends.locmem.LocMemCache"


@register("migrator", Tags.caches)
def check_transitions(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Check the setting of every transition. No server is asked."""
    found: list[CheckMessage] = []
    for alias, entry in transitions():
        errors = [error(fault.id, fault.found, fault.hint) for fault in configuration.faults(alias, entry)]
        found += errors or [*_check_pair(alias, entry), *_check_sides(alias, entry)]
    return found


@register("migrator", Tags.caches, deploy=True)
def check_cache_stores_differ(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Check with the servers that OLD and NEW of every transition are different stores."""
    found: list[CheckMessage] = []
    for alias, entry in transitions():
        if any(configuration.faults(alias, entry)):
            continue
        try:
            old, new = (configuration.open_side(entry, side) for side in ("OLD", "NEW"))
            is_same = same_by_server(old, new)
        except Exception as failure:
            kind = type(failure).__qualname__
            found.append(
                warning(
                    "migrator.W020",
                    f"OLD or NEW of CACHES[{alias!r}] does not answer ({kind}).",
                    "Check its LOCATION and its server.",
                )
            )
            continue
        if is_same:
            found.append(
                error(
                    "migrator.E028",
                    f"OLD and NEW of CACHES[{alias!r}] are the same store.",
                    "Give NEW another LOCATION or KEY_PREFIX.",
                )
            )
    return found


def transitions() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the alias and the setting of each entry of CACHES whose backend is a transition."""
    for alias, entry in caches.settings.items():
        try:
            backend = import_string(entry["BACKEND"])
        except (ImportError, KeyError, TypeError):
            continue  # which Django reports where the cache is used
        if inspect.isclass(backend) and issubclass(backend, TransitionCache):
            yield alias, entry


def _check_pair(alias: str, entry: Mapping[str, Any]) -> Iterator[CheckMessage]:
    """Warn of sides that only KEY_PREFIX or VERSION separates in one database, table or directory."""
    old, new = (kept_at({**configuration.side_setting(entry, side), "VERSION": 1}) for side in ("OLD", "NEW"))
    if old == new:
        yield warning(
            "migrator.W025",
            f"OLD and NEW of CACHES[{alias!r}] differ only in VERSION: calls that pass a version fail.",
            "Give NEW another LOCATION or KEY_PREFIX if the site calls incr_version() or passes version=.",
        )
    if old[:-1] == new[:-1]:
        yield warning(
            "migrator.W026",
            f"OLD and NEW of CACHES[{alias!r}] share a store, so clear() empties both.",
            "Give NEW another LOCATION, such as another database of the server, or clear neither side.",
        )


def _check_sides(alias: str, entry: Mapping[str, Any]) -> Iterator[CheckMessage]:
    for side in ("OLD", "NEW"):
        where = f"CACHES[{alias!r}]['{side}']"
        yield from _check_backend(where, side, configuration.side_setting(entry, side))
        yield from _check_requests(where, side, entry)


def _check_backend(where: str, side: str, setting: Mapping[str, Any]) -> Iterator[CheckMessage]:
    names = set(dotted_names(import_string(setting["BACKEND"])))
    if _LOCAL in names:
        yield warning(
            "migrator.W021",
            f"{where} is a separate cache in each process.",
            "What one worker changes, the others do not see; use it only in tests.",
        )
    if side == "OLD" and not names & set(LIVE_STORES):
        yield warning(
            "migrator.W022",
            f"{where} is a {setting['BACKEND']}, which does not report the time to live of a value.",
            "Its values are served but not promoted to NEW: copy them, or wait until they have expired.",
        )
    if (setting.get("OPTIONS") or {}).get("IGNORE_EXCEPTIONS"):
        yield warning(
            "migrator.W023",
            f"{where} has IGNORE_EXCEPTIONS, which hides failed writes.",
            "Remove it during the transition: after a hidden failure an earlier value can come back.",
        )


def _check_requests(where: str, side: str, entry: Mapping[str, Any]) -> Iterator[CheckMessage]:
    """Warn of a cache in a table whose database every request needs, even if the other side is authoritative."""
    if not issubclass(import_string(configuration.side_setting(entry, side)["BACKEND"]), BaseDatabaseCache):
        return
    cache: Any = configuration.open_side(entry, side)
    database = router.db_for_write(cache.cache_model_class)
    if database in atomic_databases_without_models():
        found = f"{where} is in the database {database!r}, which has ATOMIC_REQUESTS and no models."
        yield warning("migrator.W024", found, f"{HINT}.")
