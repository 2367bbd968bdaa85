"""Where the demo's files are, and that nothing but they is ever removed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.conf import settings

OLD, NEW, LOGINS = "default", "new", "sessions"
MARK = ".made_by_the_demo"
SUFFIXES = ("", "-journal", "-wal", "-shm")


class NotOurs(Exception):
    """What is there is not the demo's, and is left alone."""


def use_directory(directory: Path | None) -> None:
    """Start afresh in ``directory``, or where the demo's settings say."""
    home = getattr(settings, "DEMO_DIRECTORY", None)
    if home is None:
        raise NotOurs("These are not the demo's settings. Unset DJANGO_SETTINGS_MODULE and start again.")
    if directory is not None:
        _claim(directory)
        for alias in (OLD, NEW, LOGINS):
            # Connections share this dictionary, and none is open yet.
            _entry(alias)["NAME"] = directory.resolve() / file_of(alias).name
    for database in map(file_of, (OLD, NEW, LOGINS)):
        for suffix in SUFFIXES:
            Path(f"{database}{suffix}").unlink(missing_ok=True)
    report_file().unlink(missing_ok=True)


def file_of(alias: str) -> Path:
    """Return the SQLite file of a database."""
    return Path(_entry(alias)["NAME"])


def report_file() -> Path:
    """Return where the report of the move is written, beside the new database."""
    return file_of(NEW).with_name("move.txt")


def shown(path: Path) -> str:
    """Write a path as briefly as it can be found from here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _entry(alias: str) -> dict[str, Any]:
    entry: dict[str, Any] = settings.DATABASES[alias]
    return entry


def _claim(directory: Path) -> None:
    """Take a new or empty directory, or one that an earlier demo marked."""
    directory.mkdir(parents=True, exist_ok=True)
    mark = directory / MARK
    if not mark.exists() and any(directory.iterdir()):
        raise NotOurs(f"{str(directory)!r} holds files that the demo did not make. Name an empty directory.")
    mark.touch()
