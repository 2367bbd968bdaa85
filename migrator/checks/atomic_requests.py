"""Databases that every request needs although only caches or sessions are in them."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.db import connections, router

HINT = (
    "Remove ATOMIC_REQUESTS there: with it every request begins a transaction in this database, so no request is "
    "answered while it is down"
)


def atomic_databases_without_models() -> set[str]:
    """Return the aliases with ATOMIC_REQUESTS to which no installed model is written, except those of sessions.

    Django begins a transaction in each of them before every view (django/core/handlers/base.py, ``make_view_atomic``).
    """
    atomic = {alias for alias in connections if connections.settings[alias].get("ATOMIC_REQUESTS")}
    if not atomic:
        return set()
    others = (model for model in apps.get_models() if not _holds_sessions(model))
    return atomic - {router.db_for_write(model) for model in others}


def _holds_sessions(model: Any) -> bool:
    return {"session_key", "session_data", "expire_date"} <= {field.name for field in model._meta.concrete_fields}
