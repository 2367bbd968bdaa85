"""The ``MIGRATOR`` setting: one typed, frozen object, and the one place for defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from django.conf import settings as django_settings

from .errors import UsageError

DEFAULT_CHUNK_SIZE = 10_000


@dataclass(frozen=True)
class Settings:
    """What a project may set in ``MIGRATOR``.

    ``PROTECTED``: database aliases that may never be a destination.
    ``CHUNK_SIZE``: rows in a chunk, where ``--chunk-size`` does not say.
    """

    PROTECTED: tuple[str, ...] = ()
    CHUNK_SIZE: int = DEFAULT_CHUNK_SIZE


def unknown_names(given: Mapping[str, Any]) -> list[str]:
    """List the keys of ``MIGRATOR`` that mean nothing here."""
    return sorted(set(given) - {field.name for field in fields(Settings)})


def load() -> Settings:
    """Read the project's ``MIGRATOR`` setting over the defaults; the system checks tell what is wrong with it.

    Raises :exc:`UsageError` for a mistake that would otherwise leave a database unprotected.
    """
    given = dict(getattr(django_settings, "MIGRATOR", {}))
    known = {name: value for name, value in given.items() if name not in unknown_names(given)}
    if isinstance(known.get("PROTECTED"), str):
        raise UsageError("MIGRATOR['PROTECTED'] is a text; write a list of database aliases.")
    if "PROTECTED" in known:
        known["PROTECTED"] = tuple(known["PROTECTED"])
    return Settings(**known)
