"""Numbers in sentences."""

from __future__ import annotations

import pytest

from migrator.console.wording import duration_range


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.0, 2.0, "up to 5 seconds"),
        (0.9, 11.0, "up to 15 seconds"),
        (1.9, 11.0, "1 to 15 seconds"),
        (30.0, 99.0, "30 to 100 seconds"),
        (45.0, 170.0, "up to 3 minutes"),
        (61.0, 170.0, "1 to 3 minutes"),
        (3000.0, 30_000.0, "up to 9 hours"),
        (3700.0, 30_000.0, "1 to 9 hours"),
        (3_600_000.0, 36_000_000.0, "1,000 to 10,000 hours"),
    ],
)
def test_a_range_of_seconds_claims_no_more_than_is_known(low: float, high: float, text: str) -> None:
    assert duration_range(low, high) == text
