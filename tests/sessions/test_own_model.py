"""A project's own session model: columns that its engine fills are filled, others keep their default."""

import importlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connections
from django.test.utils import isolate_apps

from migrator.sessions import layouts
from migrator.sessions.copy import copy_sessions
from migrator.sessions.records import End
from tests.sessions.places import ROWS, held, put

ENGINE = "tests.sessions.engines.accounts"


@pytest.fixture
def own_model(ready: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    ready(ROWS)
    with isolate_apps("tests.testapp") as registry:
        model = importlib.import_module(ENGINE).AccountSession
        monkeypatch.setattr(layouts, "apps", registry)
        with connections["sqlite_a"].schema_editor() as editor:
            editor.create_model(model)
        yield model
        with connections["sqlite_a"].schema_editor() as editor:
            editor.delete_model(model)
    del sys.modules[ENGINE]


def test_fills_the_columns_of_a_model_of_ones_own(own_model: Any) -> None:
    somebody, nobody = put(ROWS, {"_auth_user_id": "7"}), put(ROWS, {})

    own = End("db", "sqlite_a", ENGINE, "testapp.AccountSession")
    result = copy_sessions(source=ROWS.end, dest=own)

    assert result.total.written == 2
    rows = own_model._base_manager.using("sqlite_a").values_list("session_key", "account_id", "origin")
    assert sorted(rows) == sorted([(somebody, 7, "web"), (nobody, None, "web")])
    before = held(ROWS)[somebody]
    ROWS.clear()
    copy_sessions(source=own, dest=ROWS.end)
    assert held(ROWS)[somebody].payload == before.payload
