"""Sessions moved between caches, tables and files, so that users stay logged in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy_exports import imported_on_use

if TYPE_CHECKING:
    from .api import copy_sessions_cache_to_cache as copy_sessions_cache_to_cache
    from .api import copy_sessions_cache_to_db as copy_sessions_cache_to_db
    from .api import copy_sessions_db_to_cache as copy_sessions_db_to_cache
    from .api import copy_sessions_db_to_db as copy_sessions_db_to_db
    from .comparison import VerifyOptions as VerifyOptions
    from .copying.run import copy_sessions as copy_sessions
    from .records import CopyOptions as CopyOptions
    from .records import End as End
    from .transition.clear_store import clear_old_sessions as clear_old_sessions
    from .transition.readiness import session_transition as session_transition
    from .verification import verify_sessions as verify_sessions
else:
    __getattr__ = imported_on_use(
        __name__,
        {
            "CopyOptions": ".records",
            "End": ".records",
            "VerifyOptions": ".comparison",
            "clear_old_sessions": ".transition.clear_store",
            "copy_sessions": ".copying.run",
            "copy_sessions_cache_to_cache": ".api",
            "copy_sessions_cache_to_db": ".api",
            "copy_sessions_db_to_cache": ".api",
            "copy_sessions_db_to_db": ".api",
            "session_transition": ".transition.readiness",
            "verify_sessions": ".verification",
        },
    )

__all__ = [
    "CopyOptions",
    "End",
    "VerifyOptions",
    "clear_old_sessions",
    "copy_sessions",
    "copy_sessions_cache_to_cache",
    "copy_sessions_cache_to_db",
    "copy_sessions_db_to_cache",
    "copy_sessions_db_to_db",
    "session_transition",
    "verify_sessions",
]
