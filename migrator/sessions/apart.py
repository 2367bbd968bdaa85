"""Whether the sides of a transition are two places, as their servers tell; asked by ``check --deploy``, too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured

from .. import conf
from ..errors import MigratorError
from .transition.configuration import Transition, transition
from .transition.same_server import one_place


def _blind_spots(change: Transition) -> Iterator[CheckMessage]:
    """Warn of sides that show this user a part of their sessions: to a site's own connection the others are ended."""
    for name, side in (("OLD", change.old), ("NEW", change.new)):
        if reason := side.store.blind_spot():
            yield Warning(
                f"Not all sessions of {name} in MIGRATOR['SESSIONS'] can be seen: {reason}.",
                hint="A worker does not find the hidden ones. The commands refuse such a store.",
                id="migrator.W051",
            )


@register("migrator", deploy=True)
def check_places(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Check with the servers that OLD and NEW are two places."""
    try:
        if conf.load().SESSIONS is None:
            return []
        change = transition()
    except (ImproperlyConfigured, MigratorError):  # which other checks tell of
        return []
    try:
        problem = one_place(change)
    except Exception as error:
        # The message of a driver may tell how it connects.
        return [
            Warning(
                f"OLD or NEW of MIGRATOR['SESSIONS'] does not answer ({type(error).__name__}).",
                hint="session_transition tells which of them.",
                id="migrator.W050",
            )
        ]
    if problem is None:
        return list(_blind_spots(change))
    return [
        Error(
            f"OLD and NEW of MIGRATOR['SESSIONS'] are not two places: {problem}.",
            hint="Give NEW a database, or a cache, of its own; of a cache another KEY_PREFIX will do.",
            id="migrator.E051",
        )
    ]
