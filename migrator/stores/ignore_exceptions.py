"""Caches whose IGNORE_EXCEPTIONS hides failures (django-redis, django-valkey), and how these are heard all the same."""

from __future__ import annotations

from copy import copy
from typing import Any


def is_silent(cache: Any) -> bool:
    """Tell whether a cache hides that its server fails."""
    return bool(getattr(cache, "_ignore_exceptions", False))


def heard(cache: Any) -> Any:
    """Return the cache, or where it is silent another one over the same connections that is not."""
    if not is_silent(cache):
        return cache
    _ = cache.client  # made when first asked for, and then shared by both
    found = copy(cache)
    found._ignore_exceptions = False
    return found
