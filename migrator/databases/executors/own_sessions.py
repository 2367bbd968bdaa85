"""Sessions of a worker that end when they are closed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from django.db import Error, connections
from django.utils.connection import ConnectionDoesNotExist

from ...processes.workers import leave_pool
from ..endpoints import open_engine
from ..engines.base.engine import Engine


def open_own(alias: str) -> Engine:
    """Connect to a database, outside of Django's pool: that would keep the session, with its locks."""
    with suppress(ConnectionDoesNotExist):
        leave_pool(connections[alias])
    return open_engine(alias)


def close_all(engines: Sequence[Engine]) -> None:
    """Close connections, whatever their state."""
    for engine in engines:
        with suppress(Error):
            engine.close()
