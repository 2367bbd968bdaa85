"""Sessions that a store holds and a copy does not see, and where the site keeps its sessions if not there."""

from __future__ import annotations

import re

from django.conf import settings
from django.db import router

from ..console.wording import plural
from ..errors import MigratorError
from ..stores.base import batches, digest
from ..stores.copying.records import MAX_PROBLEMS_LISTED
from .engines import TRANSITION, cache_alias, engine_class, engine_model, keeps_files, keeps_rows, present_prefix
from .records import End, Hidden
from .stores.base import BaseSessionStore
from .stores.cache import CacheStore

_PAGE = 1000
# A cookie cannot contain any other key, so no other key logs anyone in.
_IN_A_COOKIE = re.compile(r"[!-~]+")


def hidden_in(store: BaseSessionStore) -> tuple[Hidden, ...]:
    """Return the sessions that ``store`` holds and never lists, by reason. Its keys must have been listed before."""
    found = []
    if keys := _hidden_sessions(store):
        found.append(
            Hidden(
                len(keys),
                f"{plural(len(keys), 'session')} left out in {store.label()}: the session key does not match "
                f"{store.pattern}. Include such keys with --key-regex",
                tuple(digest(key) for key in keys[:MAX_PROBLEMS_LISTED]),
            )
        )
    if isinstance(store, CacheStore) and store.has_own_key_function and (raws := store.under_other_heads()):
        found.append(
            Hidden(
                len(raws),
                f"{plural(len(raws), 'session')} left out in cache {store.alias!r}: the KEY_FUNCTION does not make "
                f"keys such as {store.head_of(min(raws))}… here. Run the command once for each tenant or prefix",
                tuple(digest(store.key_in(raw)) for raw in sorted(raws)[:MAX_PROBLEMS_LISTED]),
            )
        )
    return tuple(found)


def _hidden_sessions(store: BaseSessionStore) -> list[str]:
    """Return the keys that were left out, although they hold a session."""
    found = []
    for page in batches(filter(_IN_A_COOKIE.fullmatch, sorted(store.hidden)), _PAGE):
        for key, session in store.fetch(page).items():
            if store.may_be_session(session):
                found.append(key)
    return found


def nothing_found(store: BaseSessionStore) -> str:
    """Return which pattern matched no key, and where the site's SESSION_ENGINE keeps its sessions."""
    given = " among the given keys" if store.has_given_keys else ""
    pattern = f" (session keys that match {store.pattern})" if store.pattern else ""
    parts = [f"No session was found{given} in {store.label()}{pattern}."]
    if isinstance(store, CacheStore) and not store.has_given_keys and (raws := store.under_other_heads()):
        parts.append(
            f"That cache holds {plural(len(raws), 'key')} of this engine under another prefix or version, such as "
            f"{store.head_of(min(raws))}…: check KEY_PREFIX, VERSION and KEY_FUNCTION of the alias."
        )
    parts.append(f"SESSION_ENGINE is {settings.SESSION_ENGINE!r}, which keeps its sessions {site_place()}.")
    return " ".join(parts)


def is_site_place(end: End) -> bool:
    """Whether the site's SESSION_ENGINE keeps sessions at ``end``; True if that cannot be determined."""
    name = settings.SESSION_ENGINE
    if name.startswith(TRANSITION):
        return True
    try:
        engine = engine_class(name)
    except MigratorError:
        return not name.endswith(".signed_cookies")
    if end.kind == "file" or (end.engine and keeps_files(engine_class(end.engine))):
        return keeps_files(engine)
    if end.kind == "cache":
        is_cache = present_prefix(engine) is not None
        return is_cache and end.alias in (None, cache_alias(engine))
    return keeps_rows(engine) and end.alias in (None, router.db_for_write(engine_model(engine)))


def site_place() -> str:
    """Return where the site's SESSION_ENGINE keeps sessions, as the end of a sentence."""
    name = settings.SESSION_ENGINE
    if name.startswith(TRANSITION):
        return "in OLD and NEW of MIGRATOR['SESSIONS']"
    try:
        engine = engine_class(name)
    except MigratorError:
        return "in the browsers' cookies" if name.endswith(".signed_cookies") else "in an unknown store"
    if keeps_files(engine):
        return f"in the files of {engine._get_storage_path()} (--source-engine file)"
    if keeps_rows(engine):
        model = engine_model(engine)
        before = ", with a cache in front of it" if present_prefix(engine) else ""
        return f"in the table {model._meta.db_table} of the database {router.db_for_write(model)!r}{before}"
    if prefix := present_prefix(engine):
        return f"in the cache {cache_alias(engine)!r} under the prefix {prefix!r}"
    return (
        "in a store of its own, not in a cache of CACHES, a table or files (as OLD in MIGRATOR['SESSIONS'] it is read "
        "through its engine)"
    )
