"""Whether the sides of a transition, and their caches, are two places, as far as the settings tell.

No server is asked.
"""

from __future__ import annotations

from typing import Any

from django.core.cache import caches
from django.db import connections

from ...caches.transition.same_store import kept_at
from ..engines import cache_prefix
from .sides import TransitionSide

# What in DATABASES says where a name of a table leads. Other spellings of one place are for the servers to tell.
_PLACE = ("ENGINE", "HOST", "PORT", "NAME", "USER", "OPTIONS")
_BOTH = "Both sides of MIGRATOR['SESSIONS']"


def one_place(old: TransitionSide, new: TransitionSide) -> str | None:
    """Say why two sides are, or may be, one and the same place; None where they are two."""
    if old.model is not None and old.model is new.model:
        if None in (old.setting.DATABASE, new.setting.DATABASE):
            return f"{_BOTH} keep {old.model._meta.label}. Say with DATABASE, for each of them, in which database."
        return _told(_database(old.database), _database(new.database), "databases", old.database, new.database)
    if old.keeps_rows or new.keeps_rows or old.is_elsewhere:
        return None
    return _told(_keys(old), _keys(new), "caches", old.cache, new.cache)


def shared_cache(old: TransitionSide, new: TransitionSide) -> str | None:
    """Say that a cache before rows is also the other side's, None where it is not.

    What one side puts there, the other finds, and takes for a session of its own.
    """
    if not (old.keeps_rows or new.keeps_rows) or _keys(old) is None or _keys(old) != _keys(new):
        return None
    caches_named = " and ".join(dict.fromkeys(repr(side.cache) for side in (old, new)))
    return f"{_BOTH} keep a session under one key of the cache {caches_named}."


def _told(one: Any, other: Any, kind: str, alias: str | None, other_alias: str | None) -> str | None:
    if one != other:
        return None
    if alias == other_alias:
        return f"{_BOTH} are one place."
    return f"{_BOTH} are one place: the {kind} {alias!r} and {other_alias!r} are one."


def _database(alias: Any) -> tuple[str, ...]:
    """Say where the tables of a database are."""
    known = connections.settings[alias]
    if str(known.get("NAME")) == ":memory:":
        return (alias,)  # each has one of its own
    return tuple(str(known.get(name)) for name in _PLACE)


def _keys(side: TransitionSide) -> tuple[Any, ...] | None:
    """Say where a side keeps a session in its cache, None without a cache."""
    prefix, alias = cache_prefix(side.engine), side.cache
    if prefix is None or alias is None:
        return None
    try:
        return kept_at(caches.settings[alias], f"{prefix}probe")
    except (KeyError, ImportError):  # which is told where the cache is opened
        return (alias, prefix)
