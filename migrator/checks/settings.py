"""Mistakes in the ``MIGRATOR`` setting, as numbered system checks with a hint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.core.checks import CheckMessage, Error, register
from django.db import connections, router

from ..conf import DEFAULT_LINK_TIMEOUT, DEFAULT_RETRY_FOR, unknown_names


@register("migrator")
def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Check the ``MIGRATOR`` setting as a whole, before any command reads it."""
    given = getattr(settings, "MIGRATOR", {})
    if not isinstance(given, dict):
        return [
            Error(
                f"MIGRATOR is {type(given).__name__}, not a dictionary.",
                hint="Write MIGRATOR = {...}, or leave it out.",
                id="migrator.E001",
            )
        ]
    return [*_check_names(given), *_check_protected(given), *_check_chunk_size(given), *_check_seconds(given)]


def _check_names(given: dict[str, Any]) -> list[CheckMessage]:
    return [
        Error(
            f"MIGRATOR has the unknown key {name!r}.",
            hint="Look it up in the README's settings; a misspelt key would otherwise do nothing.",
            id="migrator.E002",
        )
        for name in unknown_names(given)
    ]


def _check_protected(given: dict[str, Any]) -> list[CheckMessage]:
    aliases = given.get("PROTECTED", ())
    is_list = isinstance(aliases, list | tuple | set | frozenset)
    if not is_list or not all(isinstance(alias, str) for alias in aliases):
        return [
            Error(
                "MIGRATOR['PROTECTED'] is not a list of database aliases.",
                hint="Write MIGRATOR = {'PROTECTED': ['default']}.",
                id="migrator.E003",
            )
        ]
    return [
        Error(
            f"MIGRATOR['PROTECTED'] names {alias!r}, which is not in DATABASES.",
            hint=f"The aliases are {', '.join(sorted(connections))}.",
            id="migrator.E004",
        )
        for alias in aliases
        if alias not in connections
    ]


def _check_chunk_size(given: dict[str, Any]) -> list[CheckMessage]:
    size = given.get("CHUNK_SIZE", 1)
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        return [
            Error(
                f"MIGRATOR['CHUNK_SIZE'] is {size!r}, not a whole number above zero.",
                hint="Leave it out for what suits the databases.",
                id="migrator.E005",
            )
        ]
    return []


def _check_seconds(given: dict[str, Any]) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    seconds = given.get("RETRY_FOR", 0)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < float("inf"):
        found.append(
            Error(
                f"MIGRATOR['RETRY_FOR'] is {seconds!r}, not a number of seconds.",
                hint=f"Leave it out for the default of {DEFAULT_RETRY_FOR} seconds; 0 tries again once.",
                id="migrator.E006",
            )
        )
    seconds = given.get("LINK_TIMEOUT", 1)
    if isinstance(seconds, bool) or not isinstance(seconds, int) or seconds < 1:
        found.append(
            Error(
                f"MIGRATOR['LINK_TIMEOUT'] is {seconds!r}, not a whole number of seconds above zero.",
                hint=f"Leave it out for the default of {DEFAULT_LINK_TIMEOUT} seconds.",
                id="migrator.E007",
            )
        )
    return found


def atomic_databases_without_models() -> set[str]:
    """Return the databases with ATOMIC_REQUESTS that no installed model but those of sessions is written to.

    Django begins a transaction in each of them before every view, so that no request is answered while one is down.
    """
    atomic = {alias for alias in connections if connections.settings[alias].get("ATOMIC_REQUESTS")}
    if not atomic:
        return set()
    others = (model for model in apps.get_models() if not _is_of_sessions(model))
    return atomic - {router.db_for_write(model) for model in others}


def _is_of_sessions(model: Any) -> bool:
    return {"session_key", "session_data", "expire_date"} <= {field.name for field in model._meta.concrete_fields}
