"""The two endpoints of a run: source and destination are opened, checked to be different, and closed."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from django.core.exceptions import ImproperlyConfigured
from django.db import Error, NotSupportedError, connections
from django.utils.connection import ConnectionDoesNotExist

from ..conf import DEFAULT_RETRY_FOR, Settings, load
from ..console.passwords import HIDDEN, without_passwords
from ..console.suggestions import did_you_mean
from ..console.wording import plural, shortened
from ..errors import MigratorError, Refused, UsageError
from ..processes.workers import can_fork
from .engines.base.change_feed import ChangeFeed
from .engines.base.engine import Engine
from .engines.base.errors import Severity
from .engines.base.shared_snapshots import Invitation
from .engines.registry import engine_for
from .findings import Finding
from .tables import Table, shown_name

SHOWN_TABLES = 5


@dataclass(frozen=True)
class Endpoints:
    """The engines of source and destination, and what holds for both.

    ``retry_for``: for how many seconds a run retries after a transient error of the destination; ``jobs``: how many
    processes copy; ``fewer_jobs``: why they are fewer than requested; ``is_one_database``: both are schemas of one
    database.
    """

    source: Engine
    dest: Engine
    retry_for: float = DEFAULT_RETRY_FOR
    jobs: int = 1
    fewer_jobs: Finding | None = None
    is_one_database: bool = False
    # Of a run that follows its source: its changes from before its snapshot on, or why they cannot be followed.
    feed: ChangeFeed | None = None
    feed_obstacles: tuple[Finding, ...] = ()

    @property
    def has_source(self) -> bool:
        """Whether the run has a source; if not, the destination is on both sides."""
        return self.source is not self.dest


def open_engine(alias: str, *, must_exist: bool = True) -> Engine:
    """Connect to a database of ``DATABASES``.

    Raises :exc:`UsageError` for an unknown alias or a missing driver, and :exc:`Refused` if the database does not
    answer.
    """
    try:
        connection = connections[alias]
    except ConnectionDoesNotExist:
        known = ", ".join(repr(name) for name in sorted(connections))
        meant = did_you_mean(alias, connections)
        raise UsageError(f"There is no database {alias!r}.{meant} DATABASES has {known}.") from None
    except (ImproperlyConfigured, ImportError) as error:
        raise UsageError(f"The driver for {alias!r} is missing: {str(error).splitlines()[0]}") from None
    if connection.in_atomic_block:
        raise UsageError(f"{alias!r} is inside a transaction. A run opens its own, so call it outside of atomic().")
    engine = engine_for(connection)
    engine.check_address(must_exist=must_exist)
    engine.link_timeout = load().LINK_TIMEOUT
    try:
        engine.connect()
    except NotSupportedError as error:
        raise Refused(
            f"Django rejects {alias!r}: {error} An older release of Django may still support this server; "
            "run the move with that release."
        ) from None
    except Error as error:
        raise Refused(f"Cannot connect to {alias!r}: {without_secrets(str(error), alias)}") from None
    except (TypeError, ValueError) as error:  # the driver rejects the settings
        reason = f"{type(error).__name__}: {without_secrets(str(error), alias)}"
        raise Refused(f"{alias!r} cannot be opened ({reason}). Check its entry in DATABASES.") from None
    return engine


def without_secrets(text: str, alias: str) -> str:
    """Return a driver's message on one line, without the password."""
    password = connections[alias].settings_dict.get("PASSWORD")  # also for an alias that code has added
    first = without_passwords(" ".join(text.split()))
    return first.replace(str(password), HIDDEN) if password else first


