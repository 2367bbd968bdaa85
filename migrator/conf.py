"""The ``MIGRATOR`` setting as a typed, frozen object, with all defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured

from .errors import UsageError

# In rows. Without CHUNK_SIZE and --chunk-size, tables are copied in chunks from the first to the second size.
DEFAULT_CHUNK_SIZE = 10_000
LARGEST_CHUNK_SIZE = 50_000
DEFAULT_RETRY_FOR = 300
DEFAULT_LINK_TIMEOUT = 120


@dataclass(frozen=True)
class SessionSide:
    """One of the two stores of ``MIGRATOR["SESSIONS"]``.

    ``ENGINE``: what SESSION_ENGINE would be if this store were the only one.
    ``DATABASE``: the alias of its table's database, if DATABASE_ROUTERS should not choose it.
    ``CACHE``: the alias of its cache, if that is not SESSION_CACHE_ALIAS.
    """

    ENGINE: str
    DATABASE: str | None = None
    CACHE: str | None = None


@dataclass(frozen=True)
class Sessions:
    """A transition from one session store to another.

    ``PHASE`` and ``ROLLOUT``: a constant, a callable, or the dotted path of either; read for each operation.
    ``TALLY``: where the workers' metrics are stored, ``cache:ALIAS`` or ``db:ALIAS``.
    """

    OLD: SessionSide
    NEW: SessionSide
    PHASE: Any = "old"
    ROLLOUT: Any = 0
    TALLY: str | None = None


@dataclass(frozen=True)
class Settings:
    """What a project may set in ``MIGRATOR``.

    ``PROTECTED``: database aliases that may never be a destination.
    ``CHUNK_SIZE``: rows per chunk without ``--chunk-size``; ``None`` for a size that suits the databases.
    ``RETRY_FOR``: for how many seconds a transient error of the destination is retried.
    ``LINK_TIMEOUT``: after how many seconds without a response the connection to a database counts as lost.
    ``SESSIONS``: the two stores of ``migrator.sessions.transition``, and its phase.
    ``SESSION_DATABASE``: where ``SessionRouter`` sends the session table when no transition is running.
    """

    PROTECTED: tuple[str, ...] = ()
    CHUNK_SIZE: int | None = None
    RETRY_FOR: float = DEFAULT_RETRY_FOR
    LINK_TIMEOUT: int = DEFAULT_LINK_TIMEOUT
    SESSIONS: Sessions | None = None
    SESSION_DATABASE: str | None = None


def unknown_names(given: Mapping[str, Any]) -> list[str]:
    """Return the keys of ``MIGRATOR`` that are not settings, sorted."""
    return sorted(set(given) - {field.name for field in fields(Settings)})


def load() -> Settings:
    """Return the project's ``MIGRATOR`` setting over the defaults; the system checks report its mistakes.

    Raises :exc:`UsageError` for a mistake that would leave a database unprotected, and :exc:`ImproperlyConfigured` for
    one in ``SESSIONS``.
    """
    given = getattr(django_settings, "MIGRATOR", {})
    if not isinstance(given, Mapping):
        raise UsageError(f"MIGRATOR is {type(given).__name__}, not a dictionary.")
    known = {name: value for name, value in given.items() if name not in unknown_names(given)}
    if isinstance(known.get("PROTECTED"), str):
        raise UsageError("MIGRATOR['PROTECTED'] is a string; write a list of database aliases.")
    if "PROTECTED" in known:
        known["PROTECTED"] = tuple(known["PROTECTED"])
    if known.get("SESSIONS") is not None:
        known["SESSIONS"] = sessions_from(known["SESSIONS"])
    return Settings(**known)


def sessions_from(given: object) -> Sessions:
    """Return ``MIGRATOR["SESSIONS"]`` as an object; raise :exc:`ImproperlyConfigured` for a mistake in it."""
    known = _checked(given, Sessions, "MIGRATOR['SESSIONS']")
    for name in ("OLD", "NEW"):
        where = f"MIGRATOR['SESSIONS']['{name}']"
        known[name] = SessionSide(**_checked(known[name], SessionSide, where))
    return Sessions(**known)


def _checked(given: object, kind: Any, where: str) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(f"{where} is {type(given).__name__}, not a dictionary.")
    names = {field.name: field for field in fields(kind)}
    if unknown := sorted(set(given) - set(names)):
        raise ImproperlyConfigured(f"{where} has the unknown key {unknown[0]!r}; the keys are {', '.join(names)}.")
    missing = [name for name, field in names.items() if field.default is MISSING and name not in given]
    if missing:
        raise ImproperlyConfigured(f"{where} lacks {missing[0]!r}.")
    for name, field in names.items():
        if field.type in ("str", "str | None") and not isinstance(given.get(name, ""), str | None):
            raise ImproperlyConfigured(f"{where}[{name!r}] is {given[name]!r}, not a string.")
    return dict(given)
