"""Counts, sizes and lists of names in sentences."""

from __future__ import annotations

import math
from collections.abc import Sequence

SHOWN = 5
UNITS = (("second", 1), ("minute", 60), ("hour", 3600))
MOST_UNITS = 100  # before the next unit is used


def byte_text(count: int) -> str:
    """Format a number of bytes in the largest binary unit that keeps it above one."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def seconds_text(seconds: float) -> str:
    """Format a measured duration: ``3.2 s``, ``12 min 5 s``, ``2 h 30 min``."""
    return f"{seconds:.1f} s" if seconds < 120 else duration_text(seconds)


def duration_text(seconds: float) -> str:
    """Format a duration in its two largest units: ``9 s``, ``4 min 10 s``, ``3 h 20 min``, ``2 d 5 h``."""
    whole = max(round(seconds), 0)
    for large, small, names in ((86400, 3600, ("d", "h")), (3600, 60, ("h", "min")), (60, 1, ("min", "s"))):
        if whole >= large:
            return f"{whole // large} {names[0]} {whole % large // small} {names[1]}"
    return f"{whole} s"


def plural(count: int, noun: str, plural_noun: str | None = None) -> str:
    """Format a count with its noun: ``1 row``, ``2,000 rows``."""
    return f"{count:,} {noun if count == 1 else plural_noun or noun + 's'}"


def listed(parts: Sequence[str]) -> str:
    """Join parts as in a sentence: ``a``, ``a and b``, ``a, b and c``."""
    return " and ".join(filter(None, [", ".join(parts[:-1]), *parts[-1:]]))


def shortened(names: Sequence[str], shown: int = SHOWN) -> str:
    """Join names for a message, the first ``shown`` of them."""
    rest = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {rest} more" if rest > 0 else "")


def duration_range(low: float, high: float) -> str:
    """Format an estimate of seconds without false precision: ``2 to 20 seconds``, ``1 to 3 minutes``."""
    unit, size = next((unit for unit in UNITS if high < MOST_UNITS * unit[1]), UNITS[-1])
    step = 5 if unit == "second" else 1
    least, most = int(low / size), math.ceil(high / size / step) * step
    return f"{least:,} to {plural(most, unit)}" if 0 < least < most else f"up to {plural(most, unit)}"