@contextlib.contextmanager
def open_endpoints(
    source: str,
    dest: str,
    settings: Settings,
    tables: Sequence[str] = (),
    *,
    jobs: int = 1,
    is_dry: bool = False,
    invite: Callable[[], Invitation | None] | None = None,
    followed: Sequence[Table] = (),
    readings: int = 1,
    check: Callable[[], None] = lambda: None,
) -> Iterator[Endpoints]:
    """Open both databases, the source read-only and with one snapshot of ``tables``; close them in any case.

    Up to ``jobs`` processes can then read the snapshot, and so many others as often as ``readings`` says. With
    ``invite``, workers on other hosts can, too: they join it by its name, or are invited before it begins. A run that
    ``is_dry`` never blocks other sessions for any of that. The changes of the ``followed`` tables are kept from before
    the snapshot on; ``check`` is called while that waits.
    Raises :exc:`UsageError` or :exc:`Refused` if the two cannot be the source and the destination of a run.
    """
    if source == dest:
        raise UsageError(f"--source and --dest are both {source!r}.")
    _refuse_protected(dest, settings)
    endpoints = Endpoints(open_engine(source), open_engine(dest, must_exist=False), settings.RETRY_FOR)
    feed: ChangeFeed | None = None
    try:
        _begin_session(endpoints.dest, tables)
        is_one_database = _check_distinct(endpoints, tables)
        fewer = _why_one_process(endpoints, is_dry=is_dry) if jobs > 1 else None
        obstacles = tuple(endpoints.source.feed_obstacles()) if followed else ()
        if followed and not obstacles and not is_dry:
            feed = _open_feed(endpoints.source, followed, check)
        # With workers on other hosts, the one process of this host is forked as well.
        is_shared = invite is not None and _share(endpoints, invite, is_dry=is_dry)
        readers = jobs * readings if (jobs > 1 or is_shared) and fewer is None else 0
        endpoints.source.open_source(tables, readers=readers)
        endpoints.dest.attach_source(endpoints.source)
        endpoints.source.remember_session()
        possible = max(min(endpoints.source.readers, jobs), 1)
        if possible < jobs and fewer is None:
            fewer = _fewer(endpoints.source, possible, str(endpoints.source.readers_note))
        yield dataclasses.replace(
            endpoints,
            jobs=possible,
            fewer_jobs=fewer,
            is_one_database=is_one_database,
            feed=feed,
            feed_obstacles=obstacles,
        )
    except Error as error:
        raise _error_before_first_row(endpoints, error) from error
    finally:
        if feed is not None:
            feed.close()
        for engine in (endpoints.source, endpoints.dest):
            with contextlib.suppress(Error):
                engine.close()


def _open_feed(source: Engine, followed: Sequence[Table], check: Callable[[], None]) -> ChangeFeed:
    try:
        return source.open_change_feed(followed, check)
    except Refused as error:
        raise Refused(f"{error} Nothing was written.") from error


@contextlib.contextmanager
def open_destination(alias: str, settings: Settings, tables: Sequence[str]) -> Iterator[Engine]:
    """Open a destination without a source, and close it in any case.

    Raises :exc:`UsageError` or :exc:`Refused` if it cannot be a destination.
    """
    _refuse_protected(alias, settings)
    engine = open_engine(alias, must_exist=False)
    try:
        _begin_session(engine, tables)
        yield engine
    except Error as error:
        raise _with_lock_holders(error, [engine]) from error
    finally:
        with contextlib.suppress(Error):
            engine.close()


def _refuse_protected(alias: str, settings: Settings) -> None:
    if alias in settings.PROTECTED:
        raise Refused(f"{alias!r} is in MIGRATOR['PROTECTED'], so it can never be a destination.")


def _begin_session(dest: Engine, tables: Sequence[str]) -> None:
    dest.open_destination()
    dest.remember_session()
    dest.claim(tables)


@contextlib.contextmanager
def open_for_reading(source: str, dest: str, tables: Sequence[str], jobs: int = 1) -> Iterator[Endpoints]:
    """Open two databases to compare them, each read-only and with its own snapshot of ``tables``.

    Up to ``jobs`` processes can then read both snapshots. Raises :exc:`Refused` if they are the same database, which
    equals itself whatever it contains.
    """
    engines = one, other = [open_engine(alias) for alias in (source, dest)]
    other.role = "destination"
    try:
        refuse_common_tables(one, other, tables, ", so a comparison would prove nothing.")
        readers = jobs if jobs > 1 and can_fork() else 0
        for engine in engines:
            engine.open_source(tables, readers=readers)
        possible = max(min(one.readers, other.readers, jobs), 1)
        fewer = _fewer_readers(engines, jobs, possible) if possible < jobs else None
        yield Endpoints(one, other, jobs=possible, fewer_jobs=fewer)
    except Error as error:
        raise to_migrator_error(error, engines) from error
    finally:
        for engine in engines:
            with contextlib.suppress(Error):
                engine.close()


def _fewer_readers(engines: Sequence[Engine], jobs: int, possible: int) -> Finding:
    """Return the finding that fewer processes compare than were asked for."""
    engine = next(engine for engine in engines if engine.readers < jobs)
    reason = engine.readers_note if can_fork() else "this system cannot fork"
    text = f"only {plural(possible, 'process', 'processes')} compared: {reason}"
    return Finding(engine.alias, text, "", stops=False)


