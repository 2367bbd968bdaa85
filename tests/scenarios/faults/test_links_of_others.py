"""A connection that others could read or answer on is noted in the plan, and stops nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.cache import caches
from django.db import connections
from django.test import override_settings

from migrator.caches.copying import copy_cache
from migrator.caches.records import CacheOptions
from migrator.databases.api import batch_migrate
from tests.databases.snapshots import insert_rows
from tests.management.running import another_alias, entry_of
from tests.servers.databases import Pair
from tests.testapp.models import Tag

NOTE = "anyone on the network path can read or change rows: "
# The loopback interface under a name that says nothing of it, as that of a server elsewhere would not.
ELSEWHERE = "127.1"


def notes(source: str, dest: str) -> list[str]:
    plan = batch_migrate(source=source, dest=dest, labels=["testapp.Tag"], dry_run=True).plan
    assert not plan.stopping
    return [finding.text.removeprefix(NOTE) for finding in plan.findings if finding.text.startswith(NOTE)]


@contextmanager
def reached(alias: str, host: str, **options: Any) -> Iterator[str]:
    entry = entry_of(alias)
    changed = {**entry, "HOST": host, "OPTIONS": {**entry["OPTIONS"], **options}}
    with another_alias("far", **changed) as name:
        yield name
        connections.close_all()


@pytest.mark.parametrize(
    ("pair", "reason"),
    [
        (Pair("postgresql_a", "sqlite_b"), "sslmode is 'prefer'"),
        (Pair("mysql_a", "sqlite_b"), "ssl_mode is not set"),
    ],
    ids=str,
    indirect=["pair"],
)
def test_a_link_that_others_can_read_is_told_of(pair: Pair, reason: str) -> None:
    insert_rows(Tag, pair.source, [{"name": "one"}])
    assert notes(*pair) == []
    with reached(pair.source, ELSEWHERE) as far:
        assert notes(far, pair.dest) == [reason]


@pytest.mark.postgresql
def test_the_parameters_that_are_in_force_decide(databases: Any) -> None:
    """However the settings name the host: libpq takes parts of its answer from elsewhere."""
    databases.fresh("postgresql_a", "sqlite_b")
    address = entry_of("postgresql_a")["HOST"]
    with reached("postgresql_a", "db.example.org", hostaddr=address, sslmode="allow") as far:
        assert notes(far, "sqlite_b") == ["sslmode is 'allow'"]


@pytest.mark.redis
@pytest.mark.parametrize(("host", "is_told"), [(ELSEWHERE, True), ("127.0.0.1", False), ("localhost", False)])
def test_a_link_to_a_cache_is_told_of(databases: Any, host: str, is_told: bool) -> None:
    entry = caches.settings["redis_a"]
    far = {**entry, "LOCATION": entry["LOCATION"].replace("127.0.0.1", host)}
    with override_settings(CACHES={**caches.settings, "far": far}):
        plan = copy_cache(source="far", dest="redis_b", options=CacheOptions(dry_run=True)).plan
    assert any("on the way to 'far'" in note for note in plan.notes) == is_told
