"""Settings of the tests: two databases of each engine for which the environment names a server.

MIGRATOR_TEST_POSTGRESQL, MIGRATOR_TEST_MYSQL, MIGRATOR_TEST_REDIS and MIGRATOR_TEST_MEMCACHED are addresses of servers
(`python -m tests.servers` starts them and sets these); without one, its aliases do not exist. MIGRATOR_TEST_PSYCOPG is
the version of the PostgreSQL driver, 2 or 3 (default). The test session creates MIGRATOR_TEST_DIRECTORY for the SQLite
files. Its name is part of every database's name: that keeps parallel sessions apart, and lets commands in other
processes find the same databases.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from settings.base import *  # noqa: F403
from settings.base import INSTALLED_APPS as BASE_APPS
from settings.base import cache_from_url, database_from_url

match os.environ.get("MIGRATOR_TEST_PSYCOPG", "3"):
    case "3":
        pass
    case "2":
        # Django prefers psycopg 3 if it can be imported; None makes its import fail ("The module cache" in Python's
        # language reference).
        sys.modules["psycopg"] = None  # type: ignore[assignment]
    case other:
        raise ValueError(f"MIGRATOR_TEST_PSYCOPG is {other!r}; it must be '2' or '3'.")

RUN_DIRECTORY = Path(os.environ.get("MIGRATOR_TEST_DIRECTORY", f"{tempfile.gettempdir()}/migrator-tests-manual"))
# The random part of that name.
RUN = RUN_DIRECTORY.name.rpartition("-")[2]


def _server_database(variable: str, letter: str) -> dict[str, Any]:
    return database_from_url(os.environ[variable]) | {"NAME": f"migrator_test_{RUN}_{letter}"}


def _sqlite_database(name: str) -> dict[str, Any]:
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(RUN_DIRECTORY / f"{name}.sqlite3")}


DATABASES = {name: _sqlite_database(name) for name in ("default", "sqlite_a", "sqlite_b")}
for engine in ("postgresql", "mysql"):
    if os.environ.get(f"MIGRATOR_TEST_{engine.upper()}"):
        for letter in "ab":
            DATABASES[f"{engine}_{letter}"] = _server_database(f"MIGRATOR_TEST_{engine.upper()}", letter)
if "mysql_a" in DATABASES:
    # Rows are loaded there with LOAD DATA instead of INSERT.
    _files = _server_database("MIGRATOR_TEST_MYSQL", "files")
    DATABASES["mysql_files"] = _files | {"OPTIONS": _files["OPTIONS"] | {"local_infile": True}}

CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
if address := os.environ.get("MIGRATOR_TEST_REDIS"):
    for number, letter in enumerate("ab", start=1):
        CACHES[f"redis_{letter}"] = cache_from_url(f"{address.rstrip('/')}/{number}")
if address := os.environ.get("MIGRATOR_TEST_MEMCACHED"):
    CACHES["memcached"] = cache_from_url(address)

TEST_APPS = ["tests.testapp"]
INSTALLED_APPS = [*BASE_APPS, *TEST_APPS]
SECRET_KEY = "only for tests"  # noqa: S105
# The default hasher takes a tenth of a second for each user.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
if executors := os.environ.get("MIGRATOR_TEST_EXECUTOR"):
    MIGRATOR = {"EXECUTORS": json.loads(executors)}
