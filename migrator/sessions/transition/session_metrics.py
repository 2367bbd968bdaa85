"""The metrics of ``migrator.sessions.transition``, and the cache or database that stores them."""

from __future__ import annotations

from django.core.cache import caches
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, router

from ... import conf
from ...errors import MigratorError
from ...stores.table import server_time
from ...stores.value_reader import ValueReader
from ...transitions.metrics import Metrics, metrics_for_cache, metrics_for_database
from ..engines import cache_alias, cache_prefix, engine_class, engine_model, keeps_rows

NAME = "sessions"


def session_metrics() -> Metrics:
    """Return this process's metrics of ``MIGRATOR["SESSIONS"]``, stored where ``TALLY`` says.

    Without ``TALLY``: in the cache of NEW if all workers share it, otherwise in its database, otherwise in those of
    OLD. Raises :exc:`ImproperlyConfigured` if there is no such store.
    """
    kind, alias = _location()
    if kind == "cache":
        return metrics_for_cache(NAME, caches[alias], lambda cache: ValueReader(cache).server_time())
    return metrics_for_database(NAME, alias, server_time)


def metrics_location() -> str:
    """Return where the metrics are stored, in the format of ``TALLY``: ``cache:ALIAS`` or ``db:ALIAS``."""
    return ":".join(_location())


def _location() -> tuple[str, str]:
    """Return ``cache`` or ``db``, and an alias."""
    sessions = conf.load().SESSIONS
    if sessions is None:
        raise ImproperlyConfigured("MIGRATOR has no SESSIONS, so there are no counts to store.")
    if sessions.TALLY is not None:
        return _parsed(sessions.TALLY)
    for side in (sessions.NEW, sessions.OLD):
        if found := _shared_store_of(side):
            return found
    raise ImproperlyConfigured(
        "Neither side of MIGRATOR['SESSIONS'] is a cache or a database that all workers share. "
        "Set MIGRATOR['SESSIONS']['TALLY'] to 'cache:ALIAS' or 'db:ALIAS', to store their counts there."
    )


def _parsed(text: str) -> tuple[str, str]:
    kind, _, alias = text.partition(":")
    known = {"cache": list(caches.settings), "db": list(connections.settings)}
    if alias not in known.get(kind, ()):
        raise ImproperlyConfigured(
            f"MIGRATOR['SESSIONS']['TALLY'] is {text!r}, which is not 'cache:ALIAS' or 'db:ALIAS' with an alias in "
            "CACHES or DATABASES."
        )
    return kind, alias


def _shared_store_of(side: conf.SessionSide) -> tuple[str, str] | None:
    """Return the cache or else the database of a side that all workers share; None if it has neither."""
    try:
        engine = engine_class(side.ENGINE)
    except MigratorError as error:
        raise ImproperlyConfigured(str(error)) from error
    alias = side.CACHE or cache_alias(engine)
    if cache_prefix(engine) is not None and not isinstance(caches[alias], LocMemCache | DummyCache):
        return "cache", alias
    if keeps_rows(engine):
        return "db", side.DATABASE or router.db_for_write(engine_model(engine))
    return None
