"""Caches whose IGNORE_EXCEPTIONS hides failures (django-redis, django-valkey), and a way to have them raised."""

from __future__ import annotations

from copy import copy
from typing import Any


def is_silent(cache: Any) -> bool:
    """Whether a cache hides failures of its server."""
    return bool(getattr(cache, "_ignore_exceptions", False))


def heard(cache: Any) -> Any:
    """Return a cache that raises failures: the given one, or if that hides them another over the same connections."""
    if not is_silent(cache):
        return cache
    _ = cache.client  # made when first asked for, and then shared by both
    found = copy(cache)
    found._ignore_exceptions = False
    return found
