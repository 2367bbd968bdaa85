"""What the benchmarks keep for the documentation."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import figures
from bench.transition import Line
from docs.parts import figures as tables

NAMES = {"pg": "PostgreSQL", "sqlite": "SQLite", "postgresql": "PostgreSQL"}


def line(way: str, role: str, rate: float, ratio: float | None = None) -> dict[str, Any]:
    return {"way": way, "role": role, "rate": rate, "mebibytes": 62.6, "ours_is_times_as_fast": ratio}


def test_a_route_is_a_row_with_the_columns_of_the_documentation() -> None:
    ways = [
        line("migrator", "ours", 296_612),
        line("loop of iterator() and save()", "naive", 1_190, 249.2),
        line("bulk_create by 5,000", "peer", 1, 8.8),
        line("dumpdata, loaddata", "slow peer", 1, 1_021.4),
        line("pg_dump -Fc | pg_restore", "peer", 1, 1.6),
        line("pg_dump -Fc -Z0 | pg_restore", "peer", 1, 0.9),
        line("pg_dump -Fd -j2 -Z0, pg_restore -j2", "peer", 1, 0.78),
        line("limit: ready file, indexes recreated", "limit", 1, 1.73),
        line("verify_counts --mode full", "check", 286_400),
    ]
    columns, rows = figures.moves([{"route": "pg-pg", "ways": ways}], NAMES)

    compared = "1.60 × `pg_dump -Fc | pg_restore`, 0.78 × its fastest mode"
    assert rows == [["PostgreSQL → PostgreSQL", 297_000, 63, "249 ×", "8.80 ×", "1,021 ×", compared, "1.73 ×", 286_000]]
    assert columns == json.loads(figures.FILE.read_text(encoding="utf-8"))["moves"]["columns"]


def test_sizes_of_a_route_are_columns() -> None:
    lines = [{"route": "sqlite to postgresql", "name": f"{n} rows", "rate": 50_040, "mebibytes": 62.1} for n in (1, 2)]
    assert figures.by_name(lines, NAMES) == (
        ["route", "1 rows", "2 rows"],
        [["SQLite → PostgreSQL", "50,000 rows/s, 62 MiB", "50,000 rows/s, 62 MiB"]],
    )


def test_an_operation_is_a_row_and_a_phase_a_column_of_the_round_trips() -> None:
    trips = {("get", "plain"): 1.0, ("get", "new"): 1.0, ("set", "plain"): 1.0, ("set", "new"): 2.5}
    lines = [Line("caches", operation, phase, 9.9, 1.0, number) for (operation, phase), number in trips.items()]
    assert figures.round_trips(lines) == (
        ["round trips of a call", "plain cache", "`new`"],
        [["get", "1", "1"], ["set", "1", "2.5"]],
    )


def test_a_comparison_without_a_driver_for_a_pair_has_no_row() -> None:
    found = {"rate": 438_200, "found": 4, "code": 3}
    results = {
        "sqlite_a to sqlite_b, clean": {"verify_counts --mode full": found},
        "sqlite_a to sqlite_b, planted": {"verify_counts --mode full": found},
    }
    _, rows = figures.verification(results, 4)
    assert rows == [["`verify_counts --mode full`, SQLite to SQLite", 438_000, 438_000, 4, 3]]


def test_a_part_is_replaced_and_the_documentation_shows_when_and_how_it_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "figures.json"
    file.write_text('{"moves": {}, "growth": {"rows": []}}')
    monkeypatch.setattr(figures, "FILE", file)
    monkeypatch.setattr(tables, "FILE", file)
    monkeypatch.setattr(sys, "argv", ["/somewhere/bench/rows.py", "--rows", "10", "--figures"])

    server = "PostgreSQL 15.18 (fsync off, synchronous_commit off)"
    figures.save("moves", ["route"], [["here"]], {"python": "3.11.7", "postgresql": server})

    assert json.loads(file.read_text())["growth"] == {"rows": []}
    text = tables.measured("moves")
    assert "| here |" in text
    assert ", with PostgreSQL 15.18, Python 3.11.7, by:" in text
    assert "$ python -m tests.servers -- python -m bench.rows --rows 10\n" in text


@pytest.mark.parametrize(("number", "shown"), [(296_612.4, 297_000), (1_234, 1_230), (99.96, 100), (7, 7), (0, 0)])
def test_a_figure_has_three_significant_digits(number: float, shown: int) -> None:
    assert repr(figures.rounded(number)) == repr(shown)
