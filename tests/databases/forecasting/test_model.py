"""What samples took becomes what all rows take, by numbers."""

from __future__ import annotations

import math

import pytest

from migrator.databases.forecasting.model import (
    SAVED_SHARE,
    Forecast,
    TableForecast,
    Timing,
    saved_by_copy,
    saved_by_processes,
    seconds_of_indexes,
    seconds_of_rows,
    seconds_per_row,
)


def table(name: str, rows: float, indexes: float, count: int = 1_000_000) -> TableForecast:
    return TableForecast(f"app.{name}", name, count, 1_000, rows, indexes)


def test_further_rows_cost_what_the_slope_between_both_samples_says() -> None:
    # 1 s once, and 10 microseconds for each row
    small, large = Timing(100_000, 2.0), Timing(300_000, 4.0)
    assert seconds_of_rows(small, large, 10_000_000) == pytest.approx(101.0)


def test_a_table_that_was_copied_whole_takes_what_it_took() -> None:
    assert seconds_of_rows(Timing(100, 1.0), Timing(300, 1.5), 300) == 1.5
    assert seconds_of_indexes(Timing(100, 1.0), Timing(300, 1.5), 300) == 1.5
    assert seconds_of_rows(Timing(300, 1.0), Timing(300, 1.5), 900) == pytest.approx(4.5)  # no slope: the average


@pytest.mark.parametrize(
    ("first", "expected"),
    [(2.9, 0.5), (9.0, 0.5), (0.1, 1.0), (1.0, 1.0), (1.5, 0.75)],
    ids=["hardly a slope", "a fall", "too steep", "the average", "in between"],
)
def test_a_slope_that_chance_has_made_is_kept_near_the_average(first: float, expected: float) -> None:
    """The average is 10 microseconds a row; what a busy machine measures may be anything."""
    found = seconds_of_rows(Timing(100_000, first), Timing(300_000, 3.0), 1_300_000)
    assert found == pytest.approx(3.0 + expected * 10.0)


def test_indexes_grow_as_n_log_n() -> None:
    def sorting(rows: int) -> float:
        return 1e-6 * rows * math.log2(rows + 1)

    small, large = Timing(10_000, sorting(10_000)), Timing(30_000, sorting(30_000))
    assert seconds_of_indexes(small, large, 3_000_000) == pytest.approx(sorting(3_000_000))
    assert seconds_of_indexes(small, large, 3_000_000) > 100 * large.seconds


def test_nothing_was_measured() -> None:
    nothing = Timing(0, 0.0)
    assert seconds_of_rows(nothing, nothing, 1_000) == 0.0
    assert seconds_of_indexes(nothing, nothing, 1_000) == 0.0
    assert seconds_per_row([]) == (0.0, 0.0)
    assert saved_by_copy([], 10) == saved_by_processes([], 4) == 0.0


def test_rows_that_were_not_sampled_cost_the_average() -> None:
    found = seconds_per_row([table("a", 10.0, 4.0, 1_000), table("b", 20.0, 0.0, 2_000)])
    assert found == pytest.approx((0.01, 4 / 3_000))


def test_indexes_of_complete_tables_pass_while_others_are_copied() -> None:
    # 5 s of a's pass while b is copied; b's are left, and no other index is for the second session to do
    assert saved_by_copy([table("a", 10.0, 5.0), table("b", 20.0, 7.0)], 100) == pytest.approx(SAVED_SHARE * 5.0)
    # of 30 s, 20 while b is copied; the other 10 pass at the same time as b's 7
    assert saved_by_copy([table("a", 10.0, 30.0), table("b", 20.0, 7.0)], 100) == pytest.approx(SAVED_SHARE * 27.0)
    # two indexes after the last row, in both sessions
    assert saved_by_copy([table("a", 0.0, 6.0), table("b", 0.0, 6.0)], 100) == pytest.approx(SAVED_SHARE * 6.0)


def test_small_tables_open_no_second_session() -> None:
    assert saved_by_copy([table("a", 10.0, 5.0, 100), table("b", 20.0, 7.0, 100)], 100) == 0.0
    # the second session that b's rows are worth also recreates those of a
    tables = [table("a", 1.0, 5.0, 100), table("b", 1.0, 5.0), table("c", 20.0, 0.0)]
    assert saved_by_copy(tables, 100) == pytest.approx(SAVED_SHARE * 10.0)


def test_processes_share_the_indexes_but_not_those_of_one_table() -> None:
    assert saved_by_processes([table("a", 1.0, 6.0), table("b", 1.0, 6.0)], 2) == pytest.approx(SAVED_SHARE * 6.0)
    assert saved_by_processes([table("a", 1.0, 10.0), table("b", 1.0, 2.0)], 4) == pytest.approx(SAVED_SHARE * 2.0)
    assert saved_by_processes([table("a", 1.0, 10.0)], 1) == 0.0


def test_the_range_has_the_whole_plan_and_the_values_only_if_they_are_compared() -> None:
    tables = (table("a", 100.0, 50.0),)
    found = Forecast("scratch", 60.0, tables, saved=10.0, keys=20.0, values=40.0, compares_values=False)
    assert (found.low, found.high) == pytest.approx((60 + 0.7 * 160, 60 + 1.5 * 160))
    compared = Forecast("scratch", 60.0, tables, saved=10.0, keys=20.0, values=40.0, compares_values=True)
    assert (compared.low, compared.high) == pytest.approx((60 + 0.7 * 200, 60 + 1.5 * 200))
    assert (found.update_low, found.update_high) == pytest.approx((60 + 0.7 * 60, 60 + 1.5 * 60))
