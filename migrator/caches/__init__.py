"""Caches: their keys listed, read and written many at a time, with values as they are stored and exact expiry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy_exports import imported_on_use

if TYPE_CHECKING:
    from ..stores.pickles import loads_safely as loads_safely
    from .copying import copy_cache as copy_cache
    from .transition import TransitionCache as TransitionCache
    from .transition.status import cache_transition as cache_transition
else:
    __getattr__ = imported_on_use(
        __name__,
        {
            "TransitionCache": ".transition",
            "cache_transition": ".transition.status",
            "copy_cache": ".copying",
            "loads_safely": "..stores.pickles",
        },
    )

__all__ = ["TransitionCache", "cache_transition", "copy_cache", "loads_safely"]
