"""migrator only, by the size of the shop and by the shape of the rows."""

from __future__ import annotations

import argparse
import sys
from statistics import median
from typing import Any

from bench.processes import Cost
from bench.rows_data import SHAPES
from bench.rows_places import Places, count
from bench.rows_ways import ours


def measure(places: Places, pairs: list[tuple[str, str]], options: argparse.Namespace) -> dict[str, Any]:
    """Measure what the options select, print it, and return it."""
    found: dict[str, Any] = {}
    if options.growth:
        found["growth"] = [line for pair in pairs for line in _growth(places, *pair, options)]
    if options.shapes:
        found["shapes"] = [line for pair in pairs for line in _shapes(places, *pair, options)]
    return found


def _growth(places: Places, source: str, dest: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    lines = []
    size = 10_000
    while size <= options.rows:
        print(f"{source} to {dest}: {size:,} rows", file=sys.stderr)
        places.fill([source], size, 1)
        rows = sum(count(f"{source}_a").values())
        lines.append(_line(places, source, dest, f"{size:,} rows", rows, options, "shop"))
        size *= 10
    return lines


def _shapes(places: Places, source: str, dest: str, options: argparse.Namespace) -> list[dict[str, Any]]:
    lines = []
    for shape in SHAPES:
        print(f"{source} to {dest}: {shape}", file=sys.stderr)
        rows = places.fill_shape(source, shape, options.rows)
        lines.append(_line(places, source, dest, shape, rows, options, f"shop.{shape}"))
    return lines


def _line(
    places: Places, source: str, dest: str, name: str, rows: int, options: argparse.Namespace, label: str
) -> dict[str, Any]:
    costs: list[Cost] = []
    jobs = ("--jobs", str(options.jobs)) if options.jobs > 1 else ()
    for number in range(options.runs + 1):
        places.empty(f"{dest}_b")
        verify = "full" if number == options.runs else "count"  # the last run checks the result, and is not reported
        costs.append(ours(f"{source}_a", f"{dest}_b", *jobs, labels=(label,), verify=verify))
    seconds = median(cost.seconds for cost in costs[:-1])
    own_seconds = median(cost.own_seconds or 0 for cost in costs[:-1])
    mebibytes = max(cost.mebibytes for cost in costs[:-1])
    line = {
        "route": f"{source} to {dest}",
        "name": name,
        "rows": rows,
        "seconds": seconds,
        "own_seconds": own_seconds,
        "mebibytes": mebibytes,
        "rate": rows / own_seconds,
    }
    text = f"{line['route']:<26}{name:<20}{rows:>12,} rows {seconds:>9.2f} s {rows / own_seconds:>12,.0f} rows/s"
    print(f"{text} {mebibytes:>7.0f} MiB", flush=True)
    return line
