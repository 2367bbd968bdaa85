"""Moves by name, in ``MIGRATOR["MOVES"]``: all passes of one use the same databases and tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from ..conf import Move, load, move_from
from ..console.suggestions import did_you_mean
from ..console.wording import shortened
from ..errors import UsageError


def move_named(name: str) -> Move:
    """Return a move of ``MIGRATOR["MOVES"]``. Raises :exc:`UsageError` for an unknown name or a mistake in it."""
    given: object = load().MOVES
    moves: Mapping[str, Any] = given if isinstance(given, Mapping) else {}
    if name not in moves:
        known = sorted(map(str, moves))
        listed = f"Its moves are {shortened(known)}." if known else "It is empty."
        raise UsageError(f"MIGRATOR['MOVES'] has no move {name!r}.{did_you_mean(name, known)} {listed}")
    try:
        return move_from(name, moves[name])
    except ImproperlyConfigured as error:
        raise UsageError(str(error)) from None


def with_move(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a command's options with those of its ``--move``, if it has one.

    Raises :exc:`UsageError` for a typed option that contradicts the move.
    """
    if options["move"] is None:
        return dict(options)
    move = move_named(options["move"])
    for name, typed, own in (
        ("--source", options["source"], move.source),
        ("--dest", options["dest"], move.dest),
        ("app_label[.Model]", sorted(options["labels"]), sorted(move.labels)),
        ("--exclude", sorted(options["exclude"]), sorted(move.exclude)),
    ):
        if typed and typed != own:
            raise UsageError(
                f"{name} contradicts --move: it is {_text(typed)}, and MIGRATOR['MOVES'][{options['move']!r}] has "
                f"{_text(own)}. All passes of a move use the same databases and tables. Leave {name} out, or change "
                "the setting before the first pass."
            )
    return {
        **options,
        "source": move.source,
        "dest": move.dest,
        "labels": list(move.labels),
        "exclude": list(move.exclude),
    }


def _text(value: str | list[str]) -> str:
    return repr(value) if isinstance(value, str) else ", ".join(value) or "none"
