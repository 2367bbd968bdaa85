"""Session engines bound to a chosen database and cache, instead of the router's and SESSION_CACHE_ALIAS.

A bound class is a subclass of the engine and has its name, since Django derives the signature's salt from the name
(``SessionBase.key_salt`` in django/contrib/sessions/backends/base.py).
"""

from __future__ import annotations

import datetime as dt
from importlib import import_module
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth import SESSION_KEY as USER_KEY
from django.contrib.sessions.backends.base import CreateError, SessionBase, UpdateError
from django.contrib.sessions.backends.db import SessionStore as DatabaseEngine
from django.core.cache import caches
from django.core.exceptions import ImproperlyConfigured, ObjectDoesNotExist, SuspiciousOperation
from django.db import DatabaseError, IntegrityError, models, router, transaction
from django.utils import timezone

from ...stores.ignore_exceptions import heard
from ..engines import cache_prefix, keeps_rows

Data = dict[str, Any]
PAGE = 1000
_PLAIN_TABLE = "user_sessions.backends.db"


def bound_engine(engine: Any, *, database: str | None, cache: str | None) -> Any:
    """Return a subclass of ``engine`` for the database and the cache of these aliases, None for the default ones.

    Raises :exc:`ImproperlyConfigured` if the engine does not use one, or accesses its rows by methods of its own.
    """
    name = f"{engine.__module__}.{engine.__qualname__}"
    if cache is not None and cache_prefix(engine) is None:
        raise ImproperlyConfigured(f"{name} does not use a cache; remove CACHE.")
    if database is not None and not keeps_rows(engine):
        raise ImproperlyConfigured(f"{name} does not use a table; remove DATABASE.")
    attributes = {
        "bound_database": database,
        "bound_cache": cache,
        "__module__": engine.__module__,
        "__qualname__": engine.__qualname__,
    }
    return type(engine.__name__, _bases(engine, name, database), attributes)


def _bases(engine: Any, name: str, database: str | None) -> tuple[type, ...]:
    if not keeps_rows(engine):
        return (Bound, engine)
    if engine is DatabaseEngine:
        return (Bound, BoundRows)
    if issubclass(engine, DatabaseEngine):
        # Between the engine and the Django class that it extends, so that the engine's own methods win.
        return (Bound, engine, BoundRows)
    if any(base.__module__ == _PLAIN_TABLE for base in engine.__mro__):
        return (Bound, BoundPlainRows, engine)
    if database is not None:
        raise ImproperlyConfigured(
            f"{name} accesses its rows by methods of its own, so no DATABASE can be chosen for it. "
            "Remove DATABASE, and route its model there with a database router."
        )
    return (Bound, engine)


class Bound(SessionBase):
    """What all bound engines have: their cache, the moment from which expiry is counted, and the text last written."""

    bound_database: str | None
    bound_cache: str | None
    # The moment from which the expiry of both sides is counted; None for the time of each call.
    moment: dt.datetime | None = None
    # The signed text of the last save.
    text: str | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.bound_cache is not None:
            self._cache = caches[self.bound_cache]
        if hasattr(self, "_cache") and not keeps_rows(type(self)):
            # A cache before a table may fail silently, as in Django's own engine: the row can be read instead.
            self._cache = heard(self._cache)

    def encode(self, session_dict: Data) -> str:
        self.text = super().encode(session_dict)
        return self.text

    def get_expiry_date(self, **kwargs: Any) -> dt.datetime:
        if self.moment is not None:
            kwargs.setdefault("modification", self.moment)
        return super().get_expiry_date(**kwargs)


