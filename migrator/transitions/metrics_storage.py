"""Where the counters of a transition are added up: a cache or a small table, and what can be read back from there.

A counter that a cache has lost must never look like one that nothing was counted in.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from django.apps.registry import Apps
from django.core.cache.backends.base import BaseCache
from django.db import DatabaseError, IntegrityError, connections, models
from django.utils.functional import cached_property

from ..clock import elapsed_since, now
from ..stores.ignore_exceptions import heard
from .phases import Phase

EVENTS = ("hit_old", "hit_new", "fallback", "promoted", "miss", "shadow_error", "repaired", "changed", "unreadable")

Sums = Counter[tuple[Phase, str]]
# Tells the present of a server, in microseconds, from the cache or the connection to it; None where nothing tells.
Clock = Callable[[Any], int | None]
# A clock that is less than this away from the server's is taken for right, in microseconds.
CLOSE = 2_000_000


@dataclass(frozen=True)
class Count:
    """How often something was counted, since when, and when last; moments are microseconds of Unix time.

    ``last`` is None where nothing was counted.
    """

    number: int
    since: int
    last: int | None


@dataclass(frozen=True)
class Record:
    """What all workers have counted. A counter that is not in ``counts`` is not known, not nought."""

    counts: Mapping[tuple[Phase, str], Count]
    # Since when no worker was seen in a phase in which OLD decides, None where that is not known.
    new_decides_since: int | None
    # When it was read, by the clock that its moments are told by, and how far that of this host is ahead of it.
    read_at: int = field(default_factory=now, compare=False)
    ahead: int = field(default=0, compare=False)

    def first_seen(self, phase: Phase) -> int | None:
        """Return when a worker was first seen in a phase, None where none was or it is not known."""
        return min((count.since for (of, _), count in self.counts.items() if of is phase), default=None)

    def last_seen(self, phase: Phase) -> int | None:
        """Return when a worker was last seen in a phase, None where none was or it is not known."""
        return max((count.last or count.since for (of, _), count in self.counts.items() if of is phase), default=None)


class Place:
    """What every place can be asked. Each may raise what its cache or database raises."""

    # How many seconds lie between two additions.
    interval = 5.0

    def __init__(self, clock: Clock = lambda server: None) -> None:
        self._clock = clock

    def _ahead(self, server: Any) -> int:
        """Tell how far the clock of this host is ahead of the server's, by which all workers' moments are told.

        By their own, a worker whose clock is minutes behind would look as if it were gone.
        """
        try:
            told = self._clock(server)
        except Exception:  # without the right to ask, or the command
            told = None
        ahead = 0 if told is None else elapsed_since(told)
        return ahead if abs(ahead) >= CLOSE else 0

    def add(self, name: str, sums: Sums) -> None:
        """Add to the counters of a tally; take from ``sums`` what is done, so that the rest can be tried again."""
        raise NotImplementedError

    def read(self, name: str) -> Record:
        """Read the counters of a tally."""
        raise NotImplementedError

    def reset(self, name: str) -> None:
        """Forget the counters of a tally."""
        raise NotImplementedError

    def begin_anew(self) -> None:
        """Give up, in a forked process, what belongs to its parent."""


class CachePlace(Place):
    """Counters in a cache, without time to live.

    ``<counter>`` holds the moment it was begun, ``<counter>.<moment>.number`` and ``….last`` the rest: if the cache
    drops any of them, the counter is not known, and begins at a later moment when it is counted next. Every event of
    a phase begins when the phase is first seen.
    """

    def __init__(self, cache: BaseCache, clock: Clock = lambda server: None) -> None:
        super().__init__(clock)
        self._given = cache
        self._own: Any = None

    def __str__(self) -> str:
        return f"a cache ({type(self._given).__name__})"

    def begin_anew(self) -> None:
        self._own = None

    @property
    def _cache(self) -> Any:
        """The cache with a client of its own: some clients must not be used by two threads."""
        if self._own is None:
            # Counts that a silent cache does not take would be lost.
            self._own = copy.copy(heard(self._given))
            if isinstance(getattr(type(self._own), "_cache", None), cached_property):
                vars(self._own).pop("_cache", None)
        return self._own

    @contextmanager
    def _in_use(self) -> Iterator[None]:
        """Leave no connection open afterwards."""
        try:
            yield
        finally:
            self._cache.close()
            # Django's own close() leaves those of its Redis client open.
            for pool in getattr(vars(self._cache).get("_cache"), "_pools", {}).values():
                pool.disconnect()

    def add(self, name: str, sums: Sums) -> None:
        with self._in_use():
            self._add(name, sums)

    def _add(self, name: str, sums: Sums) -> None:
        moment = now() - self._ahead(self._cache)
        phases = {phase for phase, _ in sums}
        wanted = [(phase, event) for phase in phases for event in EVENTS]
        begun = self._begun(name, dict.fromkeys([*wanted, *sums]))
        if all(phase.new_decides for phase in phases):
            self._cache.add(_decides(name), moment, timeout=None)
        else:
            self._cache.delete(_decides(name))
        for counter in [*wanted, *sums]:
            if counter not in begun:
                begun[counter] = self._begin(name, counter, moment)
        for counter, number in list(sums.items()):
            if not self._increase(_key(name, counter, begun[counter], "number"), number):
                begun[counter] = self._begin(name, counter, moment, anew=True)
                self._increase(_key(name, counter, begun[counter], "number"), number)
            self._cache.set(_key(name, counter, begun[counter], "last"), moment, timeout=None)
            del sums[counter]

    def _begun(self, name: str, counters: Mapping[tuple[Phase, str], Any]) -> dict[tuple[Phase, str], int]:
        found = self._cache.get_many([_key(name, counter) for counter in counters])
        return {counter: found[_key(name, counter)] for counter in counters if _key(name, counter) in found}

    def _begin(self, name: str, counter: tuple[Phase, str], moment: int, *, anew: bool = False) -> int:
        """Begin a counter at nought; return its moment, or that of whoever began it first."""
        self._cache.add(_key(name, counter, moment, "number"), 0, timeout=None)
        if anew:
            self._cache.set(_key(name, counter), moment, timeout=None)
        elif not self._cache.add(_key(name, counter), moment, timeout=None):
            first: int | None = self._cache.get(_key(name, counter))
            return moment if first is None else first
        return moment

    def _increase(self, key: str, number: int) -> bool:
        """Add to a number; tell whether it was there."""
        if type(self._cache).incr is not BaseCache.incr:
            try:
                self._cache.incr(key, number)
                return True
            except ValueError:
                return False
            except NotImplementedError:  # django-redis' HerdClient
                pass
        # Django's own incr() would give the number a time to live.
        value = self._cache.get(key)
        if value is None:
            return False
        self._cache.set(key, value + number, timeout=None)
        return True

    def read(self, name: str) -> Record:
        with self._in_use():
            return self._read(name)

    def _read(self, name: str) -> Record:
        begun = self._begun(name, dict.fromkeys((phase, event) for phase in Phase for event in EVENTS))
        keys = [_key(name, counter, since, what) for counter, since in begun.items() for what in ("number", "last")]
        found = self._cache.get_many([*keys, _decides(name)])
        counts = {}
        for counter, since in begun.items():
            number = found.get(_key(name, counter, since, "number"))
            last = found.get(_key(name, counter, since, "last"))
            if number is not None and (last is not None or not number):
                counts[counter] = Count(number, since, last)
        ahead = self._ahead(self._cache)
        return Record(counts, found.get(_decides(name)), now() - ahead, ahead)

    def reset(self, name: str) -> None:
        with self._in_use():
            self._reset(name)

    def _reset(self, name: str) -> None:
        counters = [(phase, event) for phase in Phase for event in EVENTS]
        begun = self._begun(name, dict.fromkeys(counters))
        keys = [_key(name, counter, since, what) for counter, since in begun.items() for what in ("number", "last")]
        self._cache.delete_many([*keys, *(_key(name, counter) for counter in counters), _decides(name)])


def _key(name: str, counter: tuple[Phase, str], since: int | None = None, what: str = "") -> str:
    head = f"migrator.tally.{name}.{counter[0]}.{counter[1]}"
    return head if since is None else f"{head}.{since}.{what}"


def _decides(name: str) -> str:
    return f"migrator.tally.{name}.new_decides_since"


class MetricsRow(models.Model):
    """One counter in the table."""

    id = models.BigAutoField(primary_key=True)
    name = models.CharField(max_length=100)
    phase = models.CharField(max_length=20)
    event = models.CharField(max_length=40)
    counted = models.BigIntegerField()
    begun_at = models.BigIntegerField()
    last_at = models.BigIntegerField()

    class Meta:
        apps = Apps()
        app_label = "migrator"
        db_table = "migrator_tally"
        constraints = [models.UniqueConstraint(fields=["name", "phase", "event"], name="migrator_tally_counter")]


TABLE = MetricsRow._meta.db_table


class DatabasePlace(Place):
    """Counters in a small table, made when first needed. Each use has a connection of its own, in no transaction."""

    interval = 15.0

    def __init__(self, alias: str, clock: Clock = lambda server: None) -> None:
        super().__init__(clock)
        self._alias = alias

    def __str__(self) -> str:
        return f"the database {self._alias!r}"

    def _connected(self) -> closing[Any]:
        return closing(connections.create_connection(self._alias))

    def add(self, name: str, sums: Sums) -> None:
        with self._connected() as connection:
            moment = now() - self._ahead(connection)
            for counter, number in list(sums.items()):
                try:
                    _add(connection, [name, *counter], number, moment)
                except DatabaseError:
                    if not _has_table(connection):
                        _create_table(connection)
                    # Where there is one, it was made meanwhile, or the error comes again.
                    _add(connection, [name, *counter], number, moment)
                del sums[counter]

    def read(self, name: str) -> Record:
        sql = f"SELECT phase, event, counted, begun_at, last_at FROM {TABLE} WHERE name = %s"
        with self._connected() as connection:
            if not _has_table(connection):
                return Record({}, None)
            with connection.cursor() as cursor:
                cursor.execute(sql, [name])
                rows = cursor.fetchall()
            ahead = self._ahead(connection)
        found = _whole({(Phase(phase), event): Count(*numbers) for phase, event, *numbers in rows})
        return replace(found, read_at=now() - ahead, ahead=ahead)

    def reset(self, name: str) -> None:
        with self._connected() as connection:
            if _has_table(connection):
                _execute(connection, f"DELETE FROM {TABLE} WHERE name = %s", [name])


def _add(connection: Any, counter: list[str], number: int, moment: int) -> None:
    """Add to a row; whoever finds none inserts it, unless another worker just did."""
    update = (
        f"UPDATE {TABLE} SET counted = counted + %s, last_at = %s WHERE name = %s AND phase = %s AND event = %s",
        [number, moment, *counter],
    )
    if _execute(connection, *update):
        return
    try:
        insert = f"INSERT INTO {TABLE} (name, phase, event, counted, begun_at, last_at) VALUES (%s, %s, %s, %s, %s, %s)"
        _execute(connection, insert, [*counter, number, moment, moment])
    except IntegrityError:
        _execute(connection, *update)


def _execute(connection: Any, sql: str, parameters: list[Any]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return int(cursor.rowcount)


def _has_table(connection: Any) -> bool:
    with connection.cursor() as cursor:
        return TABLE in connection.introspection.table_names(cursor)


def _create_table(connection: Any) -> None:
    sql, parameters = connection.schema_editor().table_sql(MetricsRow)
    try:
        _execute(connection, sql, parameters)
    except DatabaseError:
        if not _has_table(connection):  # else another worker was first
            raise


def _whole(counts: dict[tuple[Phase, str], Count]) -> Record:
    """Make a record of rows: a row is never lost, so each event was counted from when its phase was first seen."""
    seen = Record(counts, None)
    whole: dict[tuple[Phase, str], Count] = {}
    for phase in Phase:
        since = seen.first_seen(phase)
        if since is not None:
            whole |= {(phase, event): Count(0, since, None) for event in EVENTS}
            found = {counter: count for counter, count in counts.items() if counter[0] is phase}
            whole |= {counter: Count(count.number, since, count.last) for counter, count in found.items()}
    return Record(whole, _new_decides_since(seen))


def _new_decides_since(seen: Record) -> int | None:
    new, old = ([phase for phase in Phase if phase.new_decides is which] for which in (True, False))
    first = min(filter(None, map(seen.first_seen, new)), default=None)
    last = max(filter(None, map(seen.last_seen, new)), default=0)
    last_of_old = max(filter(None, map(seen.last_seen, old)), default=0)
    return max(first, last_of_old) if first is not None and last > last_of_old else None
