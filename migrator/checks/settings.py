"""System checks of the ``MIGRATOR`` setting."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, register
from django.core.exceptions import ImproperlyConfigured
from django.db import connections

from ..conf import DEFAULT_LINK_TIMEOUT, DEFAULT_RETRY_FOR, Move, executor_from, move_from, unknown_names
from ..databases.planning.selection import models_of
from ..errors import UsageError
from .messages import error


@register("migrator")
def check_settings(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Check the whole ``MIGRATOR`` setting before any command reads it."""
    given = getattr(settings, "MIGRATOR", {})
    if not isinstance(given, dict):
        found = f"MIGRATOR is {type(given).__name__}, not a dictionary."
        return [error("migrator.E001", found, "Write MIGRATOR = {...}, or remove it.")]
    checks = (_check_names, _check_protected, _check_chunk_size, _check_seconds, _check_moves, _check_executors)
    return [message for check in checks for message in check(given)]


def _check_names(given: dict[str, Any]) -> Iterator[CheckMessage]:
    for name in unknown_names(given):
        yield error(
            "migrator.E002",
            f"MIGRATOR has the unknown key {name!r}.",
            "The documentation of the settings lists all keys; a misspelled one has no effect.",
        )


def _check_protected(given: dict[str, Any]) -> Iterator[CheckMessage]:
    aliases = given.get("PROTECTED", ())
    is_list = isinstance(aliases, list | tuple | set | frozenset)
    if not is_list or not all(isinstance(alias, str) for alias in aliases):
        yield error(
            "migrator.E003",
            "MIGRATOR['PROTECTED'] is not a list of database aliases.",
            "Write MIGRATOR = {'PROTECTED': ['default']}.",
        )
        return
    for alias in aliases:
        if alias not in connections:
            yield error(
                "migrator.E004",
                f"MIGRATOR['PROTECTED'] names {alias!r}, which is not in DATABASES.",
                f"The aliases are {', '.join(sorted(connections))}.",
            )


def _check_moves(given: dict[str, Any]) -> Iterator[CheckMessage]:
    moves = given.get("MOVES") or {}
    hint = "Write MIGRATOR = {'MOVES': {'to-new': {'source': 'default', 'dest': 'new'}}}."
    if not isinstance(moves, dict):
        yield error("migrator.E008", f"MIGRATOR['MOVES'] is {type(moves).__name__}, not a dictionary.", hint)
        return
    for name, entry in moves.items():
        try:
            move = move_from(name, entry)
        except ImproperlyConfigured as mistake:
            yield error("migrator.E008", str(mistake), hint)
            continue
        yield from _check_aliases(f"MIGRATOR['MOVES'][{name!r}]", move, given.get("PROTECTED", ()))
        for label in (*move.labels, *move.exclude):
            try:
                models_of(label)
            except UsageError as mistake:
                yield error("migrator.E010", f"MIGRATOR['MOVES'][{name!r}]: {mistake}")


def _check_executors(given: dict[str, Any]) -> Iterator[CheckMessage]:
    executors = given.get("EXECUTORS") or {}
    hint = "Write MIGRATOR = {'EXECUTORS': {'celery': {'APP': 'shop.celery.app'}}}."
    if not isinstance(executors, dict):
        yield error("migrator.E011", f"MIGRATOR['EXECUTORS'] is {type(executors).__name__}, not a dictionary.", hint)
        return
    for name, entry in executors.items():
        try:
            executor_from(name, entry)
        except ImproperlyConfigured as mistake:
            yield error("migrator.E011", str(mistake), hint)


def _check_aliases(where: str, move: Move, protected: Collection[str]) -> Iterator[CheckMessage]:
    for alias in dict.fromkeys((move.source, move.dest)):
        if alias not in connections:
            known = f"The aliases are {', '.join(sorted(connections))}."
            yield error("migrator.E009", f"{where} names {alias!r}, which is not in DATABASES.", known)
    if move.source == move.dest:
        yield error("migrator.E009", f"{where} has {move.source!r} as its source and as its destination.")
    if move.dest in protected:
        hint = "MIGRATOR['PROTECTED'] lists databases that can never be a destination."
        yield error("migrator.E009", f"{where} has the protected database {move.dest!r} as its destination.", hint)


def _check_chunk_size(given: dict[str, Any]) -> Iterator[CheckMessage]:
    size = given.get("CHUNK_SIZE", 1)
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        yield error(
            "migrator.E005",
            f"MIGRATOR['CHUNK_SIZE'] is {size!r}, not a positive integer.",
            "Remove it to let migrator choose a size that suits the databases.",
        )


def _check_seconds(given: dict[str, Any]) -> Iterator[CheckMessage]:
    seconds = given.get("RETRY_FOR", 0)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < float("inf"):
        yield error(
            "migrator.E006",
            f"MIGRATOR['RETRY_FOR'] is {seconds!r}, not a number of seconds.",
            f"Remove it for the default of {DEFAULT_RETRY_FOR} seconds; 0 retries once.",
        )
    seconds = given.get("LINK_TIMEOUT", 1)
    if isinstance(seconds, bool) or not isinstance(seconds, int) or seconds < 1:
        yield error(
            "migrator.E007",
            f"MIGRATOR['LINK_TIMEOUT'] is {seconds!r}, not a positive integer of seconds.",
            f"Remove it for the default of {DEFAULT_LINK_TIMEOUT} seconds.",
        )
