"""Session engines: which class keeps the sessions of a store, by the settings or an option."""

from __future__ import annotations

import functools
import re
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.backends.cache import SessionStore as CacheEngine
from django.contrib.sessions.backends.cached_db import SessionStore as CachedEngine
from django.contrib.sessions.backends.db import SessionStore as DatabaseEngine
from django.contrib.sessions.backends.file import SessionStore as FileEngine
from django.core.cache import InvalidCacheBackendError, caches
from django.db.models import Model

from ..errors import Refused, UsageError
from ..stores.key_space import SESSION_KEY

# Any key that a cookie can contain and Django would load.
LONGEST_KEY = 128
ANY_KEY = rf"[!-~]{{8,{LONGEST_KEY}}}"
# The transition engine, which is never one of its own two sides.
TRANSITION = "migrator.sessions.transition"
# The session key with which engines are probed.
PROBE_KEY = "0probe0probe0probe0probe0probe00"
# How many keys of an engine are sampled to find the characters that it uses.
_SAMPLE = 64
_CLASSES = ("a-z", "A-Z", "0-9")
STOCK = {name: f"django.contrib.sessions.backends.{name}" for name in ("cache", "cached_db", "db", "file")}
_COOKIES = "django.contrib.sessions.backends.signed_cookies"
_PACKAGES = ("qsessions.backends.cached_db",)


def engine_class(name: str) -> Any:
    """Return the session class of an engine, named by a stock name such as ``cached_db`` or by a dotted path.

    Raises :exc:`UsageError` if it cannot be imported, :exc:`Refused` for an engine that keeps sessions in cookies.
    """
    path = STOCK.get(name, _COOKIES if name == "signed_cookies" else name)
    try:
        found = import_module(path).SessionStore
        if issubclass(found, DatabaseEngine):
            found.get_model_class()  # which raises if its app is not installed
    except (ImportError, AttributeError, RuntimeError, ValueError) as error:
        raise UsageError(
            f"{name!r} is not a session engine: {error}. Write one of {', '.join(STOCK)}, or a dotted path."
        ) from error
    if path == _COOKIES:
        raise Refused(
            "signed_cookies keeps sessions in the browsers; there is nothing on the server to copy. After a change "
            "of SESSION_ENGINE all users have to log in again."
        )
    return found


def keeps_files(engine: Any) -> bool:
    """Whether an engine keeps its sessions in files."""
    return issubclass(engine, FileEngine)


def keeps_rows(engine: Any) -> bool:
    """Whether an engine keeps its sessions in a table, with or without a cache before it."""
    if issubclass(engine, DatabaseEngine):
        return True
    if keeps_files(engine) or cache_prefix(engine) is not None:
        return False
    model = engine_model(engine)
    return isinstance(model, type) and issubclass(model, Model)


def keeps_elsewhere(engine: Any) -> bool:
    """Whether only the engine knows where its sessions are: not in a cache of CACHES, a table or files."""
    return not (keeps_rows(engine) or keeps_files(engine) or cache_prefix(engine) is not None)


def _refuse_elsewhere(name: str, engine: Any) -> None:
    if keeps_elsewhere(engine) and present_prefix(engine) is None:
        raise Refused(
            f"The engine {name!r} does not keep its sessions in a cache of CACHES, a table or files, so they cannot be "
            "listed and copied. Name it as OLD in MIGRATOR['SESSIONS']: in the phase dual_new the engine moves each "
            "session when its user returns."
        )


def cache_prefix(engine: Any) -> str | None:
    """Return the prefix of all session keys in the engine's cache; None without a cache, or with several prefixes."""
    prefix = getattr(engine, "cache_key_prefix", None)
    return prefix if isinstance(prefix, str) and _has_one_prefix(engine) else None


@functools.cache
def _has_one_prefix(engine: Any) -> bool:
    if engine.__init__ in (CacheEngine.__init__, CachedEngine.__init__):
        return True
    return present_prefix(engine) == str(engine.cache_key_prefix)


def present_prefix(engine: Any) -> str | None:
    """Return the prefix for a session created now, as some engines choose it per session; None without one."""
    prefix = getattr(engine, "cache_key_prefix", None)
    if prefix is not None:
        with suppress(Exception):  # the engine may need a request
            prefix = instance(engine).cache_key_prefix  # type: ignore[attr-defined]
    return prefix if isinstance(prefix, str) else None


def cache_alias(engine: Any) -> str:
    """Return the alias of the cache that an engine uses: some engines choose one themselves."""
    with suppress(Exception):  # an engine without a cache, or one that needs a request
        used = instance(engine)._cache  # type: ignore[attr-defined]
        for alias in (settings.SESSION_CACHE_ALIAS, *caches.settings):
            with suppress(InvalidCacheBackendError):
                if caches[alias] is used:
                    return str(alias)
    return str(settings.SESSION_CACHE_ALIAS)


