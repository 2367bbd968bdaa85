from __future__ import annotations

from django.apps import AppConfig


class MigratorConfig(AppConfig):
    name = "migrator"
    verbose_name = "Migrator"

    def ready(self) -> None:
        from .checks import caches, deploy, sessions, settings, versions  # noqa: F401  (registers the system checks)
        from .sessions.transition.model_deletes import listen

        listen()
