"""Measure the cost of a transition: each operation in each phase, relative to the plain store, and its round trips.

    python -m tests.servers -- python -m bench.transition --rounds 25

Every round runs all phases in turn, so that a busy machine slows all of them down; the medians of the rounds are
compared. A part is a module `bench.transition_<part>` with a function `measure(calls, rounds)` that returns lines.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterable
from importlib import import_module
from importlib.util import find_spec
from typing import NamedTuple, Protocol

from bench.figures import round_trips, save
from bench.machine import facts

PARTS = [part for part in ("caches", "sessions") if find_spec(f"bench.transition_{part}")]


class Line(NamedTuple):
    """One operation in one phase: microseconds per call, the ratio to the plain store, and round trips per call."""

    group: str
    operation: str
    phase: str
    microseconds: float
    ratio: float
    trips: float


class Part(Protocol):
    """The interface of a part."""

    measure: Callable[[int, int], Iterable[Line]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, action="append", help="measure only this part")
    parser.add_argument("--calls", type=int, default=40, help="calls of each operation per round")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--json", action="store_true", help="print the medians as JSON")
    parser.add_argument("--figures", action="store_true", help="save the round trips of caches in bench/figures.json")
    options = parser.parse_args()
    os.environ["DJANGO_SETTINGS_MODULE"] = "settings.test"
    import django

    django.setup()
    lines: list[Line] = []
    for name in options.part or PARTS:
        part: Part = import_module(f"bench.transition_{name}")  # type: ignore[assignment]
        lines += part.measure(options.calls, options.rounds)
    if options.figures:
        columns, rows = round_trips([line for line in lines if line.group.startswith("caches")])
        save("round_trips", columns, rows, facts((), ()))
    print(json.dumps([line._asdict() for line in lines], indent=2) if options.json else table(lines))


def table(lines: Iterable[Line]) -> str:
    """Format the lines for people."""
    text = ["microseconds per call, ratio to the plain store, round trips per call"]
    above: tuple[str, str] | None = None
    for line in lines:
        if above is None or line.group != above[0]:
            text.append(f"\n{line.group}")
        if above is None or line[:2] != above:
            text.append(f"  {line.operation}")
        above = (line.group, line.operation)
        text.append(f"    {line.phase:<12}{line.microseconds:>10.1f} {line.ratio:>7.2f} x {line.trips:>6.2f}")
    return "\n".join(text)


if __name__ == "__main__":
    main()
