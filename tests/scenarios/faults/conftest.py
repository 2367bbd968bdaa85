"""What all faults share: a pair of databases whose source is filled, and the judge of what becomes of the other."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.faults.oracle import Oracle, fill
from tests.servers.databases import Pair

HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every fault as slow, before -m selects; pytest calls this with the tests of all directories."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def _few_rows_are_many(few_rows_are_many: None) -> None:
    """Have as much to recreate as after a large move."""


@pytest.fixture
def oracle(pair: Pair) -> Oracle:
    """Fill the source of `pair` and remember its destination."""
    fill(pair.source)
    return Oracle(pair)


# What tests record of themselves by `record_property`, added up at the end of a run.
FIGURES = (
    "kills survived",
    "rows lost",
    "rows doubled",
    "sessions lost",
    "sessions resurrected",
    "sessions stale",
)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print what all the faults of this run have cost."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    found = Counter[str]()
    for report in reports:
        if report.when == "call":
            found.update({name: number for name, number in report.user_properties if name in FIGURES})
    if found:
        terminalreporter.section("figures")
        for name in FIGURES:
            terminalreporter.write_line(f"{found[name]:>7,} {name}")
