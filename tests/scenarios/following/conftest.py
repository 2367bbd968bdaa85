"""A PostgreSQL server that tests of this package may configure, restart and crash."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from django.core.management import call_command
from django.db import connections

from settings.base import database_from_url
from tests.management.running import another_alias
from tests.scenarios.following.scripted import PRIVATE, execute
from tests.servers.base import DATABASE_PREFIX, USER
from tests.servers.databases import FreshDatabases, Pair
from tests.servers.postgresql import PostgreSQL
from tests.servers.process import run


class PrivatePostgreSQL(PostgreSQL):
    """Its user is a superuser; ``options`` are for the next start."""

    options: Sequence[str] = ()

    def prepare(self) -> None:
        super().prepare()
        single_user: list[str | Path] = [self.program, "--single", "-D", "data", "postgres"]
        run(single_user, self.directory, self.user, stdin=f"ALTER ROLE {USER} SUPERUSER")

    def command(self) -> list[str | Path]:
        # Its transactions would be waited for.
        return [*super().command(), "-c", "autovacuum=off", *self.options]


@pytest.fixture(autouse=True)
def _wait_for_other_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests in other processes have long transactions on the same server, to create databases for example."""
    monkeypatch.setattr("migrator.databases.engines.postgresql.change_feed.OPEN_TRANSACTIONS_SECONDS", 300.0)


@pytest.fixture(scope="session")
def private_server() -> Iterator[PrivatePostgreSQL]:
    """Start that server with the project's tables; it takes some seconds."""
    if PostgreSQL.find() is None:
        pytest.skip("PostgreSQL is not installed")
    server = PrivatePostgreSQL()
    entry = database_from_url(server.address()) | {"NAME": f"{DATABASE_PREFIX}followed"}
    server.start()
    try:
        with another_alias(PRIVATE, **entry | {"PORT": str(server.port)}):
            with connections[PRIVATE]._nodb_cursor() as cursor:
                cursor.execute(f"CREATE DATABASE {entry['NAME']}")
            call_command("migrate", database=PRIVATE, run_syncdb=True, interactive=False, verbosity=0)
            connections[PRIVATE].close()
            yield server
    finally:
        server.stop()


@pytest.fixture
def private(private_server: PrivatePostgreSQL, databases: FreshDatabases) -> Pair:
    """Return a source on that server, with five rows of AutoKey, and an empty destination."""
    databases.fresh("sqlite_b")
    execute(
        PRIVATE,
        "DELETE FROM testapp_autokey",
        "INSERT INTO testapp_autokey (id, label) SELECT n, 'old' FROM generate_series(1, 5) n",
    )
    return Pair(PRIVATE, "sqlite_b")
