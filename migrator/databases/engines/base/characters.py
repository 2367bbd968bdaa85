"""The characters of a single-byte character set, as ranges of code points."""

from __future__ import annotations

from functools import cache

Ranges = tuple[tuple[int, int], ...]


@cache
def ranges_of(codec: str, *more: int) -> Ranges:
    """Return the characters of one of Python's codecs, and ``more`` code points, as inclusive ranges."""
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
