"""What was probably meant by a name that is not known."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

SIMILARITY = 0.6


def did_you_mean(name: str, known: Iterable[str], similarity: float = SIMILARITY) -> str:
    """Return a question that suggests the name most like an unknown one, after a space; empty if there is none."""
    by_folded = {one.casefold(): one for one in sorted(known)}
    found = get_close_matches(name.casefold(), by_folded, 1, similarity)
    return f" Did you mean {by_folded[found[0]]!r}?" if found else ""
