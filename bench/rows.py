"""Compare moves of a whole shop with other methods, and with the limit of the destination's own bulk load.

    python -m tests.servers -- python -m bench.rows --rows 1000000 --runs 3

Every run of a route moves the same rows by every method in turn, each time into a fresh destination, so that a busy
machine slows all of them down; the medians are compared. migrator is run as a command, timed from the start of its
process to its end; for other methods written in Python, the start of the process is excluded. Slow methods move a
small shop, and its rate is reported. Rows are counted after each method, and the comparison of all values is measured
for each route.

The servers of the tests do not wait for the disk. Name your own servers in MIGRATOR_TEST_POSTGRESQL and
MIGRATOR_TEST_MYSQL to measure others. The output includes what each waits for.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import bars, rows_shapes
from bench.figures import by_name, moves, save
from bench.machine import facts
from bench.processes import Cost, Failed
from bench.rows_figures import Figures, route_text
from bench.rows_places import Places, count, own_places
from bench.rows_targets import COLUMNS, judged, text_of
from bench.rows_ways import CHECK, INSIDE, Way, ours, ways

ENGINES = {"sqlite": "sqlite", "pg": "postgresql", "mysql": "mysql"}
ROUTES = [f"{source}-{dest}" for dest in ("pg", "mysql", "sqlite") for source in ENGINES]
PROGRAMS = ("pg_dump", "pgloader")


def main() -> None:
    options = _options()
    if options.one:
        _run_inside(*options.one)
        return
    with own_places() as places:
        document = _document(places, options)
    if targets := list(judged(document.get("routes", ()))):
        print(f"\nTargets\n{text_of(targets)}")
    if options.json:
        options.json.write_text(json.dumps(document, indent=2) + "\n")
    if options.figures:
        _save(document)
    if options.plot and "routes" in document:
        options.plot.write_text(bars.draw(document["routes"], _names(document), f"{options.rows:,} rows"))


def _save(document: dict[str, Any]) -> None:
    """Write what was measured where the documentation reads it."""
    short = _names(document)
    names = short | {ENGINES[name]: title for name, title in short.items()}
    for part, lines in document.items():
        if part == "routes":
            save("moves", *moves(lines, names), document["machine"])
            save("targets", COLUMNS, [one.cells for one in judged(lines)], document["machine"])
        elif part in ("growth", "shapes"):
            save(part, *by_name(lines, names), document["machine"])


def _document(places: Places, options: argparse.Namespace) -> dict[str, Any]:
    """Measure what the options select, print it, and return it with a description of the environment."""
    engines = _engines(options.routes)
    for engine in engines:
        places.empty(f"{engine}_a")
    machine = facts([f"{engine}_a" for engine in engines], PROGRAMS)
    print("\n".join(f"{name}: {value}" for name, value in machine.items()))
    document = {"machine": machine, "rows": options.rows, "small_rows": options.small_rows, "runs": options.runs}
    if options.growth or options.shapes:
        return document | rows_shapes.measure(places, _pairs(options.routes), options)
    return document | {"routes": _routes(places, options)}


def _names(document: dict[str, Any]) -> dict[str, str]:
    """Return the engines' names for people, which come first in the servers' version strings."""
    machine = document["machine"]
    return {name: machine[engine].split()[0] for name, engine in ENGINES.items() if engine in machine}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=50_000, help="rows of the shop, in all its tables (50000)")
    parser.add_argument("--small-rows", type=int, default=1_000, help="rows that the slow methods move (1000)")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--routes", type=_route_names, default=ROUTES, help=f"of {','.join(ROUTES)}")
    parser.add_argument("--jobs", type=int, default=1, help="also measure migrator with that many workers")
    parser.add_argument(
        "--peers", action=argparse.BooleanOptionalAction, default=True, help="measure other tools and methods"
    )
    parser.add_argument(
        "--growth", action="store_true", help="only migrator, from 10,000 rows to --rows, ten times as many each time"
    )
    parser.add_argument("--shapes", action="store_true", help="only migrator: wide rows, large texts, other keys")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to this file")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw rows per second to this file, as SVG")
    parser.add_argument("--figures", action="store_true", help="write them where the documentation reads them")
    parser.add_argument("--one", nargs=3, metavar=("WAY", "SOURCE", "DEST"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.small_rows = min(options.small_rows, options.rows)
    return options


def _route_names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in ROUTES]:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}")
    return names


def _pairs(routes: Sequence[str]) -> list[tuple[str, str]]:
    return [(ENGINES[source], ENGINES[dest]) for source, _, dest in (route.partition("-") for route in routes)]


def _engines(routes: Sequence[str]) -> list[str]:
    # A limit's file is created from the source of the destination's engine, so every engine needs one.
    return sorted({engine for pair in _pairs(routes) for engine in pair}, reverse=True)


def _run_inside(name: str, source: str, dest: str) -> None:
    import django

    django.setup()
    print(json.dumps({"seconds": INSIDE[name](source, dest)}))


# -- the runs -------------------------------------------------------------------------------------------------------


def _routes(places: Places, options: argparse.Namespace) -> list[dict[str, object]]:
    _say("filling the sources")
    places.fill(_engines(options.routes), options.rows, options.small_rows)
    measured = []
    for name, pair in zip(options.routes, _pairs(options.routes), strict=True):
        figures = Figures(name, options.runs)
        fitting = [way for way in ways(options.jobs, with_peers=options.peers) if way.fits(*pair)]
        for number in range(options.runs):
            for way in fitting:
                if way.is_there():
                    _say(f"{name}, run {number + 1} of {options.runs}: {way.name}")
                    figures.add(way, *_measured(places, way, *pair))
                else:
                    figures.leave_out(way, f"{way.program} is not installed")
        _fill(places, *pair)
        for number in range(options.runs):
            _say(f"{name}, run {number + 1} of {options.runs}: {CHECK.name}")
            figures.add(CHECK, CHECK.move(f"{pair[0]}_a", f"{pair[1]}_b"), sum(count(f"{pair[0]}_a").values()))
        print(route_text(figures), flush=True)
        measured.append(figures.document())
    return measured


def _measured(places: Places, way: Way, source: str, dest: str) -> tuple[Cost | str, int]:
    """Run a method once; return its cost, or why it failed, and the rows that it had to move."""
    given, target = f"{source}_small" if way.is_slow else f"{source}_a", f"{dest}_b"
    places.empty(target, without_tables=way.makes_tables)
    wanted = count(given)
    rows = sum(wanted.values())
    try:
        cost = way.move(given, target)
    except Failed as error:
        if way.role == "ours":
            raise
        return str(error).splitlines()[-1], rows
    found = count(target)
    if found != wanted:
        if way.role == "ours":
            raise AssertionError(f"{way.name} moved {found} of {wanted}")
        return f"moved {sum(found.values()):,} of {rows:,} rows", rows
    return cost, rows


def _fill(places: Places, source: str, dest: str) -> None:
    places.empty(f"{dest}_b")
    ours(f"{source}_a", f"{dest}_b")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
