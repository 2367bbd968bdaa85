"""What all faults share: a pair of databases whose source is filled, and the judge of what becomes of the other."""

from __future__ import annotations

import pytest

from tests.servers.databases import Pair

from .oracle import Oracle, fill


@pytest.fixture
def oracle(pair: Pair) -> Oracle:
    """Fill the source of `pair` and remember its destination."""
    fill(pair.source)
    return Oracle(pair)
