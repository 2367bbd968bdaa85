"""How far a run is as a whole: parts by weight, and the time left by the work of this process alone."""

from __future__ import annotations

import pytest

from migrator.console import overall as module
from migrator.console.overall import Overall


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def test_stages_count_by_their_weight(clock: list[float]) -> None:
    run = Overall({"copying": 6.0, "indexes": 3.0, "verification": 1.0})
    assert (run.fraction, run.seconds_left) == (0.0, None)
    run.begin("preparation", 0, 0, "rows")  # has no weight
    assert run.fraction == 0.0
    run.begin("copying", 100, 0, "rows")
    clock[0] = 12.0
    run.advance(50, "rows")
    run.advance(7, "objects")  # not its own
    assert (run.fraction, run.seconds_left) == pytest.approx((0.3, 28.0))
    assert run.rate == pytest.approx(50 / 12)
    run.begin("indexes", 4, 0, "objects")
    assert (run.fraction, run.rate) == pytest.approx((0.6, None))
    run.begin("sequences", 0, 0, "rows")
    run.begin("verification", 0, 0, "rows")
    clock[0] = 18.0
    assert (run.fraction, run.seconds_left) == pytest.approx((0.9, 2.0))
    assert run.rate is None


def test_what_was_there_before_is_no_measure_of_the_speed(clock: list[float]) -> None:
    run = Overall({"re-check": 1.0, "copying": 1.0})
    run.begin("copying", 100, 80, "rows")  # nothing was checked again
    clock[0] = 10.0
    run.advance(10, "rows")
    assert run.fraction == pytest.approx(0.95)
    assert run.seconds_left == pytest.approx(10.0), "the other ten rows"
    assert run.rate == pytest.approx(1.0)


def test_time_is_left_while_an_index_is_built(clock: list[float]) -> None:
    run = Overall({"copying": 1.0, "indexes": 1.0})
    run.begin("copying", 10, 0, "rows")
    clock[0] = 5.0
    run.advance(10, "rows")
    run.begin("indexes", 1, 0, "objects")
    for clock[0], left in ((6.0, 6.0), (60.0, 60.0)):
        assert run.seconds_left == pytest.approx(left)


def test_a_stage_that_begins_again_starts_over(clock: list[float]) -> None:
    run = Overall({"copying": 1.0, "verification": 1.0})
    for _ in range(2):
        run.begin("verification", 10, 0, "rows")
        assert run.fraction == pytest.approx(0.5)
        run.advance(20, "rows")
        assert run.fraction == 1.0
