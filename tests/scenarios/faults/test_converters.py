"""Fields of projects whose conversions are not each other's inverse: nothing arrives changed because of them."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.db import models
from django.db.models import Field, QuerySet

from tests.databases.snapshots import JSON_NULL, differences, insert_rows, snapshot
from tests.management.running import run
from tests.servers.databases import PAIRS, Pair
from tests.testapp.fields import MoneyField
from tests.testapp.models import JSONValue, MoneyValue

if TYPE_CHECKING:
    from tests.servers.databases import FreshDatabases

pytestmark = pytest.mark.driver

DOCUMENTS: list[Any] = [{"a": [1, None]}, [], "text", "", 0, JSON_NULL, None, 0.1, {"deep": {"er": "\\"}}]
# The column has another type in each of them, so that the field itself converts the values.
THROUGH_THE_FIELD = [PAIRS[1], PAIRS[2], PAIRS[3], PAIRS[6]]


class DumpsByItself(models.JSONField):
    """Encodes what Django's field encodes once more."""

    def get_prep_value(self, value: Any) -> Any:
        return json.dumps(value)


class Rounds(MoneyField):
    """Keeps one place of two."""

    def get_prep_value(self, value: Any) -> str | None:
        return None if value is None else str(round(value, 1))


class Amount:
    """A value that knows no other one as equal."""

    def __init__(self, number: Decimal) -> None:
        self.number = number


class ReadsAmounts(MoneyField):
    """Answers with objects that equal themselves alone."""

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        return None if value is None else Amount(Decimal(str(value)))

    def get_prep_value(self, value: Any) -> str | None:
        return None if value is None else str(value.number)


@pytest.fixture
def pair(request: pytest.FixtureRequest, databases: FreshDatabases) -> Pair:
    pair: Pair = request.param
    databases.fresh(*pair)
    return pair


def give(monkeypatch: pytest.MonkeyPatch, model: type[models.Model], field_class: type[Field[Any, Any]]) -> None:
    monkeypatch.setattr(model._meta.get_field("value"), "__class__", field_class)


def words(pair: Pair, model: type[models.Model], *more: str) -> tuple[str, ...]:
    ends = ("--source", pair.source, "--dest", pair.dest)
    return ("batch_migrate", *ends, "--no-input", *more, model._meta.label)


@pytest.mark.parametrize("pair", PAIRS, ids=str, indirect=True)
def test_a_document_arrives_as_it_is_whatever_the_fields_class_makes_of_it(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"label": str(number), "value": value} for number, value in enumerate(DOCUMENTS)]
    insert_rows(JSONValue, pair.source, rows)
    before = snapshot(pair.source, [JSONValue])
    with monkeypatch.context() as patched:
        give(patched, JSONValue, DumpsByItself)
        finished = run(*words(pair, JSONValue, "--verify", "full"))
        again = run(*words(pair, JSONValue, "--update"))
    assert (finished.code, again.code) == (0, 0), finished.err + again.err
    assert "no row was written" in again.out
    assert differences(before, snapshot(pair.dest, [JSONValue])) == []


@pytest.mark.parametrize("pair", THROUGH_THE_FIELD, ids=str, indirect=True)
def test_a_value_that_its_field_does_not_read_back_is_named_and_set_aside(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    values = [Decimal("1.50"), None, Decimal("2.25"), Decimal("-3.70"), Decimal("0.01")]
    rows = [{"id": key, "label": str(key), "value": value} for key, value in enumerate(values, start=1)]
    insert_rows(MoneyValue, pair.source, rows)
    with monkeypatch.context() as patched:
        give(patched, MoneyValue, Rounds)
        finished = run(*words(pair, MoneyValue))
        assert finished.code == 1
        assert "testapp.MoneyValue with primary key 3" in finished.err
        assert "field value" in finished.err
        skipped = run(*words(pair, MoneyValue, "--resume", "--on-error", "skip", "--rejects", str(tmp_path / "kept")))
    assert skipped.code == 4, skipped.err
    kept = [json.loads(line) for line in (tmp_path / "kept").read_text(encoding="utf-8").splitlines()]
    assert [line["row"]["label"] for line in kept] == ["3", "5"]
    arrived = dict(QuerySet(MoneyValue, using=pair.dest).values_list("pk", "value"))
    assert arrived == {row["id"]: row["value"] for row in rows if row["id"] not in (3, 5)}


@pytest.mark.parametrize("pair", THROUGH_THE_FIELD[:2], ids=str, indirect=True)
def test_values_that_equal_nothing_are_compared_by_what_the_field_makes_of_them(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert_rows(MoneyValue, pair.source, [{"label": "one", "value": Decimal("1.25")}])
    with monkeypatch.context() as patched:
        give(patched, MoneyValue, ReadsAmounts)
        finished = run(*words(pair, MoneyValue, "--verify", "full"))
    assert finished.code == 0, finished.err + finished.out
