"""PostgreSQL: dates and times outside of Python's range, read as :class:`Unreadable` instead of an error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db.backends.postgresql.psycopg_any import is_psycopg3

from ..base.values import Unreadable

# The types of pg_type: date, time, timestamp, timestamptz.
TIME = 1083
TYPES = (1082, TIME, 1114, 1184)
REASON = "no date or time of Python's calendar"


def reject_24_hours(connection: Any) -> None:
    """Make a driver's connection raise :exc:`ValueError` for the time 24:00, which psycopg2 reads as 00:00."""
    if is_psycopg3:
        return
    from psycopg2.extensions import new_type, register_type, string_types  # type: ignore[import-untyped]

    usual = string_types[TIME]

    def strict(value: Any, cursor: Any) -> Any:
        if value == "24:00:00":
            raise ValueError("hour must be in 0..23")
        return usual(value, cursor)

    register_type(new_type((TIME,), usual.name, strict), connection)


@contextmanager
def reading_all(connection: Any) -> Iterator[None]:
    """Make a driver's connection return :class:`Unreadable` for such values, which are errors otherwise."""
    yield from (_with_loaders if is_psycopg3 else _with_typecasters)(connection)


def _with_loaders(connection: Any) -> Iterator[None]:
    from psycopg import DataError
    from psycopg.adapt import Loader
    from psycopg.pq import Format

    def forgiving(usual: Any) -> type[Loader]:
        class Forgiving(Loader):
            timezone = getattr(usual, "timezone", None)  # Django registers its own loader again if this is another one

            def __init__(self, oid: int, context: Any = None) -> None:
                super().__init__(oid, context)
                self._usual = usual(oid, context)

            def load(self, data: Any) -> Any:
                return _loaded(self._usual.load, data, DataError)

        return Forgiving

    adapters = connection.adapters
    usual = {oid: adapters.get_loader(oid, Format.TEXT) for oid in TYPES}
    for oid, loader in usual.items():
        adapters.register_loader(oid, forgiving(loader))
    try:
        yield
    finally:
        for oid, loader in usual.items():
            adapters.register_loader(oid, loader)


def _loaded(load: Callable[[Any], Any], data: Any, error: type[Exception]) -> Any:
    try:
        return load(data)
    except error:
        return Unreadable(REASON, bytes(data))


def _with_typecasters(connection: Any) -> Iterator[None]:
    from psycopg2.extensions import new_type, register_type, string_types

    usual = {oid: connection.string_types.get(oid) or string_types[oid] for oid in TYPES}

    def forgiving(caster: Any) -> Callable[[Any, Any], Any]:
        def cast(value: Any, cursor: Any) -> Any:
            try:
                return caster(value, cursor)
            except ValueError:
                return Unreadable(REASON, str(value).encode())

        return cast

    for oid, caster in usual.items():
        register_type(new_type((oid,), caster.name, forgiving(caster)), connection)
    try:
        yield
    finally:
        for caster in usual.values():
            register_type(caster, connection)
