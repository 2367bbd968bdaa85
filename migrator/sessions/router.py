"""A router for DATABASE_ROUTERS that keeps the session table in a database of its own."""

from __future__ import annotations

import functools
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.db import DEFAULT_DB_ALIAS, router

from .. import conf
from ..errors import MigratorError
from ..transitions.phases import Phase, steady_phase_reader
from .engines import engine_class, engine_model, keeps_rows


class SessionRouter:
    """Routes the session model to the database of the authoritative side, or to ``MIGRATOR["SESSION_DATABASE"]``.

    During a transition its table is created in the databases of both sides, otherwise only in SESSION_DATABASE.
    All other models are left to other routers.
    """

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        """Return where sessions are read; for what a session refers to, where it is read without the session."""
        if _is_session(model):
            return _database(model)
        if _is_session(type(hints.get("instance"))):
            # Django would read the session's user from the session's database.
            found: str = router.db_for_read(model)
            return found
        return None

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        """Return where sessions are written."""
        return _database(model) if _is_session(model) else None

    def allow_relation(self, one: Any, other: Any, **hints: Any) -> bool | None:
        """Allow a session to belong to a user in another database."""
        return True if _is_session(type(one)) or _is_session(type(other)) else None

    def allow_migrate(self, db: str, app_label: str, model_name: str | None = None, **hints: Any) -> bool | None:
        """Create the session table only in the databases where sessions are, or will be."""
        try:
            databases = _databases_by_model().get((app_label, model_name or ""))
        except (ImproperlyConfigured, MigratorError):  # which our system checks report; Django's call this earlier
            return None
        return None if databases is None else db in databases


def _is_session(model: Any) -> bool:
    concrete = _concrete(model)
    return concrete is not None and (concrete._meta.app_label, concrete._meta.model_name) in _databases_by_model()


def _concrete(model: Any) -> Any:
    """Return the model whose table a model uses: for a proxy, the model behind it."""
    return model._meta.concrete_model if hasattr(model, "_meta") else None


def _database(model: Any) -> str | None:
    """Return the current database of a session model."""
    change = conf.load().SESSIONS
    if change is None:
        return conf.load().SESSION_DATABASE
    sides = [side for side in (change.OLD, change.NEW) if _model(side.ENGINE) is _concrete(model)]
    if len(sides) == 2 and _phase(change).new_decides:
        sides.reverse()
    return sides[0].DATABASE if sides else None


def _phase(change: conf.Sessions) -> Phase:
    return steady_phase_reader(change.PHASE, name="MIGRATOR['SESSIONS']['PHASE']")()


@functools.cache
def _databases_by_model() -> dict[tuple[str, str], set[str]]:
    """Return the databases of each session model, by app label and model name."""
    change, alone = conf.load().SESSIONS, conf.load().SESSION_DATABASE
    if change is None:
        stores: list[tuple[Any, str | None]] = [(_model(settings.SESSION_ENGINE), alone)] if alone else []
    else:
        stores = [(_model(side.ENGINE), side.DATABASE) for side in (change.OLD, change.NEW)]
    databases: dict[tuple[str, str], set[str]] = {}
    for model, alias in stores:
        if model is not None:
            databases.setdefault((model._meta.app_label, model._meta.model_name), set()).add(alias or DEFAULT_DB_ALIAS)
    return databases


def _model(engine: str) -> Any:
    """Return the model of an engine's rows, None for an engine without a table."""
    found = engine_class(engine)
    return engine_model(found) if keeps_rows(found) else None


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting in ("MIGRATOR", "SESSION_ENGINE", "INSTALLED_APPS"):
        _databases_by_model.cache_clear()


setting_changed.connect(_forget, dispatch_uid="migrator.sessions.router")
