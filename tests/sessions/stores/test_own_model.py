"""A project's own session model: columns that its engine fills are filled, others keep their default."""

import importlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connections, models
from django.test.utils import isolate_apps
from django.utils import timezone

from migrator.errors import Refused
from migrator.sessions import table_layouts
from migrator.sessions.copying.run import copy_sessions
from migrator.sessions.records import End
from tests.sessions.places import ROWS, Place, held, opened, put

ENGINE = "tests.sessions.engines.accounts"


class OwnPlace(Place):
    """The table of that model in one database."""

    @property
    def end(self) -> End:
        return End("db", self.alias, ENGINE, "testapp.AccountSession")


@pytest.fixture(params=["postgresql_a", "mysql_a", "sqlite_a"])
def own(request: pytest.FixtureRequest, ready: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    """Give the table of a model of one's own."""
    place = OwnPlace("db", request.param, "accounts")
    ready(Place("db", place.alias, "db"), ROWS)
    with isolate_apps("tests.testapp") as registry:
        model = importlib.import_module(ENGINE).AccountSession
        monkeypatch.setattr(table_layouts, "apps", registry)
        with connections[place.alias].schema_editor() as editor:
            editor.create_model(model)
        yield place
        with connections[place.alias].schema_editor() as editor:
            editor.delete_model(model)
    del sys.modules[ENGINE]


class Veiled(models.TextField):
    """A text that is kept otherwise than it is read, as encrypted fields do."""

    def get_prep_value(self, value: Any) -> Any:
        return value[::-1]

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return value[::-1]


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("session_data", models.JSONField()),
        ("session_data", models.BinaryField()),
        ("session_data", Veiled()),
        ("session_key", models.UUIDField(primary_key=True)),
        ("expire_date", models.BigIntegerField()),
    ],
    ids=lambda given: given if isinstance(given, str) else type(given).__name__,
)
def test_refuses_a_model_whose_fields_keep_something_else_than_text(
    name: str, field: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    meta = type("Meta", (), {"app_label": "testapp"})
    with isolate_apps("tests.testapp") as registry:
        monkeypatch.setattr(table_layouts, "apps", registry)
        type("Held", (models.Model,), {**_text_fields(), name: field, "Meta": meta, "__module__": __name__})
        with pytest.raises(Refused, match=f"keeps {name} in a {type(field).__name__}.*batch_migrate_models"):
            table_layouts.session_layout("testapp.Held")
        type("Other", (models.Model,), {**_text_fields(), "Meta": meta, "__module__": __name__})
        assert table_layouts.session_layout("testapp.Other").longest_key == 64


def _text_fields() -> dict[str, Any]:
    return {
        "session_key": models.CharField(max_length=64, unique=True),
        "session_data": models.CharField(max_length=9000),
        "expire_date": models.DateTimeField(),
    }


def rows_of(place: Place, *names: str) -> dict[str, list[Any]]:
    """Read rows through the model, as the site does."""
    rows = importlib.import_module(ENGINE).AccountSession._base_manager.using(place.alias)
    return {key: found for key, *found in rows.values_list("session_key", *names)}


def test_fills_the_columns_of_a_model_of_ones_own(own: Place) -> None:
    somebody, nobody = put(ROWS, {"_auth_user_id": "7"}), put(ROWS, {})

    result = copy_sessions(source=ROWS.end, dest=own.end)

    assert result.total.written == 2
    assert rows_of(own, "account_id", "origin") == {somebody: [7, "web"], nobody: [None, "web"]}
    before = held(ROWS)[somebody]
    ROWS.clear()
    copy_sessions(source=own.end, dest=ROWS.end)
    assert held(ROWS)[somebody].raw == before.raw


def test_writes_and_reads_its_columns_as_its_fields_do(own: Place) -> None:
    data = [{"address": "", "cart": ["ä\\", 1]}, {"address": "2001:DB8:0::1", "cart": {"sku": None}}, {"address": None}]
    keys = [put(ROWS, one) for one in data]

    copy_sessions(source=ROWS.end, dest=own.end)

    expected = {
        keys[0]: [None, {"cart": ["ä\\", 1]}],
        keys[1]: ["2001:db8::1", {"cart": {"sku": None}}],
        keys[2]: [None, {"cart": None}],
    }
    assert rows_of(own, "address", "notes") == expected
    began = [moment for (moment,) in rows_of(own, "began").values()]
    assert all(abs((moment - timezone.now()).total_seconds()) < 60 for moment in began)
    seen = held(own)
    with opened(own) as store:
        changed = {key: seen[key]._replace(more={**(seen[key].more or {}), "column address": ""}) for key in keys}
        assert store.replace([(seen[key], changed[key]) for key in keys]) == set(keys)
    assert rows_of(own, "notes") == {key: found[1:] for key, found in expected.items()}
    assert rows_of(own, "address") == {key: [None] for key in keys}
