"""Session engines tied to a database and a cache of our choice, in place of the router's and SESSION_CACHE_ALIAS.

A tied class is a subclass of the engine and has its name, for Django makes the salt of the signature from it.
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


def tied_engine(engine: Any, *, database: str | None, cache: str | None) -> Any:
    """Return a subclass of ``engine`` for the database and the cache of these aliases, None for the usual ones.

    Raises :exc:`ImproperlyConfigured` where the engine has none of them, or reaches its rows in a way of its own.
    """
    name = f"{engine.__module__}.{engine.__qualname__}"
    if cache is not None and cache_prefix(engine) is None:
        raise ImproperlyConfigured(f"{name} uses no cache; leave CACHE out.")
    if database is not None and not keeps_rows(engine):
        raise ImproperlyConfigured(f"{name} keeps no table; leave DATABASE out.")
    attributes = {
        "tied_database": database,
        "tied_cache": cache,
        "__module__": engine.__module__,
        "__qualname__": engine.__qualname__,
    }
    return type(engine.__name__, _bases(engine, name, database), attributes)


def _bases(engine: Any, name: str, database: str | None) -> tuple[type, ...]:
    if not keeps_rows(engine):
        return (Tied, engine)
    if engine is DatabaseEngine:
        return (Tied, TiedRows)
    if issubclass(engine, DatabaseEngine):
        # Behind the engine and before Django's class that it calls, so that its own methods stay what they are.
        return (Tied, engine, TiedRows)
    if any(base.__module__ == _PLAIN_TABLE for base in engine.__mro__):
        return (Tied, TiedPlainRows, engine)
    if database is not None:
        raise ImproperlyConfigured(
            f"{name} reaches its rows in a way of its own, so that no DATABASE can be chosen for it; "
            "leave DATABASE out and send its model there with a router."
        )
    return (Tied, engine)


class Tied(SessionBase):
    """What all tied engines have: their cache, the moment that expiry is counted from, and the text they wrote."""

    tied_database: str | None
    tied_cache: str | None
    # Expiry of both sides is counted from one moment; None for the time of each question.
    moment: dt.datetime | None = None
    # The signed text of the last save.
    text: str | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.tied_cache is not None:
            self._cache = caches[self.tied_cache]
        if hasattr(self, "_cache") and not keeps_rows(type(self)):
            # Before rows it may fail unheard, as it may in Django's own engine: what the row says can be asked.
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

    tied_database: str | None

    @classmethod
    def _tied_rows(cls) -> Any:
        objects = cls.get_model_class().objects  # type: ignore[attr-defined]
        return objects.using(cls.tied_database) if cls.tied_database else objects

    def _live_row(self) -> Any:
        """Return the row of a session that has not expired; without one, forget the key."""
        try:
            return self._tied_rows().get(session_key=self.session_key, expire_date__gt=timezone.now())
        except (ObjectDoesNotExist, SuspiciousOperation):
            self._session_key = None

    def exists(self, session_key: str) -> bool:
        return bool(self._tied_rows().filter(session_key=session_key).exists())

    async def aexists(self, session_key: str) -> bool:
        return bool(await self._tied_rows().filter(session_key=session_key).aexists())

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
        row = self._tied_rows().filter(session_key=key).first() if key is not None else None
        if row is not None:
            row.delete(**({"using": self.tied_database} if self.tied_database else {}))

    async def adelete(self, session_key: str | None = None) -> None:
        await sync_to_async(Rows.delete)(self, session_key)

    @classmethod
    def clear_expired(cls) -> None:
        expired = cls._tied_rows().filter(expire_date__lt=timezone.now())
        # In pages: as deletions are listened to, Django reads each row first.
        while keys := list(expired.values_list("pk", flat=True)[:PAGE]):
            expired.filter(pk__in=keys).delete()

    @classmethod
    async def aclear_expired(cls) -> None:
        await sync_to_async(cls.clear_expired)()


class TiedRows(Rows, DatabaseEngine):
    """Django's ``db`` engine, and what is derived from it."""

    _get_session_from_db = Rows._live_row

    async def _aget_session_from_db(self) -> Any:
        return await sync_to_async(self._live_row)()


class TiedPlainRows(Rows):
    """django-user-sessions: no row for each unknown cookie, and none again for a session that has ended."""

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
        # So that what the request knows of the browser is saved.
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
    """Insert a row, or write over the one that is there; never both."""
    using = engine.tied_database or router.db_for_write(type(row), instance=row)
    try:
        with transaction.atomic(using=using):
            _save_row(row, using, must_create)
    except IntegrityError:
        if must_create and engine._tied_rows().filter(session_key=row.pk).exists():
            raise CreateError from None
        raise
    except DatabaseError:
        if not must_create and engine._tied_rows().filter(session_key=row.pk).exists():
            raise
        if not must_create:
            raise UpdateError from None
        raise


def _save_row(row: Any, using: str, must_create: bool) -> None:
    if type(row).__module__ != "qsessions.models":
        row.save(force_insert=must_create, force_update=not must_create, using=using)
        return
    # Its save() asks the default database when the session began, and takes an absent answer for now.
    if must_create:
        row.created_at = timezone.now()
    names = None if must_create else {field.name for field in row._meta.concrete_fields} - {"created_at", "session_key"}
    models.Model.save(row, force_insert=must_create, force_update=not must_create, using=using, update_fields=names)
