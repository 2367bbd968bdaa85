"""Errors of the servers that hold sessions and caches, summarized in one line without keys and values."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import Error, InterfaceError, OperationalError

from .console.passwords import without_passwords
from .errors import MigratorError

CLIENTS = ("redis", "valkey", "pymemcache", "pylibmc", "django_redis", "django_valkey")


def error_summary(error: Exception) -> str:
    """Return an error's class, with the first line of its message unless that may quote a row or a key."""
    name, lines = type(error).__name__, str(error).splitlines()
    quotes_rows = isinstance(error, Error) and not isinstance(error, OperationalError | InterfaceError)
    quotes_key = name in ("MemcacheIllegalInputError", "MemcacheClientError")
    return name if quotes_rows or quotes_key or not lines else f"{name}: {without_passwords(lines[0])}"


def is_outage(error: Exception) -> bool:
    """Whether an error is one of a server or of the connection to it, and not of what was read there."""
    is_of_client = type(error).__module__.partition(".")[0] in CLIENTS and type(error).__name__ != "CompressorError"
    return is_of_client or isinstance(error, Error | OSError)


@contextmanager
def reporting_outages() -> Iterator[None]:
    """Turn an error of a server or of the connection to it into :exc:`MigratorError`; leave others as they are."""
    try:
        yield
    except MigratorError:
        raise
    except Exception as error:
        if not is_outage(error):
            raise
        raise MigratorError(
            f"A server stopped the work ({error_summary(error).rstrip('.')}). What was written stays; run the same "
            "command again when the server works."
        ) from error
