"""Compare what both databases of a project hold, from inside of the project: every table, every row, every value.

`compare` shares no code with migrator; `verify` is its command.
"""

import io
from collections.abc import Collection
from typing import Any

from django.apps import apps
from django.core.management import call_command
from django.db import connection, connections, models

from tests.databases.snapshots import differences, snapshot

SHOWN = 20


def compare(rebuilt: Collection[str] = ()) -> dict[str, Any]:
    """Hold `default` against `old`, but for the apps whose rows the project makes anew after a move.

    Tables of `old` that no model describes are named, for nothing has moved or compared these.
    """
    models_moved = [model for model in _models_with_tables() if model._meta.app_label not in rebuilt]
    before, after = snapshot("old", models_moved), snapshot(connection.alias, models_moved)
    found = differences(before, after)
    return {
        "tables": len(models_moved),
        "filled": sum(map(bool, before.values())),
        "rows": sum(map(len, before.values())),
        "differences": found[:SHOWN],
        "unknown": _unknown_tables(),
    }


def verify() -> list[str]:
    """Compare all values of `default` with those of `old` by the command, and return the lines that it prints."""
    said = io.StringIO()
    options = {"mode": "full", "no_progress": True, "verbosity": 2}
    call_command("verify_counts", source="old", dest=connection.alias, **options, stdout=said, stderr=io.StringIO())
    return said.getvalue().splitlines()


def _models_with_tables() -> list[type[models.Model]]:
    found = apps.get_models(include_auto_created=True)
    return [model for model in found if model._meta.managed and not model._meta.proxy and not model._meta.swapped]


def _unknown_tables() -> list[str]:
    known = {model._meta.db_table for model in apps.get_models(include_auto_created=True)}
    old = connections["old"]
    with old.cursor() as cursor:
        return sorted(set(old.introspection.table_names(cursor)) - known - {"django_migrations"})
