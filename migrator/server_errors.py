"""Errors of the servers in which sessions and caches live, told in one line that holds no key and no value."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import Error, InterfaceError, OperationalError

from .console.passwords import without_passwords
from .errors import MigratorError

CLIENTS = ("redis", "valkey", "pymemcache", "pylibmc", "django_redis", "django_valkey")


def words_of(error: Exception) -> str:
    """Tell an error by its class, and by its first line unless that may quote a row or a key."""
    name, lines = type(error).__name__, str(error).splitlines()
    quotes_rows = isinstance(error, Error) and not isinstance(error, OperationalError | InterfaceError)
    quotes_key = name in ("MemcacheIllegalInputError", "MemcacheClientError")
    return name if quotes_rows or quotes_key or not lines else f"{name}: {without_passwords(lines[0])}"


def is_outage(error: Exception) -> bool:
    """Whether an error is one of a server or of the way to it, and not of what was read there."""
    is_of_client = type(error).__module__.partition(".")[0] in CLIENTS and type(error).__name__ != "CompressorError"
    return is_of_client or isinstance(error, Error | OSError)


@contextmanager
def telling_of_outages() -> Iterator[None]:
    """Turn the error of a server or of the way to it into :exc:`MigratorError`; mistakes of ours stay what they are."""
    try:
        yield
    except MigratorError:
        raise
    except Exception as error:
        if not is_outage(error):
            raise
        raise MigratorError(
            f"A server stopped the work ({words_of(error).rstrip('.')}). What was written stays; run the same command "
            "again when that is mended."
        ) from error