def _share(endpoints: Endpoints, invite: Callable[[], Invitation | None], *, is_dry: bool) -> bool:
    """Let workers on other hosts read the snapshot that is about to begin, if they can; return whether they can."""
    features = endpoints.source.features
    if not endpoints.dest.features.supports_parallel_writers:
        return False
    if features.has_named_snapshots:
        return True
    if not features.begins_snapshots_with_others or is_dry:
        return False
    endpoints.source.invitation = invite()
    return True


def _why_one_process(endpoints: Endpoints, *, is_dry: bool) -> Finding | None:
    if not can_fork():
        return _fewer(endpoints.source, 1, "this system cannot fork")
    if not endpoints.dest.features.supports_parallel_writers:
        return _fewer(endpoints.dest, 1, f"{endpoints.dest.display_name} lets only one session write at a time")
    if is_dry and endpoints.source.features.parallel_readers_block_writers:
        text = "only a real run finds out how many processes can read it, because that locks out writers for a moment"
        return Finding(endpoints.source.alias, text, "", stops=False)
    return None


def _fewer(engine: Engine, jobs: int, reason: str) -> Finding:
    return Finding(engine.alias, f"only {plural(jobs, 'process', 'processes')} will copy: {reason}", "", stops=False)


def refuse_common_tables(one: Engine, other: Engine, tables: Sequence[str], consequence: str) -> bool:
    """Whether both engines are connected to one database, in which they see different tables.

    Two schemas of one database may be source and destination: the identity of each table decides, and the schema in
    which a missing table would be created. Raises :exc:`Refused` if both see the same table.
    """
    if one.vendor != other.vendor or not one.is_same_database(other):
        return False
    here, there = (
        {name: seen[name].identity if name in seen else (engine.visibility.new_tables_schema(),) for name in tables}
        for engine in (one, other)
        for seen in [engine.visibility.visible_tables(tables)]
    )
    common = [shown_name(name) for name in tables if here[name] == there[name]]
    if tables and not common:
        return True
    which = "" if len(common) == len(tables) else f", and see the same tables there ({shortened(common, SHOWN_TABLES)})"
    raise Refused(
        f"{one.alias!r} and {other.alias!r} are the same database ({other.describe().database!r}){which}{consequence} "
        "Correct DATABASES."
    )


def _check_distinct(endpoints: Endpoints, tables: Sequence[str]) -> bool:
    """Whether both are schemas of one database; raise :exc:`Refused` if what a run writes would get into the source."""
    source, dest = endpoints.source, endpoints.dest
    is_one_database = refuse_common_tables(source, dest, tables, ". Nothing was written.")
    if source.vendor == dest.vendor and source.follows(dest):
        raise Refused(
            f"{source.alias!r} is a replica of {dest.alias!r}: it also gets what a run writes there, so the run "
            "would overwrite its own source. Nothing was written. Name another destination, or another source."
        )
    return is_one_database


def _error_before_first_row(endpoints: Endpoints, error: Error) -> MigratorError:
    """Explain an error before the first row; after a transient one (lost session, lock), advise to run again."""
    source, dest = endpoints.source, endpoints.dest
    if source.owns(error) and source.has_session() and not source.is_intact():
        fault = source.fault(error, "")
        lost = source.snapshot_lost(f"{fault.message} [{fault.code}]")
        return type(lost)(f"{lost} Run the command again.")
    return _with_lock_holders(error, (dest, source))


def _with_lock_holders(error: Error, engines: Sequence[Engine]) -> MigratorError:
    """Explain an error; after a timeout of a lock, name the sessions that may hold it."""
    explanation = to_migrator_error(error, engines)
    for engine in engines:
        if engine.owns(error) and engine.severity(error) is Severity.RETRY:
            return type(explanation)(f"{explanation}{lock_holders(engine)} Run the command again.")
    return explanation


def lock_holders(engine: Engine) -> str:
    """Name the other sessions that may hold a lock, as a sentence to append to a message; empty if none is known."""
    with contextlib.suppress(Error):
        if engine.is_intact() and (blockers := engine.blockers()):
            return f" Other sessions there that may hold a lock: {'; '.join(blockers)}."
    return ""


def to_migrator_error(error: Error, engines: Sequence[Engine]) -> MigratorError:
    """Return a database's error as ours: one line with the alias, without the values of rows."""
    owners = [engine for engine in engines if engine.owns(error)]
    # Two connections of one driver raise the same classes; Django sets errors_occurred on the one that failed.
    owners.sort(key=lambda engine: not engine.connection.errors_occurred)
    if not owners:
        return MigratorError(f"A database stopped the run: {type(error).__name__}.")
    fault = owners[0].fault(error, "")
    return MigratorError(f"{owners[0].alias!r} stopped the run: {fault.message} [{fault.code}].")
