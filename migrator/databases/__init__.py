"""Whole databases copied: rows through the tables of the project's models, never through model instances."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..lazy_exports import imported_on_use

if TYPE_CHECKING:
    from .api import batch_migrate as batch_migrate
    from .api import batch_migrate_models as batch_migrate_models
    from .comparison import verify_counts as verify_counts
    from .doctor import migrator_doctor as migrator_doctor
    from .journal.status import migrator_status as migrator_status
    from .signals import run_failed as run_failed
    from .signals import run_finished as run_finished
else:
    __getattr__ = imported_on_use(
        __name__,
        {
            "batch_migrate": ".api",
            "batch_migrate_models": ".api",
            "migrator_doctor": ".doctor",
            "migrator_status": ".journal.status",
            "run_failed": ".signals",
            "run_finished": ".signals",
            "verify_counts": ".comparison",
        },
    )

__all__ = [
    "batch_migrate",
    "batch_migrate_models",
    "migrator_doctor",
    "migrator_status",
    "run_failed",
    "run_finished",
    "verify_counts",
]
