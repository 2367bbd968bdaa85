"""Move whole databases: rows through the tables of the project's models, never through model instances."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import batch_migrate as batch_migrate
    from .api import batch_migrate_models as batch_migrate_models
    from .verification.compare import verify_counts as verify_counts

# Imported when they are first asked for, so that settings can name a class here before the apps are loaded.
_HOMES = {
    "batch_migrate": ".api",
    "batch_migrate_models": ".api",
    "verify_counts": ".verification.compare",
}
__all__ = ["batch_migrate", "batch_migrate_models", "verify_counts"]


def __getattr__(name: str) -> Any:
    """Import a public name from the module that defines it."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
