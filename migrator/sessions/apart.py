"""Whether the two sides of a transition are two places, as their servers tell; asked by ``check --deploy``, too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured

from .. import conf
from ..errors import MigratorError
from .transition.configuration import Transition, transition


def one_place(change: Transition) -> str | None:
    """Say why the servers take both sides for one place, None where they are two; raise what asking them raises."""
    old, new = change.old.store, change.new.store
    if old.identities() & new.identities():
        return f"both are {new.label()}"
    return None


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
        return []
    return [
        Error(
            f"OLD and NEW of MIGRATOR['SESSIONS'] are the same place: {problem}.",
            hint="Give NEW a database, or a cache, of its own; of a cache another KEY_PREFIX will do.",
            id="migrator.E051",
        )
    ]
