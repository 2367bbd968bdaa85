"""Shared by all tests: Django set up on the test servers, fresh databases, and the engines as parameters.

Tests really commit. A test with the fixture `alias` or `pair` starts with these databases as right after `migrate`,
whatever the test before it did or broke; other tests call `databases.fresh("mysql_a")`.
"""

import gc
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from importlib import import_module
from typing import Any

import django
import pytest
from django.db import connections
from redis import Redis

from tests.forking import close_templates
from tests.manage import Finished, run_manage, start_manage
from tests.pairs import beyond_a_third, runs_on_all_pairs
from tests.servers.catalogue import SERVERS, has_to_be_alone, servers_of_this_process
from tests.servers.databases import ENGINES, PAIRS, FreshDatabases, Pair, engine_of
from tests.servers.process import PrivateDirectory

# The series of Django that these modules need; on an earlier one they are not collected.
NEEDED_DJANGO = {"scenarios/test_django_6.py": (6, 1)}
collect_ignore = [module for module, series in NEEDED_DJANGO.items() if series > django.VERSION]

_session = ExitStack()
_session.enter_context(servers_of_this_process())
# Commands in processes of their own inherit both, and so find the databases of this session.
_directory = PrivateDirectory("tests", user=None)
_session.callback(_directory.close)
os.environ["MIGRATOR_TEST_DIRECTORY"] = str(_directory.path)
os.environ["DJANGO_SETTINGS_MODULE"] = "settings.test"
# Before collection, because test modules import models.
django.setup()

# It imports commands, which need Django to be set up.
import_module("tests.documents").check_all_documents()

# By marker, the variable that names the server it needs.
NEEDED = {server.marker: server.variable for server in SERVERS}


def pytest_unconfigure() -> None:
    close_templates()
    _session.close()


def pytest_report_header() -> list[str]:
    reached = [f"sqlite {sqlite3.sqlite_version}"]
    for marker, variable in NEEDED.items():
        if os.environ.get(variable):
            reached.append(_ANSWERS[marker]())
        else:
            reached.append(f"no {marker} ({variable} is not set)")
    return [f"django {django.__version__}", f"servers: {', '.join(reached)}"]


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    """Mark each test with the engines in its parameters, before -m selects; keep some in one process.

    Slow tests come first, so that no process is left with one at the end. A test runs on a third of its pairs, unless
    the command line names tests.
    """
    for item in items:
        if isinstance(item, pytest.Function) and hasattr(item, "callspec"):
            for engine in sorted(set(_engines_in(item.callspec.params.values()))):
                item.add_marker(engine)
        if any(has_to_be_alone(marker.name) for marker in item.iter_markers()):
            item.add_marker(pytest.mark.xdist_group("alone"))
    yield
    if not runs_on_all_pairs() and not any("::" in argument for argument in config.args):
        left = set(beyond_a_third(items))
        config.hook.pytest_deselected(items=list(left))
        items[:] = [item for item in items if item not in left]
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_collection_finish() -> None:
    """Leave what stays to the end out of all garbage collections: in a fork, they would copy its memory."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose server is missing, or fail it if all servers are required."""
    for marker in item.iter_markers():
        variable = NEEDED.get(marker.name)
        if variable and not os.environ.get(variable):
            reason = f"no {marker.name} server: {variable} is not set; `make test` starts one"
            if os.environ.get("MIGRATOR_TEST_REQUIRE") == "all":
                pytest.fail(reason, pytrace=False)
            pytest.skip(reason)


@pytest.fixture(scope="session")
def databases() -> Iterator[FreshDatabases]:
    """Return the fresh databases; `default` is created first."""
    databases = FreshDatabases()
    try:
        databases.fresh("default")
        yield databases
    finally:
        connections.close_all()
        databases.drop()


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """Run the test once per engine: `sqlite`, `postgresql`, `mysql`."""
    engine: str = request.param
    return engine


