"""Parents come before their children, circles stay together, and the order is always the same."""

from __future__ import annotations

import itertools
import random

import pytest
from django.apps import apps
from django.db import models

from migrator.databases.planning.ordering import is_cycle, load_order
from migrator.databases.tables import Reference, Table, table_of
from tests.databases.snapshots import tables
from tests.testapp.models import Article, Chapter, Paper, Pizzeria, Place, Rating, Restaurant, Ring, Rock, Scissors, Tag


def table(name: str, *targets: str) -> Table:
    """Make a table that points at others; only its name and references matter here."""
    references = tuple(Reference(f"to_{target}", target, "id", True, True) for target in targets)
    return Table(f"app.{name.upper()}", name, models.Model, (), ("id",), references)


def order(*given: Table) -> list[tuple[str, ...]]:
    return [tuple(each.name for each in group) for group in load_order(given)]


@pytest.mark.parametrize(
    "given", [*itertools.permutations([table("a", "b"), table("b", "c"), table("c"), table("d")])], ids=range(24)
)
def test_parents_come_first_whatever_the_order_they_are_given_in(given: tuple[Table, ...]) -> None:
    assert order(*given) == [("c",), ("b",), ("a",), ("d",)]


def test_a_circle_is_one_group() -> None:
    assert order(table("z"), table("a", "b"), table("b", "c"), table("c", "a", "z"), table("d", "c")) == [
        ("z",),
        ("a", "b", "c"),
        ("d",),
    ]


def test_two_circles_are_two_groups() -> None:
    assert order(table("a", "b", "c"), table("b", "a"), table("c", "d"), table("d", "c")) == [("c", "d"), ("a", "b")]


def test_a_table_that_points_at_itself_is_a_circle_of_its_own() -> None:
    given = load_order([table("a", "a"), table("b", "a")])
    assert [[each.name for each in group] for group in given] == [["a"], ["b"]]
    assert [is_cycle(group) for group in given] == [True, False]


def test_tables_outside_of_the_selection_do_not_matter() -> None:
    assert order(table("a", "elsewhere"), table("b", "a", "nowhere")) == [("a",), ("b",)]


def test_nothing_has_no_order() -> None:
    assert order() == []


def test_a_long_chain_needs_no_deep_stack() -> None:
    chain = [table(f"t{n:05}", f"t{n + 1:05}") for n in range(5_000)]
    assert [name for (name,) in order(*chain)] == [f"t{n:05}" for n in reversed(range(5_000))]


@pytest.mark.parametrize("seed", range(30))
def test_every_reference_leads_into_the_same_group_or_an_earlier_one(seed: int) -> None:
    chosen = random.Random(seed)  # noqa: S311
    names = [f"t{n}" for n in range(chosen.randint(1, 25))]
    given = [table(name, *chosen.choices(names, k=chosen.randint(0, 3))) for name in names]
    groups = order(*given)
    place = {name: number for number, group in enumerate(groups) for name in group}
    assert sorted(place) == sorted(names)
    assert all(place[ref.target_table] <= place[each.name] for each in given for ref in each.references)
    assert all(reaches(given, a, b) for group in groups for a in group for b in group)
    chosen.shuffle(given)
    assert order(*given) == groups


def reaches(given: list[Table], start: str, end: str) -> bool:
    """Tell whether references lead from one table to another."""
    targets = {each.name: {ref.target_table for ref in each.references} for each in given}
    seen, ahead = {start}, {start}
    while ahead - seen or start in ahead:
        seen |= ahead
        ahead = set().union(*(targets[name] for name in ahead)) - seen
    return end in seen


def test_the_models_come_in_an_order_that_can_be_loaded() -> None:
    groups = load_order([table_of(model) for app in apps.get_app_configs() for model in tables(app.label)])
    place = {each.model: number for number, group in enumerate(groups) for each in group}
    assert place[Place] < place[Restaurant] < place[Pizzeria]
    assert place[Tag] < place[Chapter]
    assert max(place[Article], place[Tag]) < min(place[Article.tags.through], place[Rating])
    assert place[Rock] == place[Scissors] == place[Paper]
    circles = {tuple(sorted(each.label for each in group)) for group in groups if is_cycle(group)}
    assert circles == {
        ("testapp.Egg", "testapp.Hen"),
        ("testapp.Paper", "testapp.Rock", "testapp.Scissors"),
        ("testapp.Player", "testapp.Team"),
        ("testapp.Ring",),
        ("testapp.TreeNode",),
    }
    assert place[Ring] != place[Rock]
