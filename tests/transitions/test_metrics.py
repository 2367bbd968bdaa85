"""Counters add up over all workers, survive rollbacks, forks and outages, and never look smaller than they are."""

import copy
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.core.cache.backends.redis import RedisCache
from django.core.management import call_command
from django.db import connections, transaction
from django.test import override_settings
from django.utils.module_loading import import_string

from migrator.transitions.cache_metrics import CacheMetricsStorage
from migrator.transitions.database_metrics import DatabaseMetricsStorage
from migrator.transitions.metrics import Metrics, metrics_for_cache, metrics_for_database
from migrator.transitions.metrics_storage import EVENTS, MetricsStorage, Record, Sums
from migrator.transitions.phases import Phase
from settings.base import ROOT
from tests.servers.databases import FreshDatabases

OLD, DUAL_OLD, DUAL_NEW, NEW = Phase
BACKENDS = "django.core.cache.backends"
ROWS = [
    pytest.param(f"{engine}_a", id=engine, marks=getattr(pytest.mark, engine))
    for engine in ("postgresql", "mysql", "sqlite")
]
CACHES = [
    pytest.param("default", id="locmem"),
    pytest.param("redis_a", id="redis", marks=pytest.mark.redis),
    pytest.param("herd", id="herd", marks=pytest.mark.redis),
    pytest.param("memcached", id="memcached", marks=pytest.mark.memcached),
    pytest.param("table", id="table"),
    pytest.param("files", id="files"),
]


@pytest.fixture(autouse=True)
def _caches(tmp_path: Path, databases: FreshDatabases) -> Iterator[None]:
    given = {
        **caches.settings,
        "table": {"BACKEND": f"{BACKENDS}.db.DatabaseCache", "LOCATION": "cache_of_tallies"},
        "files": {"BACKEND": f"{BACKENDS}.filebased.FileBasedCache", "LOCATION": str(tmp_path / "cache")},
    }
    if "redis_a" in given:
        client = {"CLIENT_CLASS": "django_redis.client.HerdClient"}
        given["herd"] = {**given["redis_a"], "BACKEND": "django_redis.cache.RedisCache", "OPTIONS": client}
    with override_settings(CACHES=given):
        call_command("createcachetable", verbosity=0)
        yield
        caches.close_all()


@pytest.fixture(autouse=True)
def _nothing_is_added_after_its_test(databases: FreshDatabases) -> Iterator[None]:
    """A thread that tries again half a minute later would meet the database of another test."""
    made: list[Metrics] = []
    begin = Metrics._start_empty

    def begin_remembered(tally: Metrics) -> None:
        made.append(tally)
        begin(tally)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Metrics, "_start_empty", begin_remembered)
        yield
    for tally in made:
        tally.forget()


@pytest.fixture(params=[*CACHES, *ROWS])
def place(request: pytest.FixtureRequest, databases: FreshDatabases) -> MetricsStorage:
    """Run the test once for each place, which is empty."""
    alias: str = request.param
    if alias in caches.settings:
        caches[alias].clear()
        return CacheMetricsStorage(caches[alias])
    databases.fresh(alias)
    return DatabaseMetricsStorage(alias)


@pytest.fixture(params=ROWS)
def rows(request: pytest.FixtureRequest, databases: FreshDatabases) -> str:
    """Run the test once for each database, in which the table has still to be made."""
    alias: str = request.param
    databases.fresh(alias)
    return alias


@pytest.fixture(params=CACHES)
def cache(request: pytest.FixtureRequest) -> Any:
    """Run the test once for each cache, which is empty."""
    caches[request.param].clear()
    return caches[request.param]


def numbers(record: Record) -> dict[tuple[Phase, str], int]:
    return {counter: count.number for counter, count in record.counts.items() if count.number}


def of_another_process(place: MetricsStorage) -> MetricsStorage:
    """Give the same place with a client of its own."""
    other = copy.copy(place)
    other.reset_after_fork()
    return other


def seen(place: MetricsStorage, *phases: Phase) -> None:
    """Have workers seen in these phases, one after the other."""
    for phase in phases:
        place.add("site", Sums({(phase, "miss"): 1}))


# -- what every place does --------------------------------------------------------------------------------------------


def test_counts_of_all_workers_add_up(place: MetricsStorage) -> None:
    one, other = Metrics("site", place), Metrics("site", of_another_process(place))
    one.count("hit_old", phase=DUAL_OLD)
    one.count("hit_old", 4, phase=DUAL_OLD)
    one.flush()
    other.count("hit_old", phase=DUAL_OLD)
    other.count("fallback", phase=DUAL_NEW)
    other.flush()
    one.count("hit_old", 10, phase=DUAL_OLD)
    one.flush()

    assert numbers(one.read()) == {(DUAL_OLD, "hit_old"): 16, (DUAL_NEW, "fallback"): 1}


