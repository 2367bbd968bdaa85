"""Where the workers' counters of ``migrator.sessions.transition`` are added up."""

from __future__ import annotations

from django.core.cache import caches
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, router

from ... import conf
from ...caches.transition.readers import reader_of
from ...errors import MigratorError
from ...stores.table import server_time
from ...transitions.metrics import Metrics, metrics_for_cache, metrics_for_database
from ..engines import cache_alias, cache_prefix, engine_class, engine_model, keeps_rows

NAME = "sessions"


def tally_for_sessions() -> Metrics:
    """Return the process's tally of ``MIGRATOR["SESSIONS"]``, kept where ``TALLY`` says.

    Without it: in the cache of NEW where all workers share that one, else in its database, else in those of OLD.
    Raises :exc:`ImproperlyConfigured` where that is no place.
    """
    kind, alias = _place()
    if kind == "cache":
        return metrics_for_cache(NAME, caches[alias], lambda cache: reader_of(cache).server_time())
    return metrics_for_database(NAME, alias, server_time)


def place_of_tally() -> str:
    """Name the place as ``TALLY`` does: ``cache:ALIAS`` or ``db:ALIAS``."""
    return ":".join(_place())


def _place() -> tuple[str, str]:
    sessions = conf.load().SESSIONS
    if sessions is None:
        raise ImproperlyConfigured("MIGRATOR has no SESSIONS, whose counts could be kept.")
    if sessions.TALLY is not None:
        return _named(sessions.TALLY)
    for side in (sessions.NEW, sessions.OLD):
        if found := _place_of(side):
            return found
    raise ImproperlyConfigured(
        "Neither side of MIGRATOR['SESSIONS'] is a cache or a database that all workers share. "
        "Say in MIGRATOR['SESSIONS']['TALLY'] where their counts are kept: 'cache:ALIAS' or 'db:ALIAS'."
    )


def _named(text: str) -> tuple[str, str]:
    kind, _, alias = text.partition(":")
    known = {"cache": list(caches.settings), "db": list(connections.settings)}
    if alias not in known.get(kind, ()):
        raise ImproperlyConfigured(
            f"MIGRATOR['SESSIONS']['TALLY'] is {text!r}, and neither 'cache:ALIAS' nor 'db:ALIAS' of one that there is."
        )
    return kind, alias


def _place_of(side: conf.SessionSide) -> tuple[str, str] | None:
    """Return the place of a side that all workers share: its cache, else its database; None where it has none."""
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
