"""What a project's own engine stores in its cache instead of the plain session: encrypted, packed, or nested.

Its ``load()`` and ``save()`` are called over a cache that holds only this one value, so that no server is asked and
nothing else is read or written.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.backends.cache import SessionStore as CacheEngine
from django.contrib.sessions.backends.cached_db import SessionStore as CachedEngine
from django.contrib.sessions.backends.db import SessionStore as DatabaseEngine
from django.contrib.sessions.backends.file import SessionStore as FileEngine
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections
from django.utils import timezone

from ...errors import Refused
from ...server_errors import is_outage
from ..codec import Data, UnreadableSession, checked
from ..engines import PROBE_KEY, keeps_files, keeps_rows, kept_key, present_prefix

_METHODS = ("load", "save")
_PROBE: Data = {"migrator": "probe", "of": [1, {"two": None}]}


class OneValue:
    """A cache in memory that an engine reads from and writes to."""

    def __init__(self, values: dict[str, Any] | None = None) -> None:
        self.values = dict(values or {})

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
        return self.values.get(key, default)

    def set(self, key: str, value: Any, timeout: Any = None, version: int | None = None) -> None:
        self.values[key] = value

    def add(self, key: str, value: Any, timeout: Any = None, version: int | None = None) -> bool:
        return self.values.setdefault(key, value) is value

    def has_key(self, key: str, version: int | None = None) -> bool:
        return key in self.values

    __contains__ = has_key

    def touch(self, key: str, timeout: Any = None, version: int | None = None) -> bool:
        return key in self.values

    def delete(self, key: str, version: int | None = None) -> bool:
        return self.values.pop(key, None) is not None


class OwnValues:
    """Reads and writes the values of one engine."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._prefix = present_prefix(engine) or ""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OwnValues) and _name(other._engine) == _name(self._engine)

    def __hash__(self) -> int:
        return hash(_name(self._engine))

    def read(self, key: str, value: Any, *, into: Any = None) -> Data:
        """Return the data of the session in ``value``; ``into`` is the engine's session object to load it with, if any.

        Raises :exc:`UnreadableSession` if the engine finds no session in it.
        """
        session = self._engine(key) if into is None else into
        cache, session._cache = session._cache, OneValue({self._prefix + key: value})
        if keeps_rows(self._engine):
            session._get_session_from_db = _no_row
        try:
            data = session.load()
        except Exception as error:
            raise UnreadableSession(f"the engine's load() fails on it ({type(error).__name__})") from None
        finally:
            session._cache = cache
        if session.session_key != key:
            session._session_key = key
            raise UnreadableSession("the engine's load() finds no session in it")
        return checked(data)

    def value(self, key: str, data: Data) -> Any:
        """Return what the engine stores for a session; raise whatever its ``save()`` raises."""
        session, cache = self._engine(key), OneValue()
        session._cache, session._session_cache = cache, data
        session.save(must_create=True)
        return cache.values[self._prefix + key]


def own_values(engine: Any) -> OwnValues | None:
    """Return the reader and writer of an engine's values in its cache, None if they are the plain sessions.

    Raises :exc:`Refused` if the engine does not store a session as one value under its prefix and the key, or does not
    read back what it saves.
    """
    if keeps_rows(engine) and present_prefix(engine) is not None and engine.load is not CachedEngine.load:
        return OwnValues(engine)  # the cache in front of its rows is only read
    if keeps_rows(engine) or present_prefix(engine) is None or not _has_own(engine, CacheEngine):
        return None
    if all(getattr(engine, name) is getattr(CacheEngine, name) for name in _METHODS):
        raise Refused(
            f"{_name(engine)} has its own load or save, but only as asynchronous methods: give it a load() and a "
            "save() that do the same. Between two caches copy_cache copies its values unchanged."
        )
    found = OwnValues(engine)
    databases = _Databases()
    try:
        with databases.kept_away():
            value = found.value(PROBE_KEY, dict(_PROBE))
            is_read_back = found.read(PROBE_KEY, value) == _PROBE
    except Exception as error:
        if databases.were_asked or is_outage(error):
            return found  # what else it does cannot be tried with a session that does not exist
        raise Refused(
            f"{_name(engine)} has its own load() and save(), and they do not store a session as one value in its "
            f"_cache under cache_key_prefix and the key ({type(error).__name__}). Between two caches copy_cache copies "
            "its values unchanged."
        ) from error
    if not is_read_back:
        raise Refused(f"{_name(engine)} cannot read with its load() what its save() stored.")
    return None if value == _PROBE else found


