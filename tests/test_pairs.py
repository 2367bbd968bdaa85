"""Tests that run on a part of all pairs of engines still meet every engine, and together every pair."""

from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from tests.pairs import beyond_a_third, in_turn
from tests.servers.databases import ENGINES, PAIRS, Pair


def test_each_part_has_every_engine_as_source_and_as_destination_and_three_have_all_pairs() -> None:
    parts = [_pairs_of(_defined(f"test_{number}")) for number in range(len(ENGINES))]

    for part in parts:
        assert sorted(pair.engines[0] for pair in part) == sorted(pair.engines[1] for pair in part) == sorted(ENGINES)
    assert sorted(pair for part in parts for pair in part) == sorted(PAIRS)


def test_a_test_keeps_its_part_when_its_module_is_imported_again() -> None:
    assert _pairs_of(_defined("test_again")) == _pairs_of(_defined("test_again"))


def test_all_pairs_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIGRATOR_TEST_PAIRS", "all")
    assert _pairs_of(_defined("test_all")) == PAIRS


@pytest.mark.parametrize("marker", ["slow", "driver", "every_pair"])
@pytest.mark.parametrize("pairs", [PAIRS, PAIRS[:6], PAIRS[:5], PAIRS[:3], PAIRS[:2], PAIRS[:1]], ids=len)
def test_a_third_of_each_tests_pairs_is_kept_in_turn(
    pairs: list[Pair], marker: str, request: pytest.FixtureRequest
) -> None:
    def item(name: str, pair: Pair) -> Any:
        found = _Item.from_parent(request.node.parent, name=f"{name}[{pair}]", pair=pair)
        found.add_marker(marker)
        return found

    names = [f"test_{number}" for number in range(30)]
    items = [item(name, pair) for name in names for pair in pairs]
    left = beyond_a_third(items)
    kept = [one for one in items if one not in left]
    by_name = Counter(one.name.partition("[")[0] for one in kept)
    is_thinned = marker == "slow" or (marker == "driver" and len(pairs) > 5)
    assert by_name == dict.fromkeys(names, -(-len(pairs) // 3) if is_thinned else len(pairs))
    assert {one.callspec.params["pair"] for one in kept} == set(pairs)


class _Item(pytest.Function):
    def __init__(self, *, pair: Pair, **more: Any) -> None:
        super().__init__(callobj=lambda: None, **more)
        self.callspec = SimpleNamespace(params={"pair": pair})  # type: ignore[assignment]


def _defined(name: str) -> Callable[..., None]:
    def test(pair: Pair) -> None: ...

    test.__qualname__ = name
    return in_turn(test)


def _pairs_of(test: Any) -> list[Pair]:
    (mark,) = test.pytestmark
    pairs: list[Pair] = mark.args[1]
    return pairs
