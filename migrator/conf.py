"""The ``MIGRATOR`` setting as a typed, frozen object, with all defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured

from .errors import UsageError

# In rows. Without CHUNK_SIZE and --chunk-size, tables are copied in chunks from the first to the second size.
DEFAULT_CHUNK_SIZE = 10_000
LARGEST_CHUNK_SIZE = 50_000
DEFAULT_RETRY_FOR = 300
DEFAULT_LINK_TIMEOUT = 120


def setting(meaning: str, default: Any = MISSING, said: str = "") -> Any:
    """Return the field of a key; its ``meaning``, and its default in words if ``said``, are for the documentation."""
    return field(default=default, metadata={"meaning": meaning, "default": said})


@dataclass(frozen=True)
class SessionSide:
    """One of the two stores of ``MIGRATOR["SESSIONS"]``."""

    ENGINE: str = setting(
        "The `SESSION_ENGINE` of a site that uses only this store: Django's `cache`, `cached_db`, `db` and `file`, "
        "`user_sessions.backends.db`, `qsessions.backends.db` and `.cached_db`, or an engine of your own. "
        "`signed_cookies` is excluded, because its sessions are stored in browsers."
    )
    DATABASE: str | None = setting(
        "The alias of the database that holds its table.", None, "chosen by `DATABASE_ROUTERS`"
    )
    CACHE: str | None = setting("The alias of its cache.", None, "`SESSION_CACHE_ALIAS`")


@dataclass(frozen=True)
class Sessions:
    """A transition from one session store to another."""

    OLD: SessionSide = setting("The store that the sessions leave: a dictionary with the keys of a side.")
    NEW: SessionSide = setting("The store that they go to: a dictionary with the keys of a side.")
    PHASE: Any = setting(
        "`old`, `dual_old`, `dual_new` or `new`; or a callable that returns one, or the dotted path of either, called "
        "for each operation. If it fails or returns anything else, the last valid value is kept and an error logged; a "
        "worker that has no valid value yet answers with an error.",
        "old",
    )
    ROLLOUT: Any = setting(
        "The percentage of session keys in `dual_new` while `PHASE` is `dual_old`: a number, a callable, or a dotted "
        "path. A key that is included stays so while the number grows. If it fails or is not a number from 0 to 100, "
        "the last valid value is kept and an error logged; the initial value is 0.",
        0,
    )
    TALLY: str | None = setting(
        "The store for the counts of all workers: `cache:ALIAS` or `db:ALIAS`.",
        None,
        "NEW's cache or database, otherwise OLD's",
    )


@dataclass(frozen=True)
class Move:
    """A move of ``MIGRATOR["MOVES"]``."""

    source: str = setting("The alias of the database to read.")
    dest: str = setting("The alias of the database to fill.")
    labels: tuple[str, ...] = setting("Only these apps and models, as a list.", (), "all")
    exclude: tuple[str, ...] = setting("Apps and models that are left out, as a list.", (), "none")


@dataclass(frozen=True)
class WorkerExecutor:
    """One executor of ``MIGRATOR["EXECUTORS"]``: ``APP``, or ``EXECUTOR``."""

    APP: str | None = setting("The dotted path of a Celery app, such as `shop.celery.app`.", None, "none")
    QUEUE: str = setting("The queue that workers of this app read for migrator.", "migrator")
    EXECUTOR: str | None = setting(
        "The dotted path of a callable that returns a `concurrent.futures.Executor`.", None, "none"
    )


@dataclass(frozen=True)
class Settings:
    """What a project may set in ``MIGRATOR``."""

    PROTECTED: tuple[str, ...] = setting(
        "Aliases of databases that can never be a destination; a `DatabaseCache` with its table in such a database "
        "can't be one either.",
        (),
        "none",
    )
    CHUNK_SIZE: int | None = setting(
        "Rows in a chunk, unless `--chunk-size` is given.",
        None,
        f"depends on the databases: from {DEFAULT_CHUNK_SIZE:,} to {LARGEST_CHUNK_SIZE:,}, and more between two files",
    )
    RETRY_FOR: float = setting(
        "For how many seconds a move retries while the destination restarts or is locked by another session. After "
        "that it stops and can be resumed. With 0 it retries once.",
        DEFAULT_RETRY_FOR,
    )
    LINK_TIMEOUT: int = setting(
        "After how many seconds without a response the connection to a database server counts as lost, if the network "
        "drops it silently.",
        DEFAULT_LINK_TIMEOUT,
    )
    MOVES: Mapping[str, Any] | None = setting(
        "Moves by name, each a dictionary, for `--move NAME`: all its passes use the same databases and tables.",
        None,
        "none",
    )
    EXECUTORS: Mapping[str, Any] | None = setting(
        "Workers on other hosts by name, each a dictionary, for `--executor NAME`.", None, "none"
    )
    SESSIONS: Sessions | None = setting("The two stores of a transition of sessions, and its phase.", None, "none")
    SESSION_DATABASE: str | None = setting(
        "The database to which `SessionRouter` sends sessions outside of a transition.", None, "none"
    )


def unknown_names(given: Mapping[str, Any]) -> list[str]:
    """Return the keys of ``MIGRATOR`` that are not settings, sorted."""
    return sorted(set(given) - {each.name for each in fields(Settings)})


def load() -> Settings:
    """Return the project's ``MIGRATOR`` setting over the defaults; the system checks report its mistakes.

    Raises :exc:`UsageError` for a mistake that would leave a database unprotected, and :exc:`ImproperlyConfigured` for
    one in ``SESSIONS``.
    """
    given = getattr(django_settings, "MIGRATOR", {})
    if not isinstance(given, Mapping):
        raise UsageError(f"MIGRATOR is {type(given).__name__}, not a dictionary.")
    known = {name: value for name, value in given.items() if name not in unknown_names(given)}
    if "PROTECTED" in known:
        if not isinstance(known["PROTECTED"], list | tuple | set | frozenset):
            kind = type(known["PROTECTED"]).__name__
            raise UsageError(f"MIGRATOR['PROTECTED'] is {kind}; write a list of database aliases.")
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


def move_from(name: str, given: object) -> Move:
    """Return a move of ``MIGRATOR["MOVES"]`` as an object; raise :exc:`ImproperlyConfigured` for a mistake in it."""
    where = f"MIGRATOR['MOVES'][{name!r}]"
    known = _checked(given, Move, where)
    for key in ("labels", "exclude"):
        value = known.get(key, ())
        if not isinstance(value, list | tuple) or not all(isinstance(label, str) for label in value):
            raise ImproperlyConfigured(f"{where}[{key!r}] is not a list of apps and models.")
        known[key] = tuple(value)
    return Move(**known)


def executor_from(name: str, given: object) -> WorkerExecutor:
    """Return an executor of ``MIGRATOR["EXECUTORS"]`` as an object; raise :exc:`ImproperlyConfigured` for a mistake."""
    where = f"MIGRATOR['EXECUTORS'][{name!r}]"
    executor = WorkerExecutor(**_checked(given, WorkerExecutor, where))
    if bool(executor.APP) == bool(executor.EXECUTOR):
        raise ImproperlyConfigured(f"{where} has to have one of 'APP' and 'EXECUTOR'.")
    return executor


def _checked(given: object, kind: Any, where: str) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(f"{where} is {type(given).__name__}, not a dictionary.")
    names = {each.name: each for each in fields(kind)}
    if unknown := sorted(set(given) - set(names)):
        raise ImproperlyConfigured(f"{where} has the unknown key {unknown[0]!r}; the keys are {', '.join(names)}.")
    missing = [name for name, each in names.items() if each.default is MISSING and name not in given]
    if missing:
        raise ImproperlyConfigured(f"{where} lacks {missing[0]!r}.")
    for name, each in names.items():
        if each.type in ("str", "str | None") and not isinstance(given.get(name, ""), str | None):
            raise ImproperlyConfigured(f"{where}[{name!r}] is {given[name]!r}, not a string.")
    return dict(given)
