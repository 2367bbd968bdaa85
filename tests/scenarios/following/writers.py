"""Writers that do what is hard to follow, and a comparison that shares no code with the package."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.db import DatabaseError, connections, transaction
from django.db.models import Model

from tests.testapp.models import AutoKey, CompositeKey, Pointer, TextKey, TreeNode, UniqueCode, UUIDKey

MODELS: list[type[Model]] = [AutoKey, UUIDKey, TextKey, CompositeKey, UniqueCode, Pointer, TreeNode]
# What the decoder itself writes, and what only looks like the end of a value.
HOSTILE = "' id[bigint]:7 new-tuple: id[bigint]:8 'x'' table public.testapp_autokey: DELETE: (no-tuple-data)"


def fill(alias: str, count: int = 30) -> None:
    """Fill the models with a few rows each."""
    with transaction.atomic(using=alias):
        for number in range(count):
            AutoKey.objects.using(alias).create(label=f"auto {number}")
            UUIDKey.objects.using(alias).create(id=uuid.UUID(int=number + 1), label="uuid")
            TextKey.objects.using(alias).create(code=f"key {number}", label="text")
            CompositeKey.objects.using(alias).create(tenant=f"t{number % 3}", number=number, label="both")
            UniqueCode.objects.using(alias).create(code=f"code {number}", label="unique")
        top = TreeNode.objects.using(alias).create(name="top")
        for number in range(count):
            TreeNode.objects.using(alias).create(name=f"node {number}", parent=top)


def _exchange_unique_values(alias: str, choose: random.Random) -> None:
    one, other = choose.sample(list(UniqueCode.objects.using(alias).order_by("pk")), 2)
    codes = one.code, other.code
    for row, code in ((one, uuid.uuid4().hex[:20]), (other, codes[0]), (one, codes[1])):
        UniqueCode.objects.using(alias).filter(pk=row.pk).update(code=code)


def _delete_and_insert_anew(alias: str, choose: random.Random) -> None:
    row = choose.choice(list(TextKey.objects.using(alias).all()))
    Pointer.objects.using(alias).filter(to_text=row).delete()
    TextKey.objects.using(alias).filter(pk=row.pk).delete()
    TextKey.objects.using(alias).create(code=row.pk, label=f"anew {choose.random()}")


def _change_a_key(alias: str, choose: random.Random) -> None:
    pks = CompositeKey.objects.using(alias).values_list("tenant", "number")
    tenant, number = choose.choice(list(pks))
    CompositeKey.objects.using(alias).filter(tenant=tenant, number=number).update(tenant=f"t{choose.randrange(10**9)}")


def _move_children_to_a_new_parent(alias: str, choose: random.Random) -> None:
    parent = TreeNode.objects.using(alias).create(name=f"parent {choose.random()}")
    ids = list(TreeNode.objects.using(alias).exclude(pk=parent.pk).values_list("pk", flat=True))
    TreeNode.objects.using(alias).filter(pk__in=choose.sample(ids, 3)).update(parent=parent)


def _insert_with_parents(alias: str, choose: random.Random) -> None:
    auto = AutoKey.objects.using(alias).create(label=HOSTILE[: choose.randrange(10, 78)])
    key = UUIDKey.objects.using(alias).create(label=HOSTILE[:70])
    Pointer.objects.using(alias).create(to_auto=auto, to_uuid=key)


def _delete_a_pointer(alias: str, choose: random.Random) -> None:
    pks = list(Pointer.objects.using(alias).values_list("pk", flat=True))
    if pks:
        Pointer.objects.using(alias).filter(pk=choose.choice(pks)).delete()


def _update_many(alias: str, choose: random.Random) -> None:
    AutoKey.objects.using(alias).update(label=f"all {choose.random()}")


ACTIONS: list[Callable[[str, random.Random], None]] = [
    _exchange_unique_values,
    _delete_and_insert_anew,
    _change_a_key,
    _move_children_to_a_new_parent,
    _insert_with_parents,
    _insert_with_parents,
    _delete_a_pointer,
    _update_many,
]


def _write(alias: str, seed: str, stop: threading.Event, counts: threading.Event, left: list[int]) -> None:
    choose = random.Random(seed)  # noqa: S311 - the same actions in each run
    try:
        while left and not stop.is_set():
            with suppress(DatabaseError), transaction.atomic(using=alias):  # deadlocks among the writers
                for action in choose.sample(ACTIONS, choose.randint(1, 3)):
                    action(alias, choose)
                if choose.random() < 0.1:
                    # With the second until PostgreSQL finds a deadlock, shorter than --until-quiet.
                    time.sleep(choose.uniform(0.1, 0.5))
                if choose.random() < 0.1:
                    transaction.set_rollback(True, using=alias)
                if counts.is_set():
                    with suppress(IndexError):  # another writer has made the last one
                        left.pop()
            time.sleep(0.01)
    finally:
        connections[alias].close()


@contextmanager
def writing(alias: str, *, seed: int, transactions: int) -> Iterator[threading.Event]:
    """Have three writers change the source, in so many transactions once the event is set, some of them rolled back."""
    stop, counts, left = threading.Event(), threading.Event(), [0] * transactions
    threads = [threading.Thread(target=_write, args=(alias, f"{seed} {n}", stop, counts, left)) for n in range(3)]
    for thread in threads:
        thread.start()
    try:
        yield counts
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not left, "the writers did not make all their transactions"


def held(alias: str, model: type[Model]) -> list[tuple[Any, ...]]:
    """Return the rows of a table in any order, by a cursor alone."""
    with connections[alias].cursor() as cursor:
        names = ", ".join(connections[alias].ops.quote_name(str(f.column)) for f in model._meta.local_concrete_fields)
        cursor.execute(f"SELECT {names} FROM {connections[alias].ops.quote_name(model._meta.db_table)}")
        return sorted(tuple(_plain(value) for value in row) for row in cursor.fetchall())


def _plain(value: Any) -> str:
    return str(value).replace("-", "")


def assert_equal(source: str, dest: str) -> None:
    for model in MODELS:
        assert held(source, model) == held(dest, model), model._meta.label
