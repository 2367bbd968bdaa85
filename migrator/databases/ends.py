"""The two databases of a run: opened for it, told apart, and closed again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.core.exceptions import ImproperlyConfigured
from django.db import Error, NotSupportedError, connections
from django.utils.connection import ConnectionDoesNotExist

from ..conf import Settings
from ..errors import MigratorError, Refused, UsageError
from .engines.base.engine import Engine
from .engines.registry import engine_for


@dataclass(frozen=True)
class Ends:
    """The engines of both sides."""

    source: Engine
    dest: Engine


def open_engine(alias: str, *, must_exist: bool = True) -> Engine:
    """Connect to a database of ``DATABASES``.

    Raises :exc:`UsageError` for an unknown alias or a missing driver, :exc:`Refused` where it does not answer.
    """
    try:
        connection = connections[alias]
    except ConnectionDoesNotExist:
        raise UsageError(
            f"There is no database {alias!r}. DATABASES has {', '.join(repr(name) for name in sorted(connections))}."
        ) from None
    except ImproperlyConfigured as error:
        raise UsageError(f"The driver for {alias!r} is missing: {str(error).splitlines()[0]}") from None
    if connection.in_atomic_block:
        raise UsageError(f"{alias!r} is inside a transaction. A run makes its own, so call it outside of atomic().")
    engine = engine_for(connection)
    engine.check_address(must_exist=must_exist)
    try:
        connection.ensure_connection()
    except NotSupportedError as error:
        raise Refused(
            f"Django refuses {alias!r}: {error} An older release of Django may still read this server; "
            "run the move from there."
        ) from None
    except Error as error:
        raise Refused(f"{alias!r} does not answer: {_without_secrets(str(error), alias)}") from None
    return engine


def _without_secrets(text: str, alias: str) -> str:
    password = connections[alias].settings_dict.get("PASSWORD")
    first = " ".join(text.split())
    return first.replace(str(password), "***") if password else first


@contextlib.contextmanager
def open_ends(source: str, dest: str, settings: Settings) -> Iterator[Ends]:
    """Open both databases, the source read-only and in one snapshot, and close them whatever happens.

    Raises :exc:`UsageError` or :exc:`Refused` where the two cannot be the ends of a move.
    """
    if source == dest:
        raise UsageError(f"--source and --dest are both {source!r}.")
    if dest in settings.PROTECTED:
        raise Refused(f"{dest!r} is in MIGRATOR['PROTECTED'], so it can never be a destination.")
    ends = Ends(open_engine(source), open_engine(dest, must_exist=False))
    try:
        ends.dest.open_destination()
        ends.dest.remember_session()
        _check_distinct(ends)
        ends.source.open_source()
        ends.dest.join(ends.source)
        ends.source.remember_session()
        yield ends
    except Error as error:
        raise explained(error, (ends.dest, ends.source)) from error
    finally:
        for engine in (ends.source, ends.dest):
            with contextlib.suppress(Error):
                engine.close()


@contextlib.contextmanager
def open_for_reading(*aliases: str) -> Iterator[list[Engine]]:
    """Open databases that are only compared, each in a snapshot of its own."""
    engines = [open_engine(alias) for alias in aliases]
    try:
        for engine in engines:
            engine.open_source()
        yield engines
    except Error as error:
        raise explained(error, engines) from error
    finally:
        for engine in engines:
            with contextlib.suppress(Error):
                engine.close()


def _check_distinct(ends: Ends) -> None:
    same_vendor = ends.source.vendor == ends.dest.vendor
    if same_vendor and ends.source.is_same_database(ends.dest):
        raise Refused(
            f"{ends.source.alias!r} and {ends.dest.alias!r} are the same database "
            f"({ends.dest.describe().database!r}). Nothing was written. Correct DATABASES."
        )


def explained(error: Error, engines: Sequence[Engine]) -> MigratorError:
    """Turn a database's error into one line without values."""
    owners = [engine for engine in engines if engine.owns(error)]
    # Django notes on a connection that an error came by it: with two of one driver that tells them apart.
    owners.sort(key=lambda engine: not engine.connection.errors_occurred)
    if not owners:
        return MigratorError(f"A database stopped the run: {type(error).__name__}.")
    fault = owners[0].fault(error, "")
    return MigratorError(f"{owners[0].alias!r} stopped the run: {fault.message} [{fault.code}].")