def kept_key(engine: Any, key: str = PROBE_KEY) -> str:
    """Return the key under which an engine keeps the session of a cookie; some engines use a hash of the cookie.

    No store is asked. An engine that needs one to answer counts as using the cookie's key itself.
    """
    with suppress(Exception):
        if keeps_rows(engine):
            return _key_of_row(engine, key)
        if keeps_files(engine):
            stock: Any = FileEngine
            if engine._key_to_file is not stock._key_to_file:
                return Path(engine(key)._key_to_file()).name.removeprefix(settings.SESSION_COOKIE_NAME)
        elif getattr(engine, "cache_key", None) not in (None, CacheEngine.cache_key):
            made = engine(key)
            return str(made.cache_key).removeprefix(made.cache_key_prefix)
    return key


def _key_of_row(engine: Any, key: str) -> str:
    own = getattr(engine, "create_model_instance", None)
    if own in (None, DatabaseEngine.create_model_instance):
        return key
    made = engine(key)
    made._session_cache = {}  # so that nothing is loaded
    return str(made.create_model_instance({}).session_key)


def key_shape(*engines: Any) -> str:
    """Return a regular expression for the session keys of ``engines``, matched as a whole.

    It is Django's own ``[a-z0-9]{32}`` unless an engine overrides ``_get_new_session_key`` or keeps sessions under
    other keys: then it allows the characters of a sample of keys. No store is asked.
    """
    return "|".join(dict.fromkeys(_key_shape(engine) for engine in engines)) or SESSION_KEY


def makes_stock_keys(engine: Any) -> bool:
    """Whether an engine creates its session keys as Django does."""
    stock: Any = SessionBase
    return bool(engine._get_new_session_key is stock._get_new_session_key)


def _key_shape(engine: Any) -> str:
    if makes_stock_keys(engine) and kept_key(engine) == PROBE_KEY:
        return SESSION_KEY
    alone = type(engine.__name__, (engine,), {"exists": lambda self, session_key: False})
    try:
        keys = [kept_key(engine, str(alone(None)._get_new_session_key())) for _ in range(_SAMPLE)]
    except Exception:  # the engine needs a request, or a store, to create one
        return ANY_KEY
    characters = set("".join(keys))
    used = [kind for kind in _CLASSES if any(re.match(f"[{kind}]", character) for character in characters)]
    others = sorted(re.escape(character) for character in characters if not re.match("[a-zA-Z0-9]", character))
    # Of any length: a key may contain that of a user, which a sample does not have.
    return f"[{''.join([*used, *others])}]{{8,{LONGEST_KEY}}}"


def others_beginning_with(prefix: str) -> tuple[str, ...]:
    """Return what follows ``prefix`` in the longer prefixes of other known engines.

    ``django.contrib.sessions.cache``, for example, is also the beginning of the keys of ``cached_db``.
    """
    known = [cache_prefix(_found(name)) for name in (*STOCK.values(), settings.SESSION_ENGINE, *_PACKAGES)]
    longer = {other for other in known if other and other != prefix and other.startswith(prefix)}
    return tuple(sorted(other.removeprefix(prefix) for other in longer))


def _found(path: str) -> Any:
    try:
        return import_module(path).SessionStore
    except (ImportError, AttributeError, RuntimeError, ValueError):  # not installed, so not in use
        return None


def cache_engine(name: str | None) -> Any:
    """Return the engine of a cache: the named one, else the project's if it has no table, else ``cache``."""
    if name is None:
        name = settings.SESSION_ENGINE
        if present_prefix(engine_class(name)) is None or keeps_rows(engine_class(name)):
            name = "cache"
    engine = engine_class(name)
    _refuse_elsewhere(name, engine)
    if present_prefix(engine) is None:
        raise UsageError(f"The engine {name!r} does not keep sessions in a cache.")
    return engine


def table_engine(name: str | None, model: Any) -> Any:
    """Return the engine of a table: the named one, else the project's if it uses this model, else Django's ``db``.

    ``model`` is None if the table belongs to an app that is not installed.
    """
    if name is not None:
        engine = engine_class(name)
        _refuse_elsewhere(name, engine)
        if not keeps_rows(engine):
            raise UsageError(f"The engine {name!r} does not keep sessions in a table.")
        return engine
    engine = engine_class(settings.SESSION_ENGINE)
    if keeps_rows(engine) and (model is None or engine_model(engine) is model):
        return engine
    return engine_class("db")


def engine_model(engine: Any) -> Any:
    """Return the model in which an engine keeps its sessions, None if that is unknown."""
    if hasattr(engine, "get_model_class"):
        return engine.get_model_class()
    # A project's engine may be a subclass of one that imports its model as Session in its own module.
    for base in engine.__mro__:
        if issubclass(base, SessionBase) and (found := getattr(import_module(base.__module__), "Session", None)):
            return found
    return None


def instance(engine: Any) -> SessionBase:
    """Return an engine's session object without a key; nothing is loaded or saved."""
    made: SessionBase = engine(None)
    return made
