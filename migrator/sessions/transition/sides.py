"""One of the two stores of a transition: its engine, which answers, and its place, read and written exactly."""

from __future__ import annotations

import inspect
import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

from django.contrib.sessions.backends.base import CreateError, UpdateError
from django.contrib.sessions.backends.cache import SessionStore as CacheEngine
from django.core.cache import caches
from django.core.cache.backends.db import BaseDatabaseCache
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, router, transaction
from django.utils.functional import cached_property
from django.utils.module_loading import import_string

from ...clock import MICROSECONDS_PER_SECOND, now
from ...conf import SessionSide
from ...errors import MigratorError, Refused
from ...server_errors import is_outage
from ...stores.base import Record, RecordProblem
from ...stores.ignore_exceptions import heard
from ..codec import Data, UnreadableSession, checked
from ..engines import (
    TRANSITION,
    cache_alias,
    cache_prefix,
    engine_class,
    engine_model,
    keeps_elsewhere,
    keeps_files,
    keeps_rows,
    makes_stock_keys,
)
from ..expiry import from_engine
from ..layouts import session_layout
from ..records import End
from ..stores.cache import CacheStore
from ..stores.custom_values import check_key, check_text, own_values
from ..stores.files import FILE_KEY, SessionFileStore
from ..stores.table import SessionTableStore
from ..stores.through_engine import EngineStore
from .bindings import tied_engine

if TYPE_CHECKING:
    from ..stores.base import BaseSessionStore


_at_work = threading.local()


