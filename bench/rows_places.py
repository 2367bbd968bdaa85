"""The databases of `bench.rows`: sources are filled once, destinations are recreated each time, and rows counted."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from bench.rows_data import SHAPES, fill_shape, fill_shop, shape_model, shop_models
from bench.rows_ways import ours
from tests.servers.databases import FreshDatabases, engine_of


class Places:
    """Two databases of each engine, and a small one whose rows the slow methods move."""

    def __init__(self, databases: FreshDatabases) -> None:
        self._databases = databases
        self._made: set[str] = set()

    def fill(self, engines: Sequence[str], rows: int, small_rows: int) -> None:
        """Fill a small and a large shop in one engine, and move them to the others."""
        for name, count in (("a", rows), ("small", small_rows)):
            first, *others = [f"{engine}_{name}" for engine in engines]
            self.empty(first)
            fill_shop(first, count)
            for other in others:
                self.empty(other)
                ours(first, other)

    def fill_shape(self, engine: str, shape: str, rows: int) -> int:
        """Fill a table of another shape in a source."""
        self.empty(f"{engine}_a")
        return fill_shape(f"{engine}_a", shape, rows)

    def empty(self, alias: str, *, without_tables: bool = False) -> None:
        """Create a database with `migrate`, or one without the shop's tables."""
        from django.db import connections

        models = [*shop_models(), *map(shape_model, SHAPES)]
        connection: Any = connections[alias]
        if engine_of(alias) == "mysql" and alias in self._made:
            with connection.cursor() as cursor, connection.constraint_checks_disabled():
                for model in models:
                    cursor.execute(f"TRUNCATE TABLE {model._meta.db_table}")
        self._databases.fresh(alias)
        self._made.add(alias)
        if without_tables:
            with connection.cursor() as cursor:
                for model in reversed(models):
                    cursor.execute(f"DROP TABLE {model._meta.db_table} CASCADE")
        connection.close()


@contextmanager
def own_places() -> Iterator[Places]:
    """Set Django up with databases for this run only, and drop them at the end."""
    with tempfile.TemporaryDirectory(prefix="migrator-bench-") as directory:
        os.environ |= {"MIGRATOR_TEST_DIRECTORY": directory, "DJANGO_SETTINGS_MODULE": "settings.bench"}
        import django

        django.setup()
        from django.db import connections

        databases = FreshDatabases()
        try:
            yield Places(databases)
        finally:
            connections.close_all()
            databases.drop()


def count(alias: str) -> dict[str, int]:
    """Count the shop's rows by table."""
    from django.db import connections

    found = {model._meta.db_table: model.objects.using(alias).count() for model in shop_models()}
    connections[alias].close()
    return found
