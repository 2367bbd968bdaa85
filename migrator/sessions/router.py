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
    """Sends the session model to the database of the side that decides, or to ``MIGRATOR["SESSION_DATABASE"]``.

    During a change of stores its table is made in the databases of both sides; without one in SESSION_DATABASE alone.
    Whatever is no session model is left to other routers.
    """

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        """Return where sessions are read; for what a session points to, where it is read without the session."""
        if _is_session(model):
            return _database(model)
        if _is_session(type(hints.get("instance"))):
            # Django would look for the session's user in the session's database.
            found: str = router.db_for_read(model)
            return found
        return None

    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        """Return where sessions are written."""
        return _database(model) if _is_session(model) else None

    def allow_relation(self, one: Any, other: Any, **hints: Any) -> bool | None:
        """Let a session belong to a user of another database: what the key points to is not asked for there."""
        return True if _is_session(type(one)) or _is_session(type(other)) else None

    def allow_migrate(self, db: str, app_label: str, model_name: str | None = None, **hints: Any) -> bool | None:
        """Make the session table where sessions are, or will be, and nowhere else."""
        try:
            databases = _homes().get((app_label, model_name or ""))
        except (ImproperlyConfigured, MigratorError):  # which our system checks report: Django's ask this before
            return None
        return None if databases is None else db in databases


def _is_session(model: Any) -> bool:
    concrete = _concrete(model)
    return concrete is not None and (concrete._meta.app_label, concrete._meta.model_name) in _homes()


def _concrete(model: Any) -> Any:
    """Return the model whose rows a model has: that of a proxy is the one that it stands for."""
    return model._meta.concrete_model if hasattr(model, "_meta") else None


def _database(model: Any) -> str | None:
    """Return the database of a session model now."""
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
def _homes() -> dict[tuple[str, str], set[str]]:
    """Name the databases that each session model lives in, by its app and name."""
    change, alone = conf.load().SESSIONS, conf.load().SESSION_DATABASE
    if change is None:
        places: list[tuple[Any, str | None]] = [(_model(settings.SESSION_ENGINE), alone)] if alone else []
    else:
        places = [(_model(side.ENGINE), side.DATABASE) for side in (change.OLD, change.NEW)]
    homes: dict[tuple[str, str], set[str]] = {}
    for model, alias in places:
        if model is not None:
            homes.setdefault((model._meta.app_label, model._meta.model_name), set()).add(alias or DEFAULT_DB_ALIAS)
    return homes


def _model(engine: str) -> Any:
    """Return the model of an engine's rows, None where it keeps none."""
    found = engine_class(engine)
    return engine_model(found) if keeps_rows(found) else None


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting in ("MIGRATOR", "SESSION_ENGINE", "INSTALLED_APPS"):
        _homes.cache_clear()


setting_changed.connect(_forget, dispatch_uid="migrator.sessions.router")
