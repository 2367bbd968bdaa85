"""Keys of every type are looked up as they are stored, and one that is nowhere is a sign that the feed is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from django.db import connections

from migrator.databases.verification.compared_side import ComparedSide
from tests.databases.copying.test_retry import Heard
from tests.databases.snapshots import differences, insert_rows, snapshot
from tests.scenarios.faults.test_schemas import models_of_another_schema
from tests.scenarios.following.scripted import execute, follow, followed_of, read
from tests.scenarios.following.writers import held
from tests.servers.databases import PAIRS, FreshDatabases, Pair
from tests.testapp import rows
from tests.testapp.models import (
    AutoKey,
    BigAutoKey,
    CompositeKey,
    CompositeLink,
    DateTimeKey,
    DecimalKey,
    IntegerKey,
    KeyIsPointer,
    SmallAutoKey,
    TextKey,
    UUIDDocument,
    UUIDKey,
)

A, B = "postgresql_a", "postgresql_b"
# With a column that is not part of their keys.
KEYED: dict[Any, str] = {
    SmallAutoKey: "label = 'changed'",
    AutoKey: "label = 'changed'",
    BigAutoKey: "label = 'changed'",
    IntegerKey: "label = 'changed'",
    UUIDKey: "label = 'changed'",
    UUIDDocument: "value = '[1]'",
    TextKey: "label = 'changed'",
    DateTimeKey: "label = 'changed'",
    DecimalKey: "label = 'changed'",
    CompositeKey: "label = 'changed'",
    CompositeLink: "weight = 17.25",
    KeyIsPointer: "label = 'changed'",
}
LABELS = [model._meta.label for model in KEYED]
FOLLOWED = [pair for pair in PAIRS if pair.engines[0] == "postgresql"]


@pytest.mark.parametrize("pair", FOLLOWED, ids=str, indirect=True)
def test_keys_of_every_type_are_found_again(pair: Pair) -> None:
    rows.fill(pair.source)
    updates = [f"UPDATE {model._meta.db_table} SET {changes}" for model, changes in KEYED.items()]
    deletions = [
        f"DELETE FROM {model._meta.db_table} WHERE ctid = (SELECT min(ctid) FROM {model._meta.db_table})"
        for model in (SmallAutoKey, IntegerKey, DateTimeKey, DecimalKey, CompositeKey, CompositeLink, KeyIsPointer)
    ]
    amount = sum(len(held(pair.source, model)) for model in KEYED)
    connections[pair.source].close()
    found = followed_of(
        follow(pair, LABELS, lambda: execute(pair.source, *updates), lambda: execute(pair.source, *deletions))
    )
    assert found.lost_feeds == []
    assert (found.changes, found.rows) == (amount + len(deletions),) * 2
    assert amount > 40
    assert not differences(snapshot(pair.source, KEYED), snapshot(pair.dest, KEYED))


@pytest.mark.postgresql
def test_keys_of_a_table_in_another_schema(databases: FreshDatabases) -> None:
    databases.fresh(A, B)
    with models_of_another_schema(A, B) as made:
        insert_rows(made["thing"], A, [{"id": n, "name": f"thing {n}"} for n in range(1, 6)])
        connections[A].close()
        found = followed_of(
            follow(
                Pair(A, B), ["testapp.Thing"], lambda: execute(A, "UPDATE other.thing SET name = 'new' WHERE id < 3")
            )
        )
        assert (found.keys, found.rows, found.lost_feeds) == (2, 2, [])
        assert len(read(B, "SELECT 1 FROM other.thing WHERE name = 'new'")) == 2


@pytest.mark.postgresql
def test_a_key_that_is_in_neither_database_has_all_rows_compared_once(
    databases: FreshDatabases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a key in another spelling would look equal, and its change would be lost."""
    databases.fresh(A, B)
    execute(A, "INSERT INTO testapp_autokey (id, label) VALUES (1, 'old'), (2, 'old')")
    neutral_keys, is_wrong = ComparedSide.neutral_keys, [True]

    def convert_wrongly(side: ComparedSide, texts: Sequence[Any]) -> list[Any]:
        keys = neutral_keys(side, texts)
        return [(int(key[0]) + 1000,) for key in keys] if is_wrong.pop() else keys

    def update(number: int) -> None:
        is_wrong[:] = [number == 1]
        execute(A, f"UPDATE testapp_autokey SET label = 'new' WHERE id = {number}")

    monkeypatch.setattr(ComparedSide, "neutral_keys", convert_wrongly)
    heard = Heard()
    found = followed_of(follow(Pair(A, B), ["testapp.AutoKey"], lambda: update(1), lambda: update(2), heard=heard))
    assert found.lost_feeds == ["1 changed row of testapp.AutoKey could be found in neither database"]
    assert any("Comparing all rows once." in text for text in heard.messages)
    assert held(B, AutoKey) == [("1", "new"), ("2", "new")]