class TransitionSide:
    """OLD or NEW. Where engine and place can both do a thing, the engine does what its own code may add to."""

    def __init__(self, name: str, setting: SessionSide) -> None:
        self.name, self.setting = name, setting
        if setting.ENGINE == TRANSITION:
            raise ImproperlyConfigured(f"MIGRATOR['SESSIONS']['{name}']['ENGINE'] is the engine that keeps both sides.")
        try:
            engine = engine_class(setting.ENGINE)
            self._check_aliases(engine)
            self.engine = tied_engine(engine, database=setting.DATABASE, cache=setting.CACHE)
            self._own = own_values(engine)
            check_text(engine)
            check_key(engine)
            if keeps_rows(engine):
                session_layout(engine_model(engine)._meta.label)  # which refuses columns that hold no text
        except (MigratorError, ImproperlyConfigured) as error:
            raise ImproperlyConfigured(f"MIGRATOR['SESSIONS']['{name}']: {error}") from error
        self._cache_alias = setting.CACHE or cache_alias(engine)
        self._takes = [name for name in ("user_agent", "ip") if name in inspect.signature(engine.__init__).parameters]
        self.keeps_rows = keeps_rows(engine)
        self._keeps_files = keeps_files(engine)
        # Whether only the engine knows where its sessions are.
        self.is_elsewhere = keeps_elsewhere(engine)
        if self.is_elsewhere and name == "NEW":
            raise ImproperlyConfigured(
                f"MIGRATOR['SESSIONS']['NEW']: {setting.ENGINE} keeps its sessions in no cache of CACHES, no table and "
                "no files, so sessions cannot be moved there with the time that they have left. It can only be OLD."
            )
        # Django's own save() writes over a key in two steps, between which the session may end.
        self._is_plain_cache = not self.keeps_rows and engine.save is CacheEngine.save
        self.makes_stock_keys = makes_stock_keys(engine)
        self._opened = threading.local()
        self._first: BaseSessionStore | None = None

    def _check_aliases(self, engine: Any) -> None:
        """Raise :exc:`ImproperlyConfigured` for a database or a cache that the settings do not have."""
        given = self.setting
        if given.DATABASE is not None and given.DATABASE not in connections:
            raise ImproperlyConfigured(f"DATABASE is {given.DATABASE!r}, which is not in DATABASES.")
        alias = given.CACHE or cache_alias(engine)
        if getattr(engine, "cache_key_prefix", None) is not None and alias not in caches.settings:
            name = "CACHE" if given.CACHE else "it has no CACHE, and SESSION_CACHE_ALIAS"
            raise ImproperlyConfigured(f"{name} is {alias!r}, which is not in CACHES.")

    # What it is

    @property
    def database(self) -> str | None:
        """The alias of the database that its rows are written in, None for a side without rows."""
        if not self.keeps_rows:
            return None
        return self.setting.DATABASE or router.db_for_write(self.model)

    @property
    def model(self) -> Any:
        """The model of its rows, None without rows."""
        return engine_model(self.engine) if self.keeps_rows else None

    @property
    def cache(self) -> str | None:
        """The alias of its cache, of that before its rows also; None for a side without a cache."""
        if cache_prefix(self.engine) is None:
            return None
        return self._cache_alias

    @property
    def end(self) -> End:
        """What a copy or a verification calls it."""
        if self.keeps_rows:
            label = self.model._meta.label
            return End("db", self.database, self.setting.ENGINE, label, cache=self.cache)
        kind = "file" if self._keeps_files else "engine" if self.is_elsewhere else "cache"
        return End(kind, self.cache, self.setting.ENGINE)

    @property
    def databases(self) -> list[str]:
        """The aliases of the databases that it writes to: that of its rows, and that of a cache in a table."""
        found = {self.database} if self.database is not None else set()
        if self._has_cache_in_a_table:
            cache: Any = caches[self.cache or ""]
            found.add(router.db_for_write(cache.cache_model_class))
        return sorted(found)

    @cached_property
    def _has_cache_in_a_table(self) -> bool:
        if self.cache is None:
            return False
        try:
            return issubclass(import_string(caches.settings[self.cache]["BACKEND"]), BaseDatabaseCache)
        except ImportError:  # an error where it is used
            return False

    @property
    def transactions(self) -> list[str]:
        """The aliases of those of its databases in which what is written now may yet be rolled back."""
        return [alias for alias in self.databases if connections[alias].in_atomic_block]

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Keep a statement that fails from breaking the transaction that it would be a part of."""
        with ExitStack() as stack:
            for alias in self.transactions:
                stack.enter_context(transaction.atomic(using=alias))
            yield

    @property
    def store(self) -> BaseSessionStore:
        """Its place, opened once in each thread."""
        opened = self._opened
        if getattr(opened, "process", None) != os.getpid():
            opened.store, opened.process = self._opened_place(), os.getpid()
        store: BaseSessionStore = opened.store
        return store

    def _opened_place(self) -> BaseSessionStore:
        """Open the place; where its server does not answer, raise what its client raised: sites know that error."""
        try:
            return self._open()
        except Refused as error:
            if isinstance(error.__cause__, Exception):
                raise error.__cause__ from None
            raise

    def close(self) -> None:
        """Give up this thread's connections; the next use opens them again, so that broken ones heal."""
        self._first = None
        if getattr(self._opened, "process", None) == os.getpid():
            self._opened.process = None
            with suppress(Exception):  # it may be what is broken
                self._opened.store.close()

    @contextmanager
    def _healing(self) -> Iterator[None]:
        try:
            yield
        except Exception:
            self.close()
            raise

    def _open(self) -> BaseSessionStore:
        """Open the place for this thread, as it was first opened if it was."""
        first = self._first
        if isinstance(first, CacheStore):
            return first.in_this_thread()
        self._first = found = self._open_table(first) if self.keeps_rows else self._open_without_rows()
        return found

    def _open_without_rows(self) -> BaseSessionStore:
        if self._keeps_files:
            return SessionFileStore(engine=self.engine(), key_regex=FILE_KEY)
        return self._open_cache() or EngineStore(engine=self.engine())

    def _open_cache(self) -> CacheStore | None:
        prefix, alias = cache_prefix(self.engine), self.cache
        if prefix is None or alias is None:
            return None
        return CacheStore(alias=alias, engine=self.engine(), prefix=prefix, trust_pickle=True, is_listed=False)

    def _open_table(self, first: BaseSessionStore | None) -> SessionTableStore:
        before = self._open_cache()
        return SessionTableStore(
            alias=self.setting.DATABASE,
            described=session_layout(self.model._meta.label),
            engine=self.engine(),
            shadow=before,
            is_there=first is not None,
        )

    # Sessions

    def instance(self, key: str | None, user_agent: str | None, ip: str | None) -> Any:
        """Make the engine's session of a key; nothing is loaded."""
        known = {"user_agent": user_agent, "ip": ip}
        return self.engine(key, **{name: known[name] for name in self._takes})

    def read(self, engine: Any) -> Data | None:
        """Return the data of an engine's session, None where there is none; raise where the store does not answer.

        Raises :exc:`RecordProblem` or :exc:`UnreadableSession` if the engine does not read it as a session.
        """
        if self.keeps_rows:
            return self._engine_loads(engine)
        if self._keeps_files:  # whose load() begins a session in place of one that has expired
            session = self.fetch(engine.session_key)
            return None if session is None else self.data_of(session)
        if self.is_elsewhere:  # for some of these engines load() does not tell
            return self._engine_loads(engine) if engine.exists(engine.session_key) else None
        return self._read_cache(engine)

    def _engine_loads(self, engine: Any) -> Data | None:
        data = engine.load()
        return None if engine.session_key is None else checked(data)

    def _read_cache(self, engine: Any) -> Data | None:
        """Read a value as the engine would. Its load() holds a cache that fails for one without the session."""
        key: str = engine.session_key
        try:
            value = engine._cache.get(engine.cache_key_prefix + key)
        except Exception as error:
            session = None if is_outage(error) else self.fetch(key)
            if session is not None:
                self.store.load(session)  # which raises Problem or Unreadable if it is the value that fails
            raise
        if value is None:
            return None
        return self._own.read(key, value, into=engine) if self._own else checked(value)

    def data_of(self, session: Record) -> Data:
        """Read a payload; text that cannot be read is an empty session, as it is to the engines.

        Raises :exc:`RecordProblem` for what is no session.
        """
        try:
            return self.store.load(session)
        except UnreadableSession as error:
            if not self.store.keeps_text:
                raise RecordProblem("unreadable", str(error)) from None
            return {}

    def fetch(self, key: str) -> Record | None:
        """Return a session as the place keeps it, with its exact expiry."""
        with self._healing():
            return self.store.fetch([key]).get(key)

    def holds(self, key: str) -> bool:
        """Tell whether the place has a session that has not expired."""
        with self._healing():
            return bool(self.store.present([key]))

    def delete(self, key: str) -> None:
        """End a session, whatever it holds; raise where that fails, whatever IGNORE_EXCEPTIONS says."""
        engine = self.engine(key)
        if hasattr(engine, "_cache"):
            engine._cache = heard(engine._cache)
        with _deleting():
            engine.delete(key)

    def insert(self, engine: Any) -> bool:
        """Write a new session; tell whether its key was free."""
        if self._is_plain_cache:
            with self._healing():
                session = self._spelled(engine)
                return _has_expired(session) or bool(self.store.add([session]))
        try:
            engine.save(must_create=True)
        except CreateError:
            return False
        return True

    def update(self, engine: Any) -> bool:
        """Write over a session that is there; tell whether it was."""
        if self._is_plain_cache:
            with self._healing():
                session = self._spelled(engine)
                if not _has_expired(session):
                    return self.store.update(session)
                engine.delete()
                return True
        if self.is_elsewhere and not engine.exists(engine.session_key):
            return False  # not all of these look before they save
        try:
            engine.save()
        except UpdateError:
            return False
        return True

    def saved(self, engine: Any) -> Record:
        """Return what was just written, as the place keeps it."""
        if self._is_plain_cache:
            session: Record = engine.spelled
            return session
        if self.keeps_rows:
            return Record(engine.session_key, engine.text or "", from_engine(engine))
        # Only the place knows what such an engine makes of it. Gone already is as good as expired.
        return self.fetch(engine.session_key) or Record(engine.session_key, "", 0)

    def _spelled(self, engine: Any) -> Record:
        expires = from_engine(engine)
        payload, _ = self.store.dump(engine._session_cache, expires, now() // MICROSECONDS_PER_SECOND)
        engine.spelled = Record(engine.session_key, payload, expires)
        return engine.spelled  # type: ignore[no-any-return]


@contextmanager
def _deleting() -> Iterator[None]:
    before, _at_work.deletes = is_deleted_by_a_side(), True
    try:
        yield
    finally:
        _at_work.deletes = before


def is_deleted_by_a_side() -> bool:
    """Tell whether what this thread deletes at the moment is deleted by :meth:`Side.delete`."""
    return getattr(_at_work, "deletes", False)


def _has_expired(session: Record) -> bool:
    return session.expires is not None and session.expires <= now()
