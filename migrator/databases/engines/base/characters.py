"""The characters that a character set of one byte each has, as ranges of code points."""

from __future__ import annotations

from functools import cache

Ranges = tuple[tuple[int, int], ...]


@cache
def ranges_of(codec: str, *more: int) -> Ranges:
    """Return the characters of a codec of Python's, and ``more`` of them, as ranges with both ends in them."""
    points = set(more)
    for byte in range(256):
        points.update(map(ord, bytes((byte,)).decode(codec, "ignore")))
    found: list[tuple[int, int]] = []
    for point in sorted(points):
        if found and found[-1][1] == point - 1:
            found[-1] = (found[-1][0], point)
        else:
            found.append((point, point))
    return tuple(found)
