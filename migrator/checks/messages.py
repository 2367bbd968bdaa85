"""System check messages, each with its id, what was found, and a hint."""

from __future__ import annotations

from django.core.checks import CheckMessage, Error, Warning


def error(id: str, found: str, hint: str | None = None) -> CheckMessage:
    """Return an error, which stops every management command."""
    return Error(found, hint=hint, id=id)


def warning(id: str, found: str, hint: str) -> CheckMessage:
    """Return a warning, which stops nothing."""
    return Warning(found, hint=hint, id=id)
