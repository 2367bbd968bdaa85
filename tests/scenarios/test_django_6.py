"""Models with what Django 5.2 lacks, on every pair of engines; `tests/conftest.py` says where this is collected."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.apps import apps
from django.db import connections
from django.db.models import JSONNull, Model, QuerySet
from django.test import modify_settings

from migrator.databases.api import batch_migrate
from tests.databases.snapshots import differences, insert_rows, snapshot, tables
from tests.management.running import execute
from tests.servers.databases import Pair

APP = "testapp_django_6"


@pytest.fixture
def models(pair: Pair) -> Iterator[list[type[Model]]]:
    """Install the app, make its tables in both databases, and return the models that both can have."""
    with modify_settings(INSTALLED_APPS={"append": [f"tests.{APP}"]}):
        made = [model for model in tables(APP) if all(model._meta.can_migrate(connections[alias]) for alias in pair)]
        for alias in pair:
            with connections[alias].schema_editor() as editor:
                for model in made:
                    editor.create_model(model)
        fill(pair.source, {model.__name__ for model in made})
        yield made


def fill(alias: str, names: set[str]) -> None:
    details: list[Any] = [None, JSONNull(), {"a": [1.5, None, "ä"]}, []]
    rows = {
        "Author": [{"id": n, "name": f"author {n}", "boss_id": n // 2 or None} for n in range(1, 8)],
        "Book": [{"id": n, "author_id": n, "editor_id": 8 - n, "details": details[n % 4]} for n in range(1, 8)],
        "Review": [{"book_id": b, "number": n, "text": f"{b} \\ {n}"} for b in range(1, 8) for n in range(-3, 3)],
        "Shout": [{"id": n, "word": "word"} for n in range(1, 4)],
    }
    for name in rows:  # parents first
        if name in names:
            insert_rows(apps.get_model(APP, name), alias, rows[name])


def test_foreign_keys_that_act_in_the_database_lose_no_row(pair: Pair, models: list[type[Model]]) -> None:
    def follow(**options: Any) -> None:
        labels = [model._meta.label for model in models]
        found = batch_migrate(source=pair.source, dest=pair.dest, labels=labels, verify="full", chunk_size=5, **options)
        assert found.exit_code == 0, found.verification
        assert differences(snapshot(pair.source, models), snapshot(pair.dest, models)) == []

    follow()
    execute(
        pair.source,
        f"UPDATE {APP}_author SET name = 'new' WHERE id IN (1, 3)",
        f"UPDATE {APP}_book SET editor_id = 1 WHERE id = 4",
        f"DELETE FROM {APP}_author WHERE id = 2",
    )
    follow(update=True)
    left = QuerySet(apps.get_model(APP, "Review"), using=pair.dest)
    assert left.count() == 6 * 6
    # They act as before.
    execute(pair.dest, f"DELETE FROM {APP}_author WHERE id = 1")
    assert left.count() == 5 * 6
    parents = QuerySet(apps.get_model(APP, "Author"), using=pair.dest).values_list("id", "boss_id").order_by("id")
    assert [*parents] == [(3, None), (4, None), (5, None), (6, 3), (7, 3)]
