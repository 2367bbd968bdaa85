"""Which targets of the comparison with other tools are reached, by the figures of one run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.figures import DUMPS, LOADERS
from bench.rows_ways import FAIR


@dataclass(frozen=True)
class Target:
    """On one route, migrator is at least so many times as fast as the fastest of some methods.

    ``is_parallel``: with several processes, as far as they were measured.
    """

    route: str
    title: str
    ways: tuple[str, ...]
    least: float
    is_parallel: bool = False


TARGETS = (
    Target("pg-pg", "pg_dump | pg_restore", DUMPS, 1.0, is_parallel=True),
    Target("pg-pg", f"pg_dump | pg_restore{FAIR}", tuple(f"{way}{FAIR}" for way in DUMPS), 1.2, is_parallel=True),
    *(
        target
        for route in ("sqlite-pg", "mysql-pg")
        for target in (Target(route, "pgloader", LOADERS[:1], 1.5), Target(route, "pgloader, tuned", LOADERS[1:], 1.4))
    ),
)


@dataclass(frozen=True)
class Judged:
    """A target, the fastest of its methods, and how many times as fast migrator was; ``None`` if none was measured."""

    target: Target
    way: str = ""
    ratio: float | None = None

    @property
    def cells(self) -> tuple[str, str, str, str, str]:
        """The target's line in a table."""
        found = ("–", "not measured") if self.ratio is None else (f"{self.ratio:.2f} ×", self._is_reached())
        return self.target.route, self.target.title, f"{self.target.least:.1f} ×", *found

    def _is_reached(self) -> str:
        return "reached" if self.ratio is not None and self.ratio >= self.target.least else "not reached"


COLUMNS = ("route", "compared with", "target", "measured", "")


def judged(routes: Sequence[Mapping[str, Any]]) -> Iterator[Judged]:
    """Yield how the figures of routes stand to the targets of these routes."""
    for route in routes:
        for target in TARGETS:
            if target.route == route["route"]:
                yield _judged(target, {line["way"]: line for line in route["ways"]})


def _judged(target: Target, lines: Mapping[str, Mapping[str, Any]]) -> Judged:
    others = [lines[way] for way in target.ways if way in lines]
    own = [line for way, line in lines.items() if way.split(" --jobs")[0] == "migrator"]
    if not others:
        return Judged(target)
    ours = min(own, key=lambda line: line["seconds"]) if target.is_parallel else lines["migrator"]
    fastest = min(others, key=lambda line: line["seconds"])
    return Judged(target, str(fastest["way"]), fastest["seconds"] / ours["seconds"])


def text_of(found: Sequence[Judged]) -> str:
    """Format the targets as a table for people."""
    rows = [COLUMNS, *(one.cells for one in found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
