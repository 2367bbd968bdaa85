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
    versions = ((module.__name__, str(getattr(module, "__version__", "")).split()) for module in _modules())
    return {name: version[0] for name, version in versions if version}


def _modules() -> Iterator[ModuleType]:
    """Yield modules with versions of their own; what Python brings has Python's."""
    for connection in connections.all(initialized_only=True):
        package = cast(Any, connection).Database.__name__.partition(".")[0]
        if package not in sys.stdlib_module_names:
            yield sys.modules[package]
    yield from (sys.modules[name] for name in CACHE_CLIENTS if name in sys.modules)
