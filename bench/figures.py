"""Keep what was measured in `figures.json`, from which the documentation's tables are generated.

Each part has the day, the commit, the command and the machine, and the columns and rows of its table.
"""

from __future__ import annotations

import json
import math
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# The methods of the table of comparisons, and what they are called there.
_COMPARISONS = {
    "verify_counts --mode full": "`verify_counts --mode full`",
    "by hand": "both tables read through Django and compared",
    "reladiff": "reladiff, all columns",
}
_ENGINES = {"postgresql": "PostgreSQL", "mysql": "MariaDB", "sqlite": "SQLite"}
# The rows of the table of sessions, with the methods of its columns.
_SESSIONS = {
    "cache to database": (
        "cache to database, by hand",
        "cache to database, bulk_create",
        "cache to database, migrator",
        "cache to database, migrator --jobs 2",
    ),
    "database to cache": (
        "database to cache, by hand",
        "database to cache, pipelines",
        "database to cache, migrator",
        "database to cache, migrator --jobs 2",
    ),
    "`verify_sessions --mode full`": ("", "", "compare, full", "compare, full --jobs 2"),
}

FILE = Path(__file__).with_name("figures.json")
Cell = str | int
Line = Mapping[str, Any]

# The methods of other tools in the table of moves, by their names in the benchmark.
_SLOW = {
    "a loop of `save()`": "loop of iterator() and save()",
    "`bulk_create` by 5,000": "bulk_create by 5,000",
    "`dumpdata`, `loaddata`": "dumpdata, loaddata",
}
DUMPS = ("pg_dump -Fc | pg_restore", "pg_dump -Fc -Z0 | pg_restore", "pg_dump -Fd -j2 -Z0, pg_restore -j2")
LOADERS = ("pgloader", "pgloader, prefetch rows = 10000")