def test_adds_by_itself_after_a_while(place: MetricsStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place, "interval", 0.05)
    added = _Awaited(place)
    tally = Metrics("site", added)
    for _ in range(3):
        tally.count("miss", phase=OLD)
        added.wait()

    assert numbers(place.read("site")) == {(OLD, "miss"): 3}


class _Awaited(MetricsStorage):
    """A place that tells when something was added."""

    def __init__(self, place: MetricsStorage) -> None:
        self._place, self._added = place, threading.Semaphore(0)
        self.interval = place.interval

    def add(self, name: str, sums: Sums) -> None:
        self._place.add(name, sums)
        self._added.release()

    def wait(self) -> None:
        assert self._added.acquire(timeout=60)


def test_a_phase_that_was_seen_has_all_its_counters_from_then_on(place: MetricsStorage) -> None:
    seen(place, DUAL_NEW)

    record = place.read("site")

    assert {counter for counter in record.counts if counter[0] is DUAL_NEW} == {(DUAL_NEW, event) for event in EVENTS}
    nought, once = record.counts[DUAL_NEW, "fallback"], record.counts[DUAL_NEW, "miss"]
    assert (nought.number, nought.last, nought.since) == (0, None, once.since)
    assert (once.number, once.last) == (1, once.since)
    assert record.first_seen(DUAL_OLD) is None


def test_tells_when_a_phase_was_first_and_last_seen(place: MetricsStorage) -> None:
    seen(place, OLD)
    first = place.read("site").first_seen(OLD)
    seen(place, DUAL_OLD, OLD)

    record = place.read("site")

    assert first is not None
    assert record.first_seen(OLD) == first
    assert first < record.first_seen(DUAL_OLD) < record.last_seen(OLD)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("phases", "decides_since"),
    [
        ((), None),
        ((OLD, DUAL_OLD), None),
        ((DUAL_OLD, DUAL_NEW, NEW), "dual_new"),
        ((NEW, DUAL_NEW, DUAL_OLD), None),
        ((DUAL_NEW, DUAL_OLD, NEW), "later"),
    ],
    ids=["unknown", "before", "forward", "back", "to and fro"],
)
def test_tells_since_when_no_worker_let_old_decide(
    place: MetricsStorage, phases: tuple[Phase, ...], decides_since: str | None
) -> None:
    seen(place, *phases)

    record = place.read("site")

    if decides_since == "dual_new":
        assert record.new_decides_since == record.first_seen(DUAL_NEW)
    elif decides_since == "later":
        assert record.new_decides_since >= record.last_seen(DUAL_OLD)  # type: ignore[operator]
    else:
        assert record.new_decides_since is None


def test_tallies_of_other_names_are_apart(place: MetricsStorage) -> None:
    seen(place, OLD)

    assert place.read("other") == Record({}, None)
    place.reset("other")
    assert numbers(place.read("site")) == {(OLD, "miss"): 1}


def test_counts_from_nought_after_a_reset(place: MetricsStorage) -> None:
    tally = Metrics("site", place)
    seen(place, DUAL_NEW, NEW)
    tally.reset()
    assert tally.read() == Record({}, None)

    tally.count("fallback", 2, phase=DUAL_NEW)
    tally.flush()

    assert numbers(tally.read()) == {(DUAL_NEW, "fallback"): 2}


def test_resets_what_was_never_counted(place: MetricsStorage) -> None:
    place.reset("site")

    assert place.read("site") == Record({}, None)


def test_workers_that_add_at_once_lose_nothing(place: MetricsStorage) -> None:
    if isinstance(place, CacheMetricsStorage) and type(place._cache).__name__ in ("DatabaseCache", "FileBasedCache"):
        pytest.skip("this cache has no atomic increment")
    if "herd" in caches.settings and isinstance(place, CacheMetricsStorage) and place._given is caches["herd"]:
        pytest.skip("this client has no atomic increment")
    barrier, errors = threading.Barrier(4), []

    def add() -> None:
        try:
            own = of_another_process(place)
            barrier.wait()
            for _ in range(5):
                own.add("site", Sums({(DUAL_OLD, "hit_old"): 1, (DUAL_OLD, "miss"): 2}))
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    assert numbers(place.read("site")) == {(DUAL_OLD, "hit_old"): 20, (DUAL_OLD, "miss"): 40}


# -- caches forget ----------------------------------------------------------------------------------------------------


