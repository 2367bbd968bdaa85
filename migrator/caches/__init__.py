"""Caches: their keys listed, read and written many at a time, with values as they are stored and exact expiry."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    """Give ``migrator.caches.TransitionCache`` to settings without importing it for all others."""
    if name == "TransitionCache":
        return import_module(f"{__name__}.transition").TransitionCache
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
