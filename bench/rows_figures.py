"""The figures of one route: medians, and how many times as fast as the other methods migrator is."""

from __future__ import annotations

from statistics import median
from typing import Any

from bench.processes import Cost
from bench.rows_ways import Way


class Figures:
    """The cost of a route's methods, by run."""

    def __init__(self, route: str, runs: int) -> None:
        self.route = route
        self._runs = runs
        self._ways: dict[str, Way] = {}
        self._costs: dict[str, list[Cost]] = {}
        self._rows: dict[str, int] = {}
        self.remarks: dict[str, str] = {}

    def add(self, way: Way, cost: Cost | str, rows: int) -> None:
        """Record one run; a text in place of a cost is the reason for its failure."""
        self._ways[way.name], self._rows[way.name] = way, rows
        if isinstance(cost, Cost):
            self._costs.setdefault(way.name, []).append(cost)
        else:
            self.remarks[way.name] = cost

    def leave_out(self, way: Way, reason: str) -> None:
        self.remarks[way.name] = reason

    def lines(self) -> list[dict[str, Any]]:
        """Return each method's medians, and migrator's speed with one process relative to it: above one if faster.

        If a method's time excludes the start of its process, migrator's time excludes it, too.
        """
        lines = [self._line(name, costs) for name, costs in self._costs.items()]
        ours = next((line for line in lines if line["role"] == "ours"), None)
        for line in lines:
            measure = "seconds" if self._ways[line["way"]].has_start else "own_seconds"
            is_other = ours is not None and line["role"] not in ("ours", "check")
            line["ours_is_times_as_fast"] = ours["rows"] / ours[measure] / line["rate"] if is_other else None
        return lines

    def _line(self, name: str, costs: list[Cost]) -> dict[str, Any]:
        way, rows = self._ways[name], self._rows[name]
        seconds = median(cost.seconds for cost in costs)
        own = [cost.own_seconds for cost in costs if cost.own_seconds is not None]
        return {
            "way": name,
            "role": way.role,
            "rows": rows,
            "runs": len(costs),
            "seconds": seconds,
            "own_seconds": median(own) if own else None,
            "cpu_seconds": median(cost.cpu_seconds for cost in costs),
            "mebibytes": median(cost.mebibytes for cost in costs),
            "rate": rows / seconds,
            "is_extrapolated": way.is_slow,
        }

    def document(self) -> dict[str, Any]:
        return {"route": self.route, "ways": self.lines(), "remarks": self.remarks}


def route_text(figures: Figures) -> str:
    """Format a route's figures for people."""
    head = ("way", "rows", "seconds", "own", "CPU", "MiB", "rows/s", "ours/it")
    width = max((len(name) for name in (*figures.remarks, *(line["way"] for line in figures.lines()))), default=0)
    text = [f"\n{figures.route}", f"  {head[0]:<{width}}" + "".join(f"{title:>11}" for title in head[1:])]
    for line in figures.lines():
        cells = [
            f"{line['rows']:,}",
            f"{line['seconds']:.2f}",
            "" if line["own_seconds"] is None else f"{line['own_seconds']:.2f}",
            f"{line['cpu_seconds']:.2f}",
            f"{line['mebibytes']:,.0f}",
            f"{line['rate']:,.0f}{'*' if line['is_extrapolated'] else ''}",
            "" if line["ours_is_times_as_fast"] is None else f"{line['ours_is_times_as_fast']:.2f} x",
        ]
        text.append(f"  {line['way']:<{width}}" + "".join(f"{cell:>11}" for cell in cells))
    text += [f"  {name:<{width}} {remark}" for name, remark in figures.remarks.items()]
    if any(line["is_extrapolated"] for line in figures.lines()):
        text.append("  * the rate of a small shop, assumed for the large one")
    return "\n".join(text)