def _counter_keys(cache: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Note what time to live every key is given from now on."""
    given: dict[str, Any] = {}
    for name in ("set", "add"):
        real = getattr(type(cache), name)

        def note(
            self: Any, key: str, value: Any, timeout: Any = "default", *args: Any, real: Any = real, **kw: Any
        ) -> Any:
            given[key] = timeout
            return real(self, key, value, timeout, *args, **kw)

        monkeypatch.setattr(type(cache), name, note)
    return given


def test_nothing_has_a_time_to_live(cache: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    given = _counter_keys(cache, monkeypatch)
    seen(CacheMetricsStorage(cache), DUAL_OLD, DUAL_OLD, DUAL_NEW, NEW, NEW)

    assert len(given) > 3 * len(EVENTS)
    assert set(given.values()) == {None}


@pytest.mark.redis
def test_redis_keeps_the_counters_for_good() -> None:
    cache: Any = caches["redis_a"]
    cache.clear()
    seen(CacheMetricsStorage(cache), DUAL_NEW, DUAL_NEW)
    client = cache.client.get_client(write=True)

    assert {client.ttl(key) for key in client.scan_iter("*migrator.tally*")} == {-1}


@pytest.mark.parametrize("what", ["", "number", "last"])
def test_a_counter_that_was_lost_in_part_is_not_known(cache: Any, what: str) -> None:
    place = CacheMetricsStorage(cache)
    seen(place, DUAL_NEW, DUAL_NEW)
    since = place.read("site").counts[DUAL_NEW, "miss"].since
    cache.delete("migrator.tally.site.dual_new.miss" + (f".{since}.{what}" if what else ""))

    assert (DUAL_NEW, "miss") not in place.read("site").counts


def test_a_lost_counter_begins_at_a_later_moment(cache: Any) -> None:
    place = CacheMetricsStorage(cache)
    seen(place, DUAL_NEW, DUAL_NEW)
    before = place.read("site").counts[DUAL_NEW, "miss"]
    cache.delete(f"migrator.tally.site.dual_new.miss.{before.since}.number")
    seen(place, DUAL_NEW)

    after = place.read("site").counts[DUAL_NEW, "miss"]

    assert after.number == 1
    assert after.since > before.since


def test_an_emptied_cache_knows_nothing(cache: Any) -> None:
    place = CacheMetricsStorage(cache)
    seen(place, DUAL_NEW, NEW)
    cache.clear()
    assert place.read("site") == Record({}, None)


def test_the_cache_is_asked_by_a_client_of_its_own() -> None:
    """Some clients must not be used by two threads."""
    given = RedisCache("redis://127.0.0.1:1", {})
    own = CacheMetricsStorage(given)._cache

    assert own is not given
    assert own._cache is not given._cache


@pytest.mark.parametrize("backend", ["django_redis.cache.RedisCache", "django_valkey.cache.ValkeyCache"])
def test_a_cache_that_hides_its_failures_costs_no_count(backend: str) -> None:
    given = import_string(backend)("redis://127.0.0.1:1", {"OPTIONS": {"IGNORE_EXCEPTIONS": True}})
    sums = Sums({(OLD, "miss"): 1})

    with pytest.raises(Exception, match="refused"):
        CacheMetricsStorage(given).add("site", sums)

    assert sums == {(OLD, "miss"): 1}
    assert given.get("anything") is None


@pytest.mark.redis
def test_no_connection_to_redis_stays_open() -> None:
    cache = RedisCache(os.environ["MIGRATOR_TEST_REDIS"] + "1", {})
    place = CacheMetricsStorage(cache)
    seen(place, OLD)
    place.read("site")
    place.reset("site")

    pools = vars(place._cache)["_cache"]._pools.values()
    assert [connection._sock for pool in pools for connection in pool._available_connections] == [None]


# -- tables, transactions ---------------------------------------------------------------------------------------------


def test_a_rollback_of_the_caller_takes_no_count_back(rows: str) -> None:
    if rows == "sqlite_a":
        pytest.skip("two connections cannot write at once")
    tally = Metrics("site", DatabaseMetricsStorage(rows))
    with transaction.atomic(using=rows):
        with connections[rows].cursor() as cursor:
            cursor.execute("DELETE FROM django_session")
        tally.count("miss", phase=NEW)
        tally.flush()
        transaction.set_rollback(True, using=rows)

    assert numbers(tally.read()) == {(NEW, "miss"): 1}


def test_a_table_that_cannot_be_made_does_not_break_the_callers_transaction(
    rows: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(
        "migrator.transitions.database_metrics._create_table", lambda connection: connection.cursor().execute("SELEC")
    )
    tally = Metrics("site", DatabaseMetricsStorage(rows))
    with transaction.atomic(using=rows), connections[rows].cursor() as cursor:
        tally.count("miss", phase=NEW)
        tally.flush()
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)

    assert len(caplog.records) == 1


def test_no_connection_stays_open(rows: str) -> None:
    before = connections[rows].connection
    place = DatabaseMetricsStorage(rows)
    seen(place, OLD)
    place.read("site")
    place.reset("site")

    assert connections[rows].connection is before


def test_reading_makes_no_table(rows: str) -> None:
    place = DatabaseMetricsStorage(rows)
    place.read("site")
    place.reset("site")

    with connections[rows].cursor() as cursor:
        assert "migrator_tally" not in connections[rows].introspection.table_names(cursor)


# -- outages, forks, the end ------------------------------------------------------------------------------------------


class _Broken(MetricsStorage):
    """A storage that fails a given number of times."""

    def __init__(self, place: MetricsStorage, failures: int) -> None:
        self._place, self.failures = place, failures

    def __str__(self) -> str:
        return "a broken place"

    def add(self, name: str, sums: Sums) -> None:
        if self.failures:
            self.failures -= 1
            raise ConnectionError("the password is canary-s3cret")
        self._place.add(name, sums)


def test_an_outage_is_logged_once_and_costs_no_count(caplog: pytest.LogCaptureFixture) -> None:
    caches["default"].clear()
    place = CacheMetricsStorage(caches["default"])
    tally = Metrics("site", _Broken(place, failures=3))
    for _ in range(4):
        tally.count("shadow_error", 2, phase=DUAL_OLD)
        tally.flush()

    assert numbers(place.read("site")) == {(DUAL_OLD, "shadow_error"): 8}
    logged = [(record.name, record.levelno, record.getMessage()) for record in caplog.records]
    message = "The counts of site could not be stored in a broken place (builtins.ConnectionError)."
    assert logged == [("migrator.tally", logging.WARNING, message)]


def test_a_second_outage_is_logged_again(caplog: pytest.LogCaptureFixture) -> None:
    broken = _Broken(CacheMetricsStorage(caches["default"]), failures=1)
    tally = Metrics("site", broken)
    for failures in (1, 0, 1):
        broken.failures = failures
        tally.count("miss", phase=DUAL_OLD)
        tally.flush()

    assert len(caplog.records) == 2


def test_counting_goes_on_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    caches["default"].clear()
    tally = Metrics("site", CacheMetricsStorage(caches["default"]))
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        tally.count("miss", phase=OLD)
        tally.count("miss", phase=OLD)
    tally.flush()

    assert numbers(tally.read()) == {(OLD, "miss"): 2}


def test_a_forked_worker_adds_its_own_counts_alone(rows: str) -> None:
    place = DatabaseMetricsStorage(rows)
    place.interval = 1000.0
    tally = metrics_for_database("forked", rows)
    tally.storage = place
    tally.flush()
    tally.count("miss", 100, phase=OLD)
    connections.close_all()
    child = os.fork()
    if child == 0:
        try:
            tally.count("miss", phase=OLD)
            tally.flush()
        finally:
            os._exit(0)
    os.waitpid(child, 0)

    assert numbers(place.read("forked")) == {(OLD, "miss"): 1}
    tally.flush()
    assert numbers(place.read("forked")) == {(OLD, "miss"): 101}


COUNTING = """
import django
django.setup()
from migrator.transitions.phases import Phase
from migrator.transitions.metrics import metrics_for_database
tally = metrics_for_database("ended", "{alias}")
tally.count("miss", phase=Phase.OLD)
tally.count("miss", phase=Phase.OLD)
"""


def test_what_was_counted_last_is_added_at_the_end_of_the_process(rows: str) -> None:
    subprocess.run([sys.executable, "-c", COUNTING.format(alias=rows)], cwd=ROOT, check=True)

    assert numbers(DatabaseMetricsStorage(rows).read("ended")) == {(OLD, "miss"): 2}


# -- one for each name ------------------------------------------------------------------------------------------------


def test_there_is_one_tally_of_a_name() -> None:
    tally = metrics_for_cache("site", caches["default"])

    assert metrics_for_cache("site", caches["default"]) is tally
    assert metrics_for_cache("other", caches["default"]) is not tally


def test_other_settings_make_another_tally() -> None:
    tally = metrics_for_cache("site", caches["default"])
    with override_settings(CACHES={"default": {"BACKEND": f"{BACKENDS}.locmem.LocMemCache", "LOCATION": "other"}}):
        other = metrics_for_cache("site", caches["default"])

        assert other is not tally


def test_other_settings_come_after_an_addition_that_is_on_its_way() -> None:
    begun, ended = threading.Event(), threading.Event()

    class Slow(MetricsStorage):
        def add(self, name: str, sums: Sums) -> None:
            begun.set()
            time.sleep(0.2)
            sums.clear()
            ended.set()

    tally = metrics_for_cache("site", caches["default"])
    tally.storage = Slow()
    tally.count("miss", phase=OLD)
    assert begun.wait(10)

    with override_settings(MIGRATOR={}):
        assert ended.is_set()
