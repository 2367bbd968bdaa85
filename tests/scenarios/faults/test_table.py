"""FAULTS.md names every test of a fault, and none that is not there."""

from __future__ import annotations

import re
from pathlib import Path

from settings.base import ROOT

HERE = Path(__file__).parent
NAMED = re.findall(r"`([\w/]+\.py::test_\w+)`", (ROOT / "FAULTS.md").read_text(encoding="utf-8"))


def test_the_table_names_every_test_and_none_besides() -> None:
    there = {
        f"{path.relative_to(HERE)}::{name}"
        for path in HERE.rglob("test_*.py")
        if path != Path(__file__)
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert there - set(NAMED) == set(), "tests that the table does not name"
    assert set(NAMED) - there == set(), "names of no test"
    assert len(NAMED) == len(set(NAMED)), "named twice"


def test_every_fault_has_a_promise_and_a_test() -> None:
    rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in (ROOT / "FAULTS.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("| ") and not line.startswith("| fault ")
    ]
    assert rows
    assert [row for row in rows if len(row) != 3 or not all(row) or "::test_" not in row[2]] == []
