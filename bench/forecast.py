"""Measure how good forecasts are: forecast a move of the shop with a sample of its rows, then make it.

    python -m tests.servers -- python -m bench.forecast --rows 1000000 --pairs sqlite-postgresql mysql-postgresql

For each number of rows and each pair of engines: the least and the most seconds of the forecast, what was computed
between them, what the move then took, and what the forecast itself took. Parts are in seconds, first as forecast and
then as measured. Both are commands in processes of their own, whose start is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from typing import Any

from bench.rows_places import own_places

ENGINES = ("sqlite", "postgresql", "mysql")
PAIRS = [f"{source}-{dest}" for source in ENGINES for dest in ENGINES]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000])
    parser.add_argument("--pairs", nargs="+", choices=PAIRS, default=PAIRS, metavar="SOURCE-DEST")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--verify", default="count")
    options = parser.parse_args()
    engines = list(dict.fromkeys(pair.partition("-")[0] for pair in options.pairs))
    print("pair                         rows     low computed    high  actual inside    took  load")
    with own_places() as places:
        for rows in options.rows:
            places.fill(engines, rows, 100)
            for pair in options.pairs:
                source, _, dest = pair.partition("-")
                places.empty(f"{dest}_b")
                places.empty(f"{dest}_scratch")
                words = ("--jobs", str(options.jobs), "--verify", options.verify)
                load = os.getloadavg()[0]
                forecast = _run(source, dest, *words, "--forecast", "--scratch", f"{dest}_scratch")
                move = _run(source, dest, *words)
                print(_line(pair, rows, forecast, move, load), flush=True)


def _run(source: str, dest: str, *words: str) -> dict[str, Any]:
    command = [sys.executable, "manage.py", "batch_migrate", "shop", "--source", f"{source}_a", "--dest", f"{dest}_b"]
    done = subprocess.run([*command, "--no-input", "--format", "json", *words], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def _line(pair: str, rows: int, forecast: dict[str, Any], move: dict[str, Any], load: float) -> str:
    found, actual = forecast["forecast"], move["seconds"]
    computed = found["plan"] + found["rows"] + found["indexes"] - found["saved"] + found["keys"]
    computed += found["values"] if found["compares_values"] else 0
    is_inside = "yes" if found["low"] <= actual <= found["high"] else "no"
    timings = {one["phase"]: one["seconds"] for one in move["timings"]}
    indexing = sum(table["seconds_indexing"] for table in move["tables"])
    parts = {
        "plan": (found["plan"], timings["checks"]),
        "rows": (found["rows"], timings["copying"]),
        "indexes": (found["indexes"], indexing),
        "saved": (found["saved"], max(indexing - timings.get("indexes and keys", 0.0), 0.0)),
        "keys": (found["keys"], timings["verification"]),
    }
    compared = ", ".join(f"{name} {one:.1f}/{other:.1f}" for name, (one, other) in parts.items())
    return (
        f"{pair:<22} {rows:>10,} {found['low']:>7.1f} {computed:>8.1f} {found['high']:>7.1f} {actual:>7.1f} "
        f"{is_inside:>6} {forecast['seconds']:>7.1f}  {load:.1f}\n    {compared}"
    )


if __name__ == "__main__":
    main()
