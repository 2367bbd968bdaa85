"""Caches: their keys listed, read and written many at a time, with values as they are stored and exact expiry."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..stores.pickles import loads_safely as loads_safely
    from .copying import copy_cache as copy_cache
    from .transition import TransitionCache as TransitionCache

# Imported when they are first asked for, so that settings can name a class here before the apps are loaded.
_HOMES = {
    "TransitionCache": ".transition",
    "copy_cache": ".copying",
    "loads_safely": "..stores.pickles",
}
__all__ = ["TransitionCache", "copy_cache", "loads_safely"]


def __getattr__(name: str) -> Any:
    """Import a public name from the module that defines it."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
