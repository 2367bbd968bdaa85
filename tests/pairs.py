"""Pairs of engines for tests whose result hardly depends on the pair: some of all nine, in turn."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar
from zlib import crc32

import pytest

from tests.servers.databases import ENGINES, PAIRS, Pair

Test = TypeVar("Test", bound=Callable[..., Any])
_COUNT = len(ENGINES)
# Each part has every engine once as source and once as destination, and one engine as both; together, all pairs.
PARTS = [[PAIRS[_COUNT * source + (shift - source) % _COUNT] for source in range(_COUNT)] for shift in range(_COUNT)]
ALL = "all"
MOST_OF_QUICK_TESTS = 5
# By module, the tests that have asked so far; one that is imported twice keeps its part.
_asked: defaultdict[str, dict[str, int]] = defaultdict(dict)


def runs_on_all_pairs() -> bool:
    """Whether tests run on all of their pairs."""
    return os.environ.get("MIGRATOR_TEST_PAIRS") == ALL


def beyond_a_third(items: Iterable[pytest.Item]) -> list[pytest.Item]:
    """Return of tests that differ only in their pair of engines all but a third, which follows from the test's name.

    A test that is not slow keeps up to five pairs, and one with the marker ``every_pair`` all of them.
    """
    groups = defaultdict[str, dict[Pair, pytest.Item]](dict)
    for item in items:
        if isinstance(item, pytest.Function) and hasattr(item, "callspec"):
            for pair in item.callspec.params.values():
                if isinstance(pair, Pair):
                    groups[item.nodeid.replace(str(pair), "")][pair] = item
    return [
        group[pair]
        for name, group in groups.items()
        if _is_thinned(group)
        for pair in group.keys() - _third(name, group)
    ]


def _is_thinned(group: Mapping[Pair, pytest.Item]) -> bool:
    item = next(iter(group.values()))
    if item.get_closest_marker("every_pair"):
        return False
    return len(group) > MOST_OF_QUICK_TESTS or item.get_closest_marker("slow") is not None


def _third(name: str, group: Iterable[Pair]) -> set[Pair]:
    pairs, turn = list(group), crc32(name.encode())
    if set(pairs) == set(PAIRS):
        return set(PARTS[turn % _COUNT])
    return {pairs[(turn + _COUNT * number) % len(pairs)] for number in range(-(-len(pairs) // _COUNT))}


def in_turn(test: Test) -> Test:
    """Run a test on one part of all pairs, and the next test of its module that asks for this on the next part.

    MIGRATOR_TEST_PAIRS=all runs it on all of them.
    """
    mark = pytest.mark.parametrize("pair", _pairs(test.__module__, test.__qualname__), ids=str, indirect=True)
    return mark(test)


def _pairs(module: str, test: str) -> list[Pair]:
    if runs_on_all_pairs():
        return PAIRS
    asked = _asked[module]
    number = asked.setdefault(test, len(asked))
    # Modules begin with different parts, because many have only one or two such tests.
    return PARTS[(crc32(module.encode()) + number) % _COUNT]
