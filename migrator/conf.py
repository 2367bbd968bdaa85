"""The ``MIGRATOR`` setting: one typed, frozen object, and the one place for defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured

from .errors import UsageError

# In rows. Where nobody has chosen, tables are copied in chunks from the first to the second size.
DEFAULT_CHUNK_SIZE = 10_000
LARGEST_CHUNK_SIZE = 50_000
DEFAULT_RETRY_FOR = 300
DEFAULT_LINK_TIMEOUT = 120


@dataclass(frozen=True)
class SessionSide:
    """One of the two stores of ``MIGRATOR["SESSIONS"]``.

    ``ENGINE``: what SESSION_ENGINE would be, were it the only one.
    ``DATABASE``: the alias its table is read and written in, where that is not for DATABASE_ROUTERS to say.
    ``CACHE``: the alias of its cache, where that is not SESSION_CACHE_ALIAS.
    """

    ENGINE: str
    DATABASE: str | None = None
    CACHE: str | None = None


@dataclass(frozen=True)
class Sessions:
    """A change from one store of sessions to another.

    ``PHASE`` and ``ROLLOUT``: a constant, a callable, or the dotted path of either; read for each operation.
    ``TALLY``: where workers add up what they count, ``cache:ALIAS`` or ``db:ALIAS``.
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
    ``CHUNK_SIZE``: rows in a chunk, where ``--chunk-size`` does not say; ``None`` for what suits the databases.
    ``RETRY_FOR``: seconds for which a passing fault of the destination is waited for.
    ``LINK_TIMEOUT``: seconds without a sign of life after which the link to a database counts as lost.
    ``SESSIONS``: the two stores that ``migrator.sessions.transition`` keeps, and which of them decides.
    ``SESSION_DATABASE``: where ``SessionRouter`` sends the session table when there is no change under way.
    """

    PROTECTED: tuple[str, ...] = ()
    CHUNK_SIZE: int | None = None
    RETRY_FOR: float = DEFAULT_RETRY_FOR
    LINK_TIMEOUT: int = DEFAULT_LINK_TIMEOUT
    SESSIONS: Sessions | None = None
    SESSION_DATABASE: str | None = None


def unknown_names(given: Mapping[str, Any]) -> list[str]:
    """List the keys of ``MIGRATOR`` that mean nothing here."""
    return sorted(set(given) - {field.name for field in fields(Settings)})


def load() -> Settings:
    """Read the project's ``MIGRATOR`` setting over the defaults; the system checks tell what is wrong with it.

    Raises :exc:`UsageError` for a mistake that would otherwise leave a database unprotected.
    """
    given = getattr(django_settings, "MIGRATOR", {})
    if not isinstance(given, Mapping):
        raise UsageError(f"MIGRATOR is {type(given).__name__}, not a dictionary.")
    known = {name: value for name, value in given.items() if name not in unknown_names(given)}
    if isinstance(known.get("PROTECTED"), str):
        raise UsageError("MIGRATOR['PROTECTED'] is a text; write a list of database aliases.")
    if "PROTECTED" in known:
        known["PROTECTED"] = tuple(known["PROTECTED"])
    if known.get("SESSIONS") is not None:
        known["SESSIONS"] = sessions_from(known["SESSIONS"])
    return Settings(**known)


def sessions_from(given: object) -> Sessions:
    """Read ``MIGRATOR["SESSIONS"]``; raise :exc:`ImproperlyConfigured` for what it cannot mean."""
    known = _checked(given, Sessions, "MIGRATOR['SESSIONS']")
    for name in ("OLD", "NEW"):
        place = f"MIGRATOR['SESSIONS']['{name}']"
        known[name] = SessionSide(**_checked(known[name], SessionSide, place))
    return Sessions(**known)


def _checked(given: object, kind: Any, place: str) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(f"{place} is {type(given).__name__}, not a dictionary.")
    names = {field.name: field for field in fields(kind)}
    if unknown := sorted(set(given) - set(names)):
        raise ImproperlyConfigured(f"{place} has the unknown key {unknown[0]!r}; there are {', '.join(names)}.")
    missing = [name for name, field in names.items() if field.default is MISSING and name not in given]
    if missing:
        raise ImproperlyConfigured(f"{place} lacks {missing[0]!r}.")
    for name, field in names.items():
        if field.type in ("str", "str | None") and not isinstance(given.get(name, ""), str | None):
            raise ImproperlyConfigured(f"{place}[{name!r}] is {given[name]!r}, not a text.")
    return dict(given)
