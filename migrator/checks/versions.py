"""System check of the Django that migrator runs on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import django
from django.apps import AppConfig
from django.core.checks import CheckMessage, register

from .messages import warning

# The series of Django that tests have run on, oldest first.
TESTED_DJANGO = ((5, 2), (6, 0), (6, 1))


@register("migrator")
def check_django(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Warn of a Django of a later series than migrator was tested on: it may have fields that nothing here knows."""
    newest = TESTED_DJANGO[-1]
    if django.VERSION[:2] <= newest:
        return []
    return [
        warning(
            "migrator.W001",
            f"migrator was tested up to Django {'.'.join(map(str, newest))}, and this is Django {django.__version__}.",
            "Look for a newer migrator. Until then, pass --verify full to each move.",
        )
    ]
