"""The ends of a copy: from the options of a command to a store that reads and writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import router

from .. import conf
from ..errors import MigratorError, UsageError
from .engines import (
    cache_alias,
    cache_engine,
    cache_prefix,
    engine_class,
    engine_model,
    instance,
    keeps_files,
    keeps_rows,
    key_shape,
    present_prefix,
    table_engine,
)
from .records import End
from .stores.base import BaseSessionStore
from .stores.cache import CacheStore
from .stores.custom_values import check_text
from .stores.files import SessionFileStore
from .stores.table import SessionTableStore
from .stores.through_engine import EngineStore
from .table_layouts import STOCK_MODEL, session_layout

OPENERS: dict[str, Callable[[SessionEndpoint], BaseSessionStore]] = {}


@dataclass(frozen=True)
class SessionEndpoint:
    """An end with what is needed to open it: a pattern of its keys, and whether its pickles are read without limits."""

    end: End
    key_regex: str | None = None
    trust_pickle: bool = False

    def open(self) -> BaseSessionStore:
        """Open a cache, a table, files if the engine keeps files, or a store that only its engine knows.

        Raises :exc:`UsageError` for names that do not exist, :exc:`Refused` for stores that cannot be copied.
        """
        kind = self.end.kind
        if self.end.engine and keeps_files(engine_class(self.end.engine)):
            kind = "file"
        if kind not in OPENERS:
            raise UsageError(f"{kind!r} is not a kind of store: there are {', '.join(OPENERS)}.")
        store = OPENERS[kind](self)
        store.demand_all()
        return store


def settled(source: End, dest: End) -> tuple[End, End]:
    """Return two ends, completed from the settings.

    An end that is a side of ``MIGRATOR["SESSIONS"]`` gets that side's engine and the cache in front of its table. For a
    copy between two caches both ends get the site's own engine, even if it is ``cached_db``.
    """
    source, dest = _as_its_side(source), _as_its_side(dest)
    if source.kind == dest.kind == "cache" and source.engine is None and dest.engine is None:
        engine = settings.SESSION_ENGINE
        if present_prefix(engine_class(engine)) is not None:
            return replace(source, engine=engine), replace(dest, engine=engine)
    return source, dest


def _as_its_side(end: End) -> End:
    """Return an end, completed if it is exactly one of the sides of ``MIGRATOR["SESSIONS"]``."""
    sessions = conf.load().SESSIONS
    sides = [side for side in (sessions.OLD, sessions.NEW) if _is_side(end, side)] if sessions else []
    if len(sides) != 1:
        return end
    return replace(end, engine=end.engine or sides[0].ENGINE, cache=end.cache or sides[0].CACHE)


def _is_side(end: End, side: conf.SessionSide) -> bool:
    try:
        engine = engine_class(side.ENGINE)
    except MigratorError:  # the system checks report it
        return False
    if end.engine is not None and engine_class(end.engine) is not engine:
        return False
    if end.kind == "cache":
        is_cache = cache_prefix(engine) is not None and not keeps_rows(engine)
        default = cache_alias(engine)
        return is_cache and (side.CACHE or default) == (end.alias or default)
    if end.kind != "db" or not keeps_rows(engine):
        return False
    model = engine_model(engine)
    if end.model is not None and end.model.lower() != model._meta.label_lower:
        return False
    default = router.db_for_write(model)
    return (side.DATABASE or default) == (end.alias or default)


def key_regex_of(*ends: End) -> str:
    """Return a regular expression for session keys at all ``ends``: each will hold what all their engines make."""
    return key_shape(*(_engine_at(end) for end in ends))


def _engine_at(end: End) -> Any:
    if end.kind == "file" or (end.engine and keeps_files(engine_class(end.engine))):
        return engine_class(end.engine or "file")
    if end.kind == "engine":
        return engine_class(end.engine or settings.SESSION_ENGINE)
    if end.kind == "cache":
        return cache_engine(end.engine)
    return table_engine(end.engine, session_layout(end.model or _model_name(end.engine)).model)


def _open_cache(endpoint: SessionEndpoint) -> BaseSessionStore:
    end = endpoint.end
    engine = cache_engine(end.engine)
    return CacheStore(
        alias=end.alias or cache_alias(engine),
        engine=instance(engine),
        prefix=present_prefix(engine) or "",
        keys_from=end.keys_from,
        key_regex=endpoint.key_regex or key_shape(engine),
        trust_pickle=endpoint.trust_pickle,
    )


def _open_table(endpoint: SessionEndpoint) -> BaseSessionStore:
    end = endpoint.end
    described = session_layout(end.model or _model_name(end.engine))
    engine: Any = table_engine(end.engine, described.model)
    front_cache = None
    check_text(engine)
    if present_prefix(engine) is not None:
        front_cache = CacheStore(
            alias=end.cache or cache_alias(engine),
            engine=instance(engine),
            prefix=present_prefix(engine) or "",
            key_regex=endpoint.key_regex or key_shape(engine),
            trust_pickle=endpoint.trust_pickle,
        )
    return SessionTableStore(
        alias=end.alias, described=described, engine=instance(engine), keys_from=end.keys_from, front_cache=front_cache
    )


def _model_name(engine_name: str | None) -> str:
    """Return the model of an engine's table: the engine's own if it is installed, otherwise Django's."""
    engine = engine_class(engine_name or settings.SESSION_ENGINE)
    model = engine_model(engine) if keeps_rows(engine) else None
    if model is not None and apps.is_installed(model._meta.app_config.name):
        return str(model._meta.label)
    return STOCK_MODEL


def _open_files(endpoint: SessionEndpoint) -> BaseSessionStore:
    end = endpoint.end
    engine = engine_class(end.engine or "file")
    if not keeps_files(engine):
        raise UsageError(f"The engine {end.engine!r} does not keep sessions in files.")
    check_text(engine)
    key_regex = endpoint.key_regex or key_shape(engine)
    return SessionFileStore(engine=instance(engine), keys_from=end.keys_from, key_regex=key_regex)


def _open_engine(endpoint: SessionEndpoint) -> BaseSessionStore:
    end = endpoint.end
    return EngineStore(engine=instance(engine_class(end.engine or settings.SESSION_ENGINE)), keys_from=end.keys_from)


OPENERS |= {"cache": _open_cache, "db": _open_table, "file": _open_files, "engine": _open_engine}
