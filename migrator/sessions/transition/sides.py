"""One of the two stores of a transition: its engine, which serves requests, and its store, read and written exactly."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from django.contrib.sessions.backends.base import CreateError, UpdateError

from ...clock import MICROSECONDS_PER_SECOND, now
from ...conf import SessionSide
from ...errors import Refused
from ...server_errors import is_outage
from ...stores.base import Record, RecordProblem
from ...stores.ignore_exceptions import heard
from ..codec import Data, UnreadableSession, checked
from ..engines import (
    cache_prefix,
)
from ..expiry import from_engine
from ..stores.cache import CacheStore
from ..stores.files import FILE_KEY, SessionFileStore
from ..stores.table import SessionTableStore
from ..stores.through_engine import EngineStore
from ..table_layouts import session_layout
from .side_settings import ConfiguredSide

if TYPE_CHECKING:
    from ..stores.base import BaseSessionStore


_at_work = threading.local()


class TransitionSide(ConfiguredSide):
    """OLD or NEW with its sessions. If engine and store can both do a thing, the engine does what it may extend."""

    def __init__(self, name: str, setting: SessionSide) -> None:
        super().__init__(name, setting)
        self._opened = threading.local()
        self._first: BaseSessionStore | None = None

    @property
    def store(self) -> BaseSessionStore:
        """Its store, opened once in each thread."""
        opened = self._opened
        if getattr(opened, "process", None) != os.getpid():
            opened.store, opened.process = self._opened_store(), os.getpid()
        store: BaseSessionStore = opened.store
        return store

    def _opened_store(self) -> BaseSessionStore:
        """Open the store; if its server does not answer, raise the client's own error, which sites may handle."""
        try:
            return self._open()
        except Refused as error:
            if isinstance(error.__cause__, Exception):
                raise error.__cause__ from None
            raise

    def close(self) -> None:
        """Close this thread's connections; the next use opens new ones in place of broken ones."""
        self._first = None
        if getattr(self._opened, "process", None) == os.getpid():
            self._opened.process = None
            with suppress(Exception):  # it may be what is broken
                self._opened.store.close()

    @contextmanager
    def _closing_on_error(self) -> Iterator[None]:
        try:
            yield
        except Exception:
            self.close()
            raise

    def _open(self) -> BaseSessionStore:
        """Open the store for this thread, from the first one of the process if there is one."""
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
        front_cache = self._open_cache()
        return SessionTableStore(
            alias=self.setting.DATABASE,
            described=session_layout(self.model._meta.label),
            engine=self.engine(),
            front_cache=front_cache,
            is_there=first is not None,
        )

    # Sessions

    def instance(self, key: str | None, user_agent: str | None, ip: str | None) -> Any:
        """Return the engine's session object for a key; nothing is loaded."""
        known = {"user_agent": user_agent, "ip": ip}
        return self.engine(key, **{name: known[name] for name in self._takes})

    def read(self, engine: Any) -> Data | None:
        """Return the data of an engine's session, None if there is none; raise if the store does not answer.

        Raises :exc:`RecordProblem` or :exc:`UnreadableSession` if the engine does not read the value as a session.
        """
        if self.keeps_rows:
            return self._engine_loads(engine)
        if self._keeps_files:  # whose load() starts a new session in place of an expired one
            session = self.fetch(engine.session_key)
            return None if session is None else self.data_of(session)
        if self.is_elsewhere:  # some of these engines do not report a missing session in load()
            return self._engine_loads(engine) if engine.exists(engine.session_key) else None
        return self._read_cache(engine)

    def _engine_loads(self, engine: Any) -> Data | None:
        data = engine.load()
        return None if engine.session_key is None else checked(data)

    def _read_cache(self, engine: Any) -> Data | None:
        """Return a value as the engine would. Its load() treats a failing cache like one without the session."""
        key: str = engine.session_key
        try:
            value = engine._cache.get(engine.cache_key_prefix + key)
        except Exception as error:
            session = None if is_outage(error) else self.fetch(key)
            if session is not None:
                self.store.load(session)  # raises RecordProblem or UnreadableSession if the value is at fault
            raise
        if value is None:
            return None
        return self._own_values.read(key, value, into=engine) if self._own_values else checked(value)

    def data_of(self, session: Record) -> Data:
        """Return the data of a payload; unreadable text is an empty session, as it is for the engines.

        Raises :exc:`RecordProblem` for what is not a session.
        """
        try:
            return self.store.load(session)
        except UnreadableSession as error:
            if not self.store.keeps_text:
                raise RecordProblem("unreadable", str(error)) from None
            return {}

    def fetch(self, key: str) -> Record | None:
        """Return a session as the store keeps it, with its exact expiry; None if it does not exist."""
        with self._closing_on_error():
            return self.store.fetch([key]).get(key)

    def holds(self, key: str) -> bool:
        """Whether the store has the session and it has not expired."""
        with self._closing_on_error():
            return bool(self.store.present([key]))

    def delete(self, key: str) -> None:
        """Delete a session, readable or not; raise if that fails, even with IGNORE_EXCEPTIONS."""
        engine = self.engine(key)
        if hasattr(engine, "_cache"):
            engine._cache = heard(engine._cache)
        with _deleting():
            engine.delete(key)

    def insert(self, engine: Any) -> bool:
        """Write a new session; return whether its key was free."""
        if self._is_plain_cache:
            with self._closing_on_error():
                session = self._dumped(engine)
                return _has_expired(session) or bool(self.store.add([session]))
        try:
            engine.save(must_create=True)
        except CreateError:
            return False
        return True

    def update(self, engine: Any) -> bool:
        """Overwrite an existing session; return whether it existed."""
        if self._is_plain_cache:
            with self._closing_on_error():
                session = self._dumped(engine)
                if not _has_expired(session):
                    return self.store.update(session)
                engine.delete()
                return True
        if self.is_elsewhere and not engine.exists(engine.session_key):
            return False  # not all of these engines check before they save
        try:
            engine.save()
        except UpdateError:
            return False
        return True

    def saved(self, engine: Any) -> Record:
        """Return what was just written, as the store keeps it."""
        if self._is_plain_cache:
            session: Record = engine.dumped
            return session
        if self.keeps_rows:
            return Record(engine.session_key, engine.text or "", from_engine(engine))
        # Only the store knows what such an engine has written. A session that is gone already counts as expired.
        return self.fetch(engine.session_key) or Record(engine.session_key, "", 0)

    def _dumped(self, engine: Any) -> Record:
        expires = from_engine(engine)
        payload, _ = self.store.dump(engine._session_cache, expires, now() // MICROSECONDS_PER_SECOND)
        engine.dumped = Record(engine.session_key, payload, expires)
        return engine.dumped  # type: ignore[no-any-return]


@contextmanager
def _deleting() -> Iterator[None]:
    before, _at_work.deletes = is_deleted_by_a_side(), True
    try:
        yield
    finally:
        _at_work.deletes = before


def is_deleted_by_a_side() -> bool:
    """Whether this thread is in :meth:`TransitionSide.delete`."""
    return getattr(_at_work, "deletes", False)


def _has_expired(session: Record) -> bool:
    return session.expires is not None and session.expires <= now()
