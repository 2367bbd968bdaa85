"""Orders come in an order that is right: parents first where keys bind, large tables first, indexes before keys."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from migrator.databases.copying import recreation_order
from migrator.databases.copying.recreation_order import Recreate, RecreationSchedule, RefreshStatistics
from migrator.databases.engines.base.catalogue import DeferredObject
from migrator.databases.engines.postgresql.catalogue import PostgreSQLCatalogue
from migrator.databases.parallel.scheduler import LoadSchedule, Schedule
from migrator.databases.parallel.worker_tasks import CopyChunk, CopyGroup, CopyTable, CopyTables, SplitTable, WorkerTask
from migrator.databases.planning.plan import largest_first


def planned(name: str, rows: int, *parents: str, binds_late: bool = False) -> Any:
    references = tuple(SimpleNamespace(target_table=parent) for parent in parents)
    table = SimpleNamespace(name=name, key=("id",), references=references)
    return SimpleNamespace(table=table, source_rows=rows, route=SimpleNamespace(binds_late=binds_late))


def schedule(*groups: Any, keeps_order: bool = False) -> LoadSchedule:
    plan: Any = SimpleNamespace(groups=groups, tables=tuple(table for group in groups for table in group))
    return LoadSchedule(plan, lambda one: one.source_rows <= 10, keeps_order=keeps_order)


def drain(of: Schedule) -> list[WorkerTask]:
    found = []
    while order := of.next([]):
        found.append(order)
    return found


def test_large_tables_are_cut_first_and_small_ones_fill_the_end() -> None:
    load = schedule((planned("small", 3),), (planned("large", 50),), (planned("middle", 20),), (planned("tiny", 1),))
    assert drain(load) == [SplitTable("large"), SplitTable("middle"), CopyTable("small"), CopyTable("tiny")]
    load.add_chunks("middle", [range(7, 9)])
    load.add_chunks("large", [range(1, 3)])
    assert drain(load) == [
        CopyChunk("large", 1), CopyChunk("large", 2), CopyChunk("middle", 7), CopyChunk("middle", 8),
    ]  # fmt: skip


def test_a_table_waits_until_all_chunks_of_its_parents_are_done() -> None:
    load = schedule((planned("parent", 20),), (planned("child", 30, "parent", "elsewhere"),), keeps_order=True)
    assert drain(load) == [SplitTable("parent")]
    load.add_chunks("parent", [range(1, 2), range(2, 3)])
    assert drain(load) == [CopyChunk("parent", 1), CopyChunk("parent", 2)]
    load.done(CopyChunk("parent", 1))
    assert drain(load) == []
    assert not load.is_empty()
    load.done(CopyChunk("parent", 2))
    assert drain(load) == [SplitTable("child")]
    load.add_chunks("child", [])  # all of it was copied before
    assert load.complete == {"parent", "child"}
    assert load.is_empty()


def test_one_process_copies_parents_first_and_of_what_may_come_the_largest() -> None:
    ring = (planned("hen", 40, "egg"), planned("egg", 50, "hen"))
    groups = [(planned("a", 1),), (planned("b", 70, "b"),), ring, (planned("c", 500, "a", "elsewhere"),)]
    assert [group[0].table.name for group in largest_first(groups)] == ["hen", "b", "a", "c"]


def test_tables_that_are_only_right_together_are_one_order() -> None:
    ring = (planned("hen", 5, "egg", binds_late=True), planned("egg", 50, "hen", binds_late=True))
    load = schedule(ring, (planned("nest", 1, "hen"),), keeps_order=True)
    assert drain(load) == [CopyGroup(("hen", "egg"))]
    load.give_back(CopyGroup(("hen", "egg")))
    assert drain(load) == [CopyGroup(("hen", "egg"))]
    load.done(CopyGroup(("hen", "egg")))
    assert drain(load) == [CopyTable("nest")]


def test_small_tables_are_one_order_as_long_as_they_fit() -> None:
    plan: Any = SimpleNamespace(groups=[(planned(name, 9 - number),) for number, name in enumerate("abcde")])
    plan.tables = [group[0] for group in plan.groups]

    def fit(tables: Sequence[Any]) -> bool:
        return len(tables) < 4 and tables[0].source_rows < 9

    load = LoadSchedule(plan, lambda one: True, keeps_order=False, can_share=fit)
    assert [load.next([]), load.next([])] == [CopyTable("a"), CopyTables(("b", "c", "d"))]
    load.done(CopyTables(("b", "c", "d")))
    assert load.complete == {"b", "c", "d"}
    assert drain(load) == [CopyTable("e")]


def test_small_tables_with_which_a_worker_died_are_orders_of_their_own() -> None:
    plan: Any = SimpleNamespace(groups=[(planned(name, 9),) for name in "abcd"])
    plan.tables = [group[0] for group in plan.groups]
    load = LoadSchedule(plan, lambda one: True, keeps_order=False, can_share=lambda tables: len(tables) < 4)
    assert load.next([]) == CopyTables(("a", "b", "c"))
    load.give_back(CopyTables(("a", "b", "c")))
    assert drain(load) == [CopyTable("d"), CopyTable("a"), CopyTable("b"), CopyTable("c")]


def item(kind: str, table: str, name: str, *touched: str) -> DeferredObject:
    return DeferredObject(table, kind, name, "", " ".join((table, *touched)))


def rows_of(tables: Sequence[Any]) -> list[Any]:
    return [(planned.table, planned.source_rows) for planned in tables]


def finish(*items: DeferredObject, by_table: bool = False, keys_wait: bool = False) -> RecreationSchedule:
    return RecreationSchedule(
        items,
        rows_of([planned("small", 1), planned("large", 100, "small", "elsewhere")]),
        by_table=by_table,
        locked_tables=lambda item: frozenset(item.create_sql.split()),
        keys_wait=keys_wait,
    )


INDEX = item("index", "large", "i")
SMALL_INDEX = item("index", "small", "j")
KEY = item("foreign key", "large", "k", "small")
STATISTICS = [RefreshStatistics(("small",)), RefreshStatistics(("large",))]


def test_of_each_table_indexes_come_first_then_statistics_then_foreign_keys() -> None:
    of = finish(KEY, SMALL_INDEX, INDEX)
    of.release()
    assert of.objects() == 3
    small, large = STATISTICS
    assert drain(of) == [Recreate((SMALL_INDEX,)), small, Recreate((INDEX,)), large, Recreate((KEY,))]
    assert of.is_empty()


def test_what_the_largest_table_waits_for_comes_before_other_large_ones() -> None:
    tables = (
        planned("root", 2),
        planned("middle", 300),
        planned("parent", 20, "root", "parent"),
        planned("child", 500, "parent", "elsewhere"),
        planned("tiny", 1, "child"),
    )
    own = [item("index", table.table.name, "i") for table in tables]
    beside = item("index", "outside", "i")
    of = RecreationSchedule((beside, *own), rows_of(tables), by_table=False, locked_tables=lambda item: frozenset())
    of.release()
    put_back = [order.table for order in drain(of) if isinstance(order, Recreate)]
    assert put_back == ["root", "parent", "child", "middle", "tiny", "outside"]


def test_tables_that_refer_to_each_other_have_their_places_too() -> None:
    of = RecreationSchedule(
        (),
        rows_of([planned("hen", 5, "egg"), planned("egg", 50, "hen")]),
        by_table=False,
        locked_tables=lambda item: frozenset(),
    )
    of.release()
    assert drain(of) == [RefreshStatistics(("hen",)), RefreshStatistics(("egg",))]


def test_the_finish_of_a_table_begins_when_it_is_complete_and_its_keys_with_those_that_they_refer_to() -> None:
    of = finish(KEY, SMALL_INDEX, INDEX)
    assert drain(of) == []
    of.complete(["large"])
    assert drain(of) == [Recreate((INDEX,)), RefreshStatistics(("large",))]
    of.complete(["small"])
    assert drain(of) == [Recreate((SMALL_INDEX,)), RefreshStatistics(("small",)), Recreate((KEY,))]


def test_foreign_keys_wait_for_the_release_where_rows_may_still_go() -> None:
    of = finish(KEY, keys_wait=True)
    of.complete(["large", "small"])
    assert drain(of) == STATISTICS
    of.release()
    assert drain(of) == [Recreate((KEY,))]


def test_what_touches_the_same_table_waits_but_for_indexes() -> None:
    other = item("index", "large", "l")
    of = finish(INDEX, other, KEY)
    of.release()
    running: list[WorkerTask] = [Recreate((INDEX,)), Recreate((other,))]
    small, large = STATISTICS
    assert [of.next([]), of.next([small]), of.next([small, *running[:1]])] == [small, *running]
    assert of.next(running) is None
    of.give_back(small)
    assert of.next([Recreate((KEY,))]) is None
    assert [of.next([]), of.next([small]), of.next([large])] == [small, large, None]
    assert of.next([]) == Recreate((KEY,))


def test_unique_keys_come_first_and_share_their_table_with_nothing() -> None:
    unique = item("unique key", "large", "u")
    of = finish(KEY, INDEX, SMALL_INDEX, unique)
    of.release()
    assert [of.next([]), of.next([])] == [Recreate((SMALL_INDEX,)), RefreshStatistics(("small",))]
    assert of.next([]) == Recreate((unique,))
    assert of.next([Recreate((unique,))]) is None
    assert of.next([]) == Recreate((INDEX,))
    of.give_back(Recreate((unique,)))
    assert of.next([Recreate((INDEX,))]) is None
    assert drain(of) == [Recreate((unique,)), RefreshStatistics(("large",)), Recreate((KEY,))]


def test_a_foreign_key_waits_for_the_unique_key_of_a_table_that_no_model_connects_it_with() -> None:
    key, unique = item("foreign key", "small", "f", "other"), item("unique key", "other", "u")
    of = finish(key, unique)
    of.complete(["small"])
    assert of.next([]) == RefreshStatistics(("small",))
    assert of.next([]) == Recreate((unique,))
    assert of.next([Recreate((unique,))]) is None
    assert of.next([]) == Recreate((key,))
    again = finish(key, unique)
    again.complete(["small"])
    assert [again.next([]), again.next([])] == [RefreshStatistics(("small",)), Recreate((unique,))]
    again.give_back(Recreate((unique,)))
    assert again.next([]) == Recreate((unique,))


def test_foreign_keys_wait_for_each_other_where_they_share_a_table() -> None:
    keys = [item("foreign key", "small", "d", "hub"), item("foreign key", "other", "e", "hub"),
            item("foreign key", "third", "f", "else")]  # fmt: skip
    of = finish(*keys)
    of.release()
    small, large = STATISTICS
    assert [of.next([]), of.next([])] == [small, Recreate((keys[0],))]
    assert [of.next([Recreate((keys[0],))]), of.next([Recreate((keys[0],))])] == [large, Recreate((keys[2],))]
    assert of.next([Recreate((keys[0],)), Recreate((keys[2],))]) is None
    assert of.objects() == 1


def test_small_tables_share_the_orders_for_statistics_and_for_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = (planned("root", 2), planned("big", 900, "root"), planned("leaf", 3, "root"), planned("twig", 4, "leaf"))
    keys = [item("foreign key", table.table.name, f"k {table.table.name}", "root") for table in tables[1:]]
    own = item("index", "leaf", "i")

    def of_small(most: int) -> RecreationSchedule:
        monkeypatch.setattr(recreation_order, "TOGETHER", most)
        return RecreationSchedule(
            [*keys, own], rows_of(tables), by_table=False, locked_tables=lambda one: frozenset(), few_rows=10
        )

    of = of_small(50)
    of.complete(["root", "leaf", "big"])
    assert drain(of) == [RefreshStatistics(("big",)), Recreate((keys[0],)), Recreate((own,))]
    of.complete(["twig"])
    common = RefreshStatistics(("root", "leaf", "twig"))
    assert drain(of) == [common, Recreate((keys[1], keys[2]))]
    assert of.is_empty()
    few = of_small(2)
    few.release()
    orders = drain(few)
    assert RefreshStatistics(("root", "leaf")) in orders
    assert RefreshStatistics(("twig",)) in orders


def test_the_seconds_of_a_common_order_are_those_of_its_tables() -> None:
    keys = [item("foreign key", "small", "d"), item("foreign key", "small", "e"), item("foreign key", "large", "f")]
    assert list(Recreate(tuple(keys)).shares(6)) == [("small", 2), ("small", 2), ("large", 2)]


def test_indexes_of_a_table_stay_together_where_one_statement_restores_them() -> None:
    more = item("index", "large", "more")
    of = finish(INDEX, SMALL_INDEX, more, by_table=True)
    of.release()
    small, large = STATISTICS
    assert drain(of) == [Recreate((SMALL_INDEX,)), small, Recreate((INDEX, more)), large]


def test_what_nobody_carried_out_is_left_in_its_place() -> None:
    of = finish(INDEX)
    of.release()
    orders = drain(of)
    for order in reversed(orders):
        of.give_back(order)
    assert not of.is_empty()
    assert drain(of) == orders


@pytest.mark.parametrize(
    ("owner", "definition", "touched"),
    [
        ("a", "FOREIGN KEY (x) REFERENCES b(id) DEFERRABLE", {"a", "b"}),
        ('"A b"', 'FOREIGN KEY ("x (y) REFERENCES z") REFERENCES "c ""(d"(id)', {'"A b"', '"c ""(d"'}),
        ('s."A"', 'FOREIGN KEY (x) REFERENCES "S".b(id) ON DELETE CASCADE', {'s."A"', '"S".b'}),
    ],
)
def test_postgresql_names_both_tables_of_a_foreign_key(owner: str, definition: str, touched: set[str]) -> None:
    statement = f"ALTER TABLE {owner} ADD CONSTRAINT name {definition}"
    catalogue = PostgreSQLCatalogue.__new__(PostgreSQLCatalogue)
    assert catalogue.locked_tables(DeferredObject("a", "foreign key", "name", "", statement)) >= touched
