"""What a ``cached_db`` engine returns from the cache in front of its table and its rows do not contain."""

from __future__ import annotations

import time
from contextlib import closing

from ..stores.base import Record, RecordProblem
from .codec import Data, UnreadableSession
from .endpoints import SessionEndpoint, key_regex_of
from .records import DEFAULT_CHUNK_SIZE, End
from .stores.base import BaseSessionStore
from .stores.cache import CacheStore
from .stores.table import SessionTableStore

# A session that differs may have been saved between the two reads.
SETTLE_SECONDS = 0.5


def stale_before_rows(end: End, *, trust_pickle: bool = False) -> int | None:
    """Return how many sessions differ between the cache in front of a table and its rows, or have no row.

    The engine reads the cache first, so people get these. Returns None for an end without such a cache. What differs is
    read once more after a moment, as it may just have been saved.
    """
    with closing(SessionEndpoint(end, key_regex_of(end), trust_pickle).open()) as store:
        if not isinstance(store, SessionTableStore) or store.front_cache is None:
            return None
        suspects = [key for page in store.keys(DEFAULT_CHUNK_SIZE) for key in _stale(store, store.front_cache, page)]
        if store.front_cache.can_list_keys:
            suspects += [
                key
                for page in store.front_cache.keys(DEFAULT_CHUNK_SIZE)
                for key in _stale(store, store.front_cache, page)
            ]
        if not suspects:
            return 0
        time.sleep(SETTLE_SECONDS)
        return len(_stale(store, store.front_cache, list(dict.fromkeys(suspects))))


def _stale(rows: SessionTableStore, cache: CacheStore, keys: list[str]) -> list[str]:
    held = cache.fetch(keys)
    there = rows.fetch(list(held))
    return [key for key, session in held.items() if _data(cache, session) != _data(rows, there.get(key))]


def _data(store: BaseSessionStore, session: Record | None) -> Data | str | None:
    if session is None:
        return None
    try:
        return store.load(session)
    except (UnreadableSession, RecordProblem) as error:
        return str(error)  # the engine finds no session in it either, and uses the row
