"""How much of what could be tried is tried: a sample, or all of it for `make faults`."""

from __future__ import annotations

import os

SAMPLE = 1
# Kills at random moments, for each pair of engines.
KILLS = int(os.environ.get("MIGRATOR_TEST_KILLS", SAMPLE))
IS_WHOLE = KILLS > SAMPLE
