"""Files of databases, which no option may name: a report would overwrite the database."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from ..console.private_files import is_same_file
from ..errors import UsageError
from .engines.registry import engine_for


def check_no_database(named: Mapping[str, Path]) -> None:
    """Raise :exc:`UsageError` if one of these options names a file of a database in ``DATABASES``."""
    for alias in connections if named else ():
        owned: tuple[Path, ...] = ()
        with suppress(ImproperlyConfigured, ImportError, UsageError):  # a database that this command cannot open
            owned = engine_for(connections[alias]).own_files()
        for option, path in named.items():
            if any(is_same_file(path, own) for own in owned):
                raise UsageError(f"{option} names {str(path)!r}, a file of the database {alias!r}; name another file.")
