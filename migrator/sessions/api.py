"""The functions behind the commands that copy sessions: one for each pair of kinds of places."""

from __future__ import annotations

from ..console.progress import Progress
from ..console.prompts import Prompter
from ..stores.copying.records import CopyResult
from .copying.run import Show, copy_sessions
from .records import CopyOptions, End, SessionPlan

CACHE, TABLE = End("cache"), End("db")


def copy_sessions_cache_to_db(
    *,
    source: End = CACHE,
    dest: End = TABLE,
    options: CopyOptions | None = None,
    progress: Progress | None = None,
    prompter: Prompter | None = None,
    show: Show | None = None,
) -> CopyResult[SessionPlan]:
    """Copy a cache's sessions to a table; both default to those that the project's sessions use."""
    return copy_sessions(source=source, dest=dest, options=options, progress=progress, prompter=prompter, show=show)


def copy_sessions_db_to_cache(
    *,
    source: End = TABLE,
    dest: End = CACHE,
    options: CopyOptions | None = None,
    progress: Progress | None = None,
    prompter: Prompter | None = None,
    show: Show | None = None,
) -> CopyResult[SessionPlan]:
    """Copy a table's sessions to a cache; both default to those that the project's sessions use."""
    return copy_sessions(source=source, dest=dest, options=options, progress=progress, prompter=prompter, show=show)


def copy_sessions_db_to_db(
    *,
    source: End,
    dest: End,
    options: CopyOptions | None = None,
    progress: Progress | None = None,
    prompter: Prompter | None = None,
    show: Show | None = None,
) -> CopyResult[SessionPlan]:
    """Copy the sessions of one table to another."""
    return copy_sessions(source=source, dest=dest, options=options, progress=progress, prompter=prompter, show=show)


def copy_sessions_cache_to_cache(
    *,
    source: End,
    dest: End,
    options: CopyOptions | None = None,
    progress: Progress | None = None,
    prompter: Prompter | None = None,
    show: Show | None = None,
) -> CopyResult[SessionPlan]:
    """Copy the sessions of one cache to another."""
    return copy_sessions(source=source, dest=dest, options=options, progress=progress, prompter=prompter, show=show)
