"""Whether OLD and NEW are one store: as far as their settings say, and as the servers answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from django.core.cache.backends.base import get_key_func
from django.utils.module_loading import import_string

from ...stores import STORES, dotted_names

# Options of backends that can lead one LOCATION to different stores.
_LEAD_ELSEWHERE = ("db", "CONNECTION_POOL_KWARGS", "SENTINELS")
_PROBE = "migrator.transition.probe"
_PROBE_SECONDS = 60


def kept_at(setting: Mapping[str, Any], key: str = "probe") -> tuple[Any, ...]:
    """Return what identifies the store and the raw name of a key, as far as a cache's setting says."""
    backend = import_string(setting["BACKEND"])
    store = next((STORES[name] for name in dotted_names(backend) if name in STORES), "")
    kind = "redis" if store.startswith("redis.") else setting["BACKEND"]
    location = setting.get("LOCATION", "")
    key_function = get_key_func(setting.get("KEY_FUNCTION"))
    raw = key_function(key, setting.get("KEY_PREFIX", ""), setting.get("VERSION", 1))
    options = setting.get("OPTIONS") or {}
    led = {name: options[name] for name in _LEAD_ELSEWHERE if name in options}
    return kind, str(location).replace("valkey://", "redis://"), str(led), raw


def same_by_settings(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether two cache settings keep their keys in one store under the same raw names. No server is asked."""
    return kept_at(old) == kept_at(new)


def same_by_server(old: Any, new: Any, version: int | None = None) -> bool:
    """Whether a key that is written to ``new`` is found in ``old``."""
    token, key = uuid4().hex, f"{_PROBE}.{uuid4().hex}"
    new.set(key, token, _PROBE_SECONDS, version=version)
    try:
        return bool(old.get(key, version=version) == token)
    finally:
        new.delete(key, version=version)


def shares_given_versions(old: Any, new: Any) -> bool:
    """Whether two caches that only VERSION separates share the keys of a version that is passed with the call."""
    if old.make_key(_PROBE) == new.make_key(_PROBE):
        return False
    same = old.make_key(_PROBE, version=0) == new.make_key(_PROBE, version=0)
    return same and same_by_server(old, new, version=0)
