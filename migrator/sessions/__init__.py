"""Sessions moved between caches, tables and files, so that users stay logged in."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import copy_sessions_cache_to_cache as copy_sessions_cache_to_cache
    from .api import copy_sessions_cache_to_db as copy_sessions_cache_to_db
    from .api import copy_sessions_db_to_cache as copy_sessions_db_to_cache
    from .api import copy_sessions_db_to_db as copy_sessions_db_to_db
    from .comparison import VerifyOptions as VerifyOptions
    from .records import CopyOptions as CopyOptions
    from .records import End as End
    from .transition.clear_store import clear_old_sessions as clear_old_sessions
    from .transition.readiness import session_transition as session_transition
    from .verification import verify_sessions as verify_sessions

# Imported on first access, so that settings can name a class here before the apps are loaded.
_HOMES = {
    "CopyOptions": ".records",
    "End": ".records",
    "VerifyOptions": ".comparison",
    "clear_old_sessions": ".transition.clear_store",
    "copy_sessions_cache_to_cache": ".api",
    "copy_sessions_cache_to_db": ".api",
    "copy_sessions_db_to_cache": ".api",
    "copy_sessions_db_to_db": ".api",
    "session_transition": ".transition.readiness",
    "verify_sessions": ".verification",
}
__all__ = [
    "CopyOptions",
    "End",
    "VerifyOptions",
    "clear_old_sessions",
    "copy_sessions_cache_to_cache",
    "copy_sessions_cache_to_db",
    "copy_sessions_db_to_cache",
    "copy_sessions_db_to_db",
    "session_transition",
    "verify_sessions",
]


def __getattr__(name: str) -> Any:
    """Import a public name from the module that defines it."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