def _no_row() -> None:
    """Return None, for a session without a row."""


def check_text(engine: Any) -> None:
    """Raise :exc:`Refused` for an engine of rows or files that stores other text there than ``decode()`` reads.

    For rows, ``load()`` has to read what ``encode()`` returns, and ``decode()`` what ``create_model_instance()``
    returns. For files, one is written to a temporary directory.
    """
    if engine in (DatabaseEngine, CachedEngine, FileEngine):
        return
    try:
        with _Databases().kept_away():
            if issubclass(engine, DatabaseEngine):
                is_text = _rows_hold_text(engine)
            else:
                is_text = not keeps_files(engine) or not _has_own(engine, FileEngine) or _file_holds_text(engine)
    except Exception:  # it cannot be tried without a request, or its database
        return
    if not is_text:
        raise Refused(
            f"{_name(engine)} stores other text than its decode() reads, so its own load() and save() cannot be "
            "reproduced. Let encode() and decode() do what they do."
        )


def check_key(engine: Any) -> None:
    """Raise :exc:`Refused` for an engine that stores a session under another key than that of the cookie."""
    if kept_key(engine) != PROBE_KEY:
        raise Refused(
            f"{_name(engine)} stores sessions under other keys than those of the cookies, which transitions do not "
            "support. Copies do, to an engine that makes the same keys."
        )


class _Databases:
    """The project's databases, which the tried methods must not touch, as the session does not exist."""

    def __init__(self) -> None:
        self.were_asked = False

    @contextmanager
    def kept_away(self) -> Iterator[None]:
        """Have every statement of this thread fail."""
        with ExitStack() as stack:
            for alias in connections:
                with suppress(ImproperlyConfigured):  # a database without its driver executes nothing
                    stack.enter_context(connections[alias].execute_wrapper(self._refuse))
            yield

    def _refuse(self, *args: Any, **kwargs: Any) -> None:
        self.were_asked = True
        raise DatabaseError("no statement is executed for a session that does not exist")


def _has_own(engine: Any, stock: Any) -> bool:
    names = (*_METHODS, *(f"a{name}" for name in _METHODS))
    return any(getattr(engine, name) is not getattr(stock, name) for name in names)


def _rows_hold_text(engine: Any) -> bool:
    if engine.create_model_instance is not DatabaseEngine.create_model_instance:
        session = engine(PROBE_KEY)
        session._session_cache = dict(_PROBE)  # so that nothing is loaded
        if not _holds_probe(session.decode(session.create_model_instance(dict(_PROBE)).session_data)):
            return False
    if engine.load in (DatabaseEngine.load, CachedEngine.load):
        return True
    session = engine(PROBE_KEY)
    text, session._cache = session.encode(dict(_PROBE)), OneValue()
    in_an_hour = timezone.now() + dt.timedelta(hours=1)
    row = SimpleNamespace(session_key=PROBE_KEY, session_data=text, expire_date=in_an_hour)
    session._get_session_from_db = lambda: row
    return _holds_probe(session.load())


def _file_holds_text(engine: Any) -> bool:
    with TemporaryDirectory() as directory:
        session = engine(PROBE_KEY)
        session.storage_path, session._session_cache = directory, dict(_PROBE)
        session.save(must_create=True)
        (path,) = Path(directory).iterdir()
        return _holds_probe(session.decode(path.read_text(encoding="ascii")))


def _holds_probe(data: Any) -> bool:
    """Whether data contains what was saved; some engines add something of their own."""
    return isinstance(data, dict) and {**data, **_PROBE} == data


def _name(engine: type[SessionBase]) -> str:
    return f"{engine.__module__}.{engine.__qualname__}"