@pytest.fixture
def alias(engine: str, databases: FreshDatabases) -> str:
    """Run the test once per engine, on the alias of a fresh database."""
    alias = f"{engine}_a"
    databases.fresh(alias)
    return alias


@pytest.fixture(params=PAIRS, ids=str)
def pair(request: pytest.FixtureRequest, databases: FreshDatabases) -> Pair:
    """Run the test once per ordered pair of engines, on the aliases of two fresh databases."""
    pair: Pair = request.param
    databases.fresh(*pair)
    return pair


@pytest.fixture
def few_rows_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drop indexes of tables of any size, so that a few rows stand for many."""
    monkeypatch.setattr("migrator.databases.planning.deferred_objects.FEWEST_INDEXED_ROWS", 0)


@pytest.fixture(autouse=True)
def _redis_is_empty(request: pytest.FixtureRequest) -> None:
    """Leave nothing in Redis of the tests before, whose sessions would be found hidden in a cache."""
    if request.node.get_closest_marker("redis") and (address := os.environ.get(NEEDED["redis"])):
        with Redis.from_url(address) as client:
            client.flushall()


@pytest.fixture(autouse=True)
def _no_connection_outlives_its_test() -> Iterator[None]:
    yield
    connections.close_all()
    while _used_pools:
        _used_pools.pop().disconnect(inuse_connections=False)


# The pools of Redis clients that have given a connection to this test. There are hundreds: like caches that Django
# created for other settings, they are never collected.
_used_pools: set[Any] = set()


def _remember_use(pool_class: Any) -> None:
    get_connection = pool_class.get_connection

    def remembered(pool: Any, *args: Any, **options: Any) -> Any:
        _used_pools.add(pool)
        return get_connection(pool, *args, **options)

    pool_class.get_connection = remembered


for _library in ("redis", "valkey"):
    _connection = import_module(f"{_library}.connection")
    for _pool_class in (_connection.ConnectionPool, _connection.BlockingConnectionPool):
        _remember_use(_pool_class)


@pytest.fixture(name="run_manage")
def run_manage_fixture() -> Callable[..., Finished]:
    """Return `run_manage(*args, input=None, env=None)`, which returns the command's code, out and err."""
    return run_manage


@pytest.fixture(name="start_manage")
def start_manage_fixture() -> Callable[..., Any]:
    """Return `start_manage(*args, env=None)`, which returns the running process."""
    return start_manage


def _engines_in(values: Iterable[object]) -> Iterator[str]:
    """Yield the engines among parameters: `mysql`, `mysql_a`, a pair, and lists and tuples of these."""
    for value in values:
        if isinstance(value, str) and value.removesuffix("_a").removesuffix("_b").removesuffix("_files") in ENGINES:
            yield engine_of(value)
        elif isinstance(value, tuple | list):
            yield from _engines_in(value)


def _ask_database(alias: str, question: str) -> str:
    with connections[alias]._nodb_cursor() as cursor:
        cursor.execute(question)
        answer: str = cursor.fetchone()[0]
    return answer


def _postgresql() -> str:
    from django.db.backends.postgresql.psycopg_any import is_psycopg3

    driver = __import__("psycopg" if is_psycopg3 else "psycopg2")
    version = _ask_database("postgresql_a", "SHOW server_version").split()[0]
    return f"postgresql {version} by {driver.__name__} {driver.__version__.split()[0]}"


def _mysql() -> str:
    return f"mysql {_ask_database('mysql_a', 'SELECT VERSION()')}"


def _redis() -> str:
    with Redis.from_url(os.environ["MIGRATOR_TEST_REDIS"]) as client:
        return f"redis {client.info('server')['redis_version']}"


def _memcached() -> str:
    from pymemcache import Client  # type: ignore[import-untyped]

    client = Client(os.environ["MIGRATOR_TEST_MEMCACHED"].removeprefix("memcached://"))
    try:
        return f"memcached {client.version().decode()}"
    finally:
        client.close()


_ANSWERS = {"postgresql": _postgresql, "mysql": _mysql, "redis": _redis, "memcached": _memcached}
