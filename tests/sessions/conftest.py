"""The site's settings, users, and databases with session tables."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.sessions.backends.file import SessionStore as FileEngine
from django.core.cache import caches
from django.test import Client, override_settings

from tests.servers.databases import FreshDatabases
from tests.sessions import settings as site_settings
from tests.sessions.places import Place, empty_cache_tables

_numbers = itertools.count()
NAMES = (
    "CACHES",
    "ROOT_URLCONF",
    "DATABASE_ROUTERS",
    "SESSIONS_DB",
    "ALLOWED_HOSTS",
)


@pytest.fixture(scope="session")
def _session_tables(databases: FreshDatabases) -> set[str]:
    return set()


@pytest.fixture(autouse=True)
def _site(databases: FreshDatabases, tmp_path: Path) -> Iterator[None]:
    """Put the site's settings on; each test has files of its own, and empty cache tables."""
    given = {name: getattr(site_settings, name) for name in NAMES}
    given["SESSION_FILE_PATH"] = str(tmp_path)
    given["CACHES"] = {**given["CACHES"], "files": {**given["CACHES"]["files"], "LOCATION": str(tmp_path / "cache")}}
    with override_settings(**given):
        if hasattr(FileEngine, "_storage_path"):
            del FileEngine._storage_path  # it remembers the last one
        empty_cache_tables()
        yield
        caches.close_all()


@pytest.fixture
def user(databases: FreshDatabases) -> Any:
    """Give a user nobody else uses."""
    return get_user_model().objects.create_user(f"user{next(_numbers)}", password="secret")


@pytest.fixture
def ready(databases: FreshDatabases) -> Callable[..., None]:
    """Give a function that empties places, and makes their tables."""
    made: set[str] = set()

    def prepare(*places: Place) -> None:
        for place in places:
            if place.kind == "db" and place.alias not in made:
                databases.fresh(place.alias)
                made.add(place.alias)
            place.clear()

    return prepare


@pytest.fixture
def client() -> Client:
    return Client()
