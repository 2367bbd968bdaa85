"""The drivers and clients that a command has used, for reports."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any, cast

from django.db import connections

CACHE_CLIENTS = ("django_redis", "redis", "django_valkey", "valkey", "pymemcache", "pylibmc")


def driver_versions() -> dict[str, str]:
    """Return the versions of what this process has loaded to reach databases and caches, by name."""
    versions = {module.__name__: _version(module) for module in _modules()}
    return {name: version for name, version in versions.items() if version}


def _version(module: ModuleType) -> str:
    """Return a module's version as it gives it: as a text, perhaps with remarks, or as a tuple."""
    if hasattr(module, "__version__"):
        return str(module.__version__).partition(" ")[0]
    return ".".join(map(str, getattr(module, "version_info", ())[:3]))


def _modules() -> Iterator[ModuleType]:
    """Yield modules with versions of their own; what Python brings has Python's."""
    for connection in connections.all(initialized_only=True):
        package = cast(Any, connection).Database.__name__.partition(".")[0]
        if package not in sys.stdlib_module_names:
            yield sys.modules[package]
    yield from (sys.modules[name] for name in CACHE_CLIENTS if name in sys.modules)
