"""The demo's files; it never removes any others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings

OLD, NEW, LOGINS = "default", "new", "sessions"
MARKER = ".made_by_the_demo"
LOGS = (
    "plan", "move", "compare",
    "copy_sessions_cache_to_db", "verify_sessions_db", "copy_sessions_db_to_cache", "verify_sessions_cache",
)  # fmt: skip
SUFFIXES = ("", "-journal", "-wal", "-shm")


class NotOurs(Exception):
    """The directory has files of others, which the demo does not touch."""


def use_directory(directory: Path | None) -> None:
    """Remove the files of earlier demos in ``directory``, or in the directory of the demo's settings."""
    home = getattr(settings, "DEMO_DIRECTORY", None)
    if home is None:
        raise NotOurs("These are not the demo's settings. Unset DJANGO_SETTINGS_MODULE and start again.")
    if directory is not None:
        _claim(directory)
        for alias in (OLD, NEW, LOGINS):
            # All connections share this dictionary, and none is open yet.
            _entry(alias)["NAME"] = directory.resolve() / file_of(alias).name
    for database in map(file_of, (OLD, NEW, LOGINS)):
        for suffix in SUFFIXES:
            Path(f"{database}{suffix}").unlink(missing_ok=True)
    for name in LOGS:
        log_file(name).unlink(missing_ok=True)


def file_of(alias: str) -> Path:
    """Return the SQLite file of a database."""
    return Path(_entry(alias)["NAME"])


def log_file(name: str) -> Path:
    """Return the path of the file, next to the new database, that has everything that a command printed."""
    return file_of(NEW).with_name(f"{name}.txt")


def shown(path: Path) -> str:
    """Return a path for people, relative to the current directory if possible."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _entry(alias: str) -> dict[str, Any]:
    entry: dict[str, Any] = settings.DATABASES[alias]
    return entry


def _claim(directory: Path) -> None:
    """Use a new or empty directory, or one that an earlier demo marked."""
    directory.mkdir(parents=True, exist_ok=True)
    marker = directory / MARKER
    if not marker.exists() and any(directory.iterdir()):
        raise NotOurs(f"{str(directory)!r} has files that the demo did not create. Name an empty directory.")
    marker.touch()
