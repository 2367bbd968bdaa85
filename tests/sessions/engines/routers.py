"""A router that keeps cache tables in a database of their own."""

from typing import Any


class CacheTables:
    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return "sqlite_b" if model._meta.app_label == "django_cache" else None

    db_for_read = db_for_write
