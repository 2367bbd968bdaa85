"""What MySQL's JSON type cannot store of a document: integers beyond 64 bits, and deep nesting.

Documents are searched as text, because most JSON parsers would already have converted such integers to floats.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

# The integers that MySQL's JSON type stores; larger ones become floats (MySQL manual, "The JSON Data Type").
SMALLEST, LARGEST = -(2**63), 2**64 - 1
# A number of fewer digits is within 64 bits.
FEWEST_DIGITS = len(str(-SMALLEST))
STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
WHOLE_NUMBER = re.compile(rf"(?<![0-9.eE+-])-?[0-9]{{{FEWEST_DIGITS},}}(?![0-9.eE])")


def has_wide_whole_number(text: str) -> bool:
    """Whether a document holds an integer beyond 64 bits."""
    bare = STRING.sub('""', text)
    return any(not SMALLEST <= int(found[:30]) <= LARGEST for found in WHOLE_NUMBER.findall(bare))


def depth(text: str) -> int:
    """Return how deep the arrays and objects of a document are nested."""
    level = deepest = 0
    for character in STRING.sub("", text):
        if character in "[{":
            level += 1
            deepest = max(deepest, level)
        elif character in "]}":
            level -= 1
    return deepest


def wide_whole_number_pattern() -> str:
    """Return the regular expression, for all engines, of such a number in a document whose strings were removed."""
    positive, negative = "|".join(_larger_than(str(LARGEST))), "|".join(_larger_than(str(-SMALLEST)))
    return f"(^|[^0-9.eE+-])(({positive})|-({negative}))($|[^0-9.eE])"


def _larger_than(digits: str) -> Iterator[str]:
    """Yield patterns of the integers above one: those with more digits, then those with a larger digit at a place."""
    yield f"[1-9][0-9]{{{len(digits)},}}"
    for place, digit in enumerate(digits):
        if digit < "9":
            rest = len(digits) - place - 1
            yield f"{digits[:place]}[{int(digit) + 1}-9]" + (f"[0-9]{{{rest}}}" if rest else "")
