"""Columns of a project's session model that no source knows are filled as save() and the database would fill them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from django.test.utils import isolate_apps
from django.utils import timezone

from migrator.sessions import table_layouts
from migrator.sessions.copying.run import copy_sessions
from migrator.sessions.records import CopyOptions, End
from migrator.stores.base import digest
from tests.sessions.copying.test_passes import save
from tests.sessions.places import ROWS, Place, put

ENGINE = "tests.sessions.engines.stamped"
ODD = ("seen", "made", "began", "stamped", "level", "note", "name", "shout")


@pytest.fixture(params=["postgresql_a", "mysql_a", "sqlite_a"])
def alias(request: pytest.FixtureRequest, ready: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Give a database with the table of that model."""
    ready(Place("db", request.param, "db"), ROWS)
    with isolate_apps("tests.testapp") as registry:
        model = importlib.import_module(ENGINE).StampedSession
        monkeypatch.setattr(table_layouts, "apps", registry)
        with connections[request.param].schema_editor() as editor:
            editor.create_model(model)
        yield request.param
        with connections[request.param].schema_editor() as editor:
            editor.delete_model(model)
    del sys.modules[ENGINE]


def rows(alias: str) -> dict[str, dict[str, Any]]:
    found = importlib.import_module(ENGINE).StampedSession._base_manager.using(alias)
    return {row.pop("session_key"): row for row in found.values("session_key", *ODD)}


def test_columns_that_save_and_the_database_fill_are_filled(alias: str, tmp_path: Path) -> None:
    began = timezone.now()
    keys = [put(ROWS, {"n": n}) for n in range(3)]
    dest = End("db", alias, ENGINE, "testapp.StampedSession")
    options = CopyOptions(manifest=tmp_path / "manifest")

    total = copy_sessions(source=ROWS.end, dest=dest, options=options).total

    assert (total.written, total.failures) == (3, 0)
    first = rows(alias)
    for key in keys:
        row = first[key]
        assert all((began - row[name]).total_seconds() < 60 for name in ("seen", "began", "stamped"))
        assert (row["level"], row["note"], row["name"], row["shout"]) == (
            7,
            "",
            f"of {key[:4]}",
            f"OF {key[:4].upper()}",
        )
        assert abs((row["made"] - began.date()).days) <= 1
    with connections[alias].cursor() as cursor:
        cursor.execute("UPDATE testapp_stampedsession SET level = 8")

    save(ROWS, keys[0], {"n": "changed"})

    assert copy_sessions(source=ROWS.end, dest=dest, options=options).total.refreshed == 1
    again = rows(alias)
    assert again[keys[0]]["seen"] > first[keys[0]]["seen"]
    kept = ("made", "began", "stamped", "note")
    assert [again[keys[0]][name] for name in kept] == [first[keys[0]][name] for name in kept]
    assert {row["level"] for row in again.values()} == {8}


@pytest.mark.postgresql
def test_keys_that_a_database_counts_and_columns_with_names_of_packages_are_left_to_their_model(
    ready: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    name, aliases = "tests.sessions.engines.numbered", ("sqlite_a", "postgresql_a")
    ready(ROWS, Place("db", "postgresql_a", "db"))
    ends = [End("db", alias, name, "testapp.NumberedSession") for alias in aliases]
    with isolate_apps("tests.testapp") as registry:
        module = importlib.import_module(name)
        model = module.NumberedSession
        monkeypatch.setattr(table_layouts, "apps", registry)
        for alias in aliases:
            with connections[alias].schema_editor() as editor:
                editor.create_model(module.Shop)
                editor.create_model(model)
        try:
            keys = [put(ROWS, {"_auth_user_id": "1"}, key=letter * 32) for letter in "abz"]
            total = copy_sessions(source=ROWS.end, dest=ends[0]).total
            assert (total.written, total.problems) == (
                2,
                [(digest(keys[2]), "its greeting cannot be determined (LookupError)")],
            )
            found = model.objects.using("sqlite_a").values_list("session_key", "user", "updated_at", "greeting")
            assert sorted(found) == [(keys[0], None, 5, "hello a"), (keys[1], None, 5, "hello b")]
            model.objects.using("sqlite_a").update(updated_at=6)
            assert copy_sessions(source=ends[0], dest=ends[1]).total.written == 2
            there = model.objects.using("postgresql_a")
            assert set(there.values_list("updated_at", flat=True)) == {6}
            there.create(session_key="c" * 32, session_data="", expire_date=timezone.now())
            assert there.count() == 3
        finally:
            for alias in aliases:
                with connections[alias].schema_editor() as editor:
                    editor.delete_model(model)
                    editor.delete_model(module.Shop)
            del sys.modules[name]