class Rows(SessionBase):
    """What engines with a table do, on the rows of one database."""

    bound_database: str | None

    @classmethod
    def _bound_rows(cls) -> Any:
        objects = cls.get_model_class().objects  # type: ignore[attr-defined]
        return objects.using(cls.bound_database) if cls.bound_database else objects

    def _live_row(self) -> Any:
        """Return the row of a session that has not expired; without one, forget the key and return None."""
        try:
            return self._bound_rows().get(session_key=self.session_key, expire_date__gt=timezone.now())
        except (ObjectDoesNotExist, SuspiciousOperation):
            self._session_key = None

    def exists(self, session_key: str) -> bool:
        return bool(self._bound_rows().filter(session_key=session_key).exists())

    async def aexists(self, session_key: str) -> bool:
        return bool(await self._bound_rows().filter(session_key=session_key).aexists())

    def save(self, must_create: bool = False) -> None:
        if self.session_key is None:
            return self.create()
        row = self.create_model_instance(self._get_session(no_load=must_create))  # type: ignore[attr-defined]
        _write(self, row, must_create)
        return None

    async def asave(self, must_create: bool = False) -> None:
        await sync_to_async(Rows.save)(self, must_create)

    def delete(self, session_key: str | None = None) -> None:
        key = self.session_key if session_key is None else session_key
        row = self._bound_rows().filter(session_key=key).first() if key is not None else None
        if row is not None:
            row.delete(**({"using": self.bound_database} if self.bound_database else {}))

    async def adelete(self, session_key: str | None = None) -> None:
        await sync_to_async(Rows.delete)(self, session_key)

    @classmethod
    def clear_expired(cls) -> None:
        expired = cls._bound_rows().filter(expire_date__lt=timezone.now())
        # In pages: with a receiver of pre_delete, Django reads each row before it deletes it.
        while keys := list(expired.values_list("pk", flat=True)[:PAGE]):
            expired.filter(pk__in=keys).delete()

    @classmethod
    async def aclear_expired(cls) -> None:
        await sync_to_async(cls.clear_expired)()


class BoundRows(Rows, DatabaseEngine):
    """Django's ``db`` engine, and engines derived from it."""

    _get_session_from_db = Rows._live_row

    async def _aget_session_from_db(self) -> Any:
        return await sync_to_async(self._live_row)()


class BoundPlainRows(Rows):
    """django-user-sessions, without creating a row for each unknown cookie or for a deleted session."""

    user_id: Any
    user_agent: str | None
    ip: str | None

    @classmethod
    def get_model_class(cls) -> Any:
        return import_module(_PLAIN_TABLE).Session

    def load(self) -> Data:
        row = self._live_row()
        if row is None:
            return {}
        self.user_id = row.user_id
        # So that the request's user agent and address are saved.
        self.modified = self.modified or (self.user_agent, self.ip) != (row.user_agent, row.ip)
        return self.decode(row.session_data)

    def create_model_instance(self, data: Data) -> Any:
        return self.get_model_class()(
            session_key=self.session_key,
            session_data=self.encode(data),
            expire_date=self.get_expiry_date(),
            user_agent=self.user_agent,
            user_id=data.get(USER_KEY),
            ip=self.ip,
        )


def _write(engine: Any, row: models.Model, must_create: bool) -> None:
    """Insert a row, or update the existing one; never both."""
    using = engine.bound_database or router.db_for_write(type(row), instance=row)
    try:
        with transaction.atomic(using=using):
            _save_row(row, using, must_create)
    except IntegrityError:
        if must_create and engine._bound_rows().filter(session_key=row.pk).exists():
            raise CreateError from None
        raise
    except DatabaseError:
        if not must_create and engine._bound_rows().filter(session_key=row.pk).exists():
            raise
        if not must_create:
            raise UpdateError from None
        raise


def _save_row(row: Any, using: str, must_create: bool) -> None:
    if type(row).__module__ != "qsessions.models":
        row.save(force_insert=must_create, force_update=not must_create, using=using)
        return
    # Its save() reads created_at from the default database, and sets it to now if it finds no row.
    if must_create:
        row.created_at = timezone.now()
    names = None if must_create else {field.name for field in row._meta.concrete_fields} - {"created_at", "session_key"}
    models.Model.save(row, force_insert=must_create, force_update=not must_create, using=using, update_fields=names)
