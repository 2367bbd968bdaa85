from __future__ import annotations

from django.apps import AppConfig


class MigratorConfig(AppConfig):
    name = "migrator"
    verbose_name = "Migrator"

    def ready(self) -> None:
        from . import checks  # noqa: F401  (registers the system checks)
        from .caches import checks as cache_checks  # noqa: F401  (likewise)
        from .sessions import apart, jumps  # noqa: F401  (likewise)
        from .sessions import checks as session_checks  # noqa: F401  (likewise)
        from .sessions.transition.model_ends import listen

        listen()