def save(part: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]], machine: Mapping[str, str | int]) -> None:
    """Replace one part of the file."""
    parts = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    command = ["python", "-m", "tests.servers", "--", "python", "-m", _program(), *sys.argv[1:]]
    parts[part] = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "commit": _commit(),
        "command": shlex.join(word for word in command if word != "--figures"),
        "machine": dict(machine),
        "columns": list(columns),
        "rows": [list(row) for row in rows],
    }
    FILE.write_text(json.dumps(parts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _program() -> str:
    return f"bench.{Path(sys.argv[0]).stem}"


def _commit() -> str:
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=FILE.parent)  # noqa: S607
    return done.stdout.strip() or "unknown"


def rounded(number: float) -> int:
    """Return a figure with three significant digits."""
    return int(round(number, 2 - math.floor(math.log10(number)))) if number else 0


def moves(routes: Sequence[Line], names: Mapping[str, str]) -> tuple[list[str], list[list[Cell]]]:
    """Return the columns and rows of the table of moves."""
    columns = ["route", "rows per second", "MiB of memory", *_SLOW, "the standard tool", "the limit"]
    return [*columns, "rows verified per second"], [_move(route, names) for route in routes]


def _move(route: Line, names: Mapping[str, str]) -> list[Cell]:
    source, _, dest = route["route"].partition("-")
    ways = {line["way"]: line for line in route["ways"]}
    own = ways["migrator"]
    rate: Cell = rounded(own["rate"])
    if by_insert := ways.get("migrator, INSERT"):
        rate = f"{rate:,} (without `LOAD DATA` {rounded(by_insert['rate']):,})"
    limit = next(line for line in route["ways"] if line["role"] == "limit")
    check = next(line for line in route["ways"] if line["role"] == "check")
    return [
        f"{names[source]} → {names[dest]}",
        rate,
        round(own["mebibytes"]),
        *(_times(ways[name]) if name in ways else "–" for name in _SLOW.values()),
        _standard(ways),
        _times(limit),
        rounded(check["rate"]),
    ]


def _standard(ways: Mapping[str, Line]) -> str:
    """Return how migrator compares with the tool that is made for a route, as it is and at its fastest."""
    for names, fastest in ((DUMPS, "its fastest mode"), (LOADERS, "tuned")):
        found = [ways[name] for name in names if name in ways]
        if found:
            best = min(line["ours_is_times_as_fast"] for line in found[1:]) if found[1:] else None
            plain = f"{_times(found[0])} `{found[0]['way']}`"
            return plain if best is None else f"{plain}, {best:.2f} × {fastest}"
    return "–"


def _times(line: Line) -> str:
    ratio = line["ours_is_times_as_fast"]
    return f"{ratio:,.0f} ×" if ratio >= 10 else f"{ratio:.2f} ×"


def verification(results: Mapping[str, Mapping[str, Line]], planted: int) -> tuple[list[str], list[list[Cell]]]:
    """Return the table of comparisons of values: a row for each method and pair that it was measured on."""
    columns = ["", "rows per second", "with faults", f"of {planted} faults found", "exit code then"]
    rows: list[list[Cell]] = []
    for way, title in _COMPARISONS.items():
        shown = f"{title}, "
        for pair in dict.fromkeys(name.rpartition(", ")[0] for name in results):
            clean, faulty = (results[f"{pair}, {state}"].get(way) for state in ("clean", "planted"))
            if clean and faulty:
                rates = (rounded(clean["rate"]), rounded(faulty["rate"]))
                rows.append([f"{shown}{_pair(pair)}", *rates, int(faulty["found"]), int(faulty["code"])])
                shown = "… "
    return columns, rows


def _pair(pair: str) -> str:
    """Return how a table names a pair of aliases of the tests."""
    return " to ".join(_ENGINES[alias.rpartition("_")[0]] for alias in pair.split(" to "))


def sessions(medians: Mapping[str, Line]) -> tuple[list[str], list[list[Cell]]]:
    """Return the table of copies of sessions and of their comparison."""
    columns = ["sessions per second", "by hand, one by one", "in bulk with Django's API", "migrator", "`--jobs 2`"]
    rows: list[list[Cell]] = []
    for title, ways in _SESSIONS.items():
        rows.append([title, *(rounded(medians[way]["rate"]) if way else "" for way in ways)])
    return columns, rows


def follow(found: Sequence[Line]) -> tuple[list[str], list[list[Cell]]]:
    """Return the table of stops: how long a site waits for the last pass, by the rows of its tables."""
    rows: list[list[Cell]] = [
        [
            f"{one['rows']:,}",
            f"{one['stop']:.2f} s, {_rows_text(one['stop_rows'])}",
            f"{one['update']:.1f} s, {_rows_text(one['update_rows'])}",
        ]
        for one in found
    ]
    return ["rows", "the last pass of `--follow`", "`--update`"], rows


def _rows_text(rows: int) -> str:
    return f"{rows:,} row" if rows == 1 else f"{rows:,} rows"


def round_trips(lines: Sequence[Any]) -> tuple[list[str], list[list[Cell]]]:
    """Return the table of round trips of one call: a row for each operation, a column for each phase.

    ``lines`` have an ``operation``, a ``phase`` and its ``trips``; the first phase is the plain store.
    """
    phases = list(dict.fromkeys(line.phase for line in lines))
    trips = {(line.operation, line.phase): f"{line.trips:.2g}" for line in lines}
    rows = [
        [operation, *(trips[operation, phase] for phase in phases)]
        for operation in dict.fromkeys(line.operation for line in lines)
    ]
    return ["round trips of a call", "plain cache", *(f"`{phase}`" for phase in phases[1:])], rows


def by_name(lines: Sequence[Line], names: Mapping[str, str]) -> tuple[list[str], list[list[Cell]]]:
    """Return a table with a row for each route, and a column for each size or shape."""
    columns = list(dict.fromkeys(line["name"] for line in lines))
    rows: dict[str, list[Cell]] = {}
    for line in lines:
        source, _, dest = line["route"].partition(" to ")
        row = rows.setdefault(line["route"], [f"{names[source]} → {names[dest]}"])
        row.append(f"{rounded(line['rate']):,} rows/s, {line['mebibytes']:,.0f} MiB")
    return ["route", *columns], list(rows.values())
