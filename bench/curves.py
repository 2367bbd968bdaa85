"""A chart of seconds by rows, both axes logarithmic, as one self-contained SVG file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 420, 70, 190, 50, 50
COLOURS = ("#1b6ca8", "#e09f3e", "#9e2a2b")
FONT = "font-family='system-ui,sans-serif' font-size='13'"

Point = tuple[float, float]


def draw(curves: Mapping[str, Sequence[Point]], title: str) -> str:
    """Return the chart; each curve has points of rows and seconds, both positive."""
    across = _Axis([x for points in curves.values() for x, _ in points], LEFT, WIDTH - RIGHT)
    up = _Axis([y for points in curves.values() for _, y in points], HEIGHT - BOTTOM, TOP)
    parts = [_text(12, 24, title)]
    for value in across.decades():
        parts.append(_line(across.at(value), TOP, across.at(value), HEIGHT - BOTTOM))
        parts.append(_text(across.at(value), HEIGHT - BOTTOM + 20, f"{value:,.0f} rows", "middle"))
    for value in up.decades():
        parts.append(_line(LEFT, up.at(value), WIDTH - RIGHT, up.at(value)))
        parts.append(_text(LEFT - 8, up.at(value) + 4, f"{value:g} s", "end"))
    for (name, points), colour in zip(curves.items(), COLOURS, strict=False):
        places = [(across.at(x), up.at(y)) for x, y in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='2'/>")
        parts += [f"<circle cx='{x:.1f}' cy='{y:.1f}' r='4' fill='{colour}'/>" for x, y in places]
        parts.append(_text(places[-1][0] + 10, places[-1][1] + 4, name, colour=colour))
    head = f"<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{HEIGHT}' {FONT}>"
    return "".join([head, f"<rect width='{WIDTH}' height='{HEIGHT}' fill='#fff'/>", *parts, "</svg>\n"])


class _Axis:
    """Whole decades around values, from one place of the chart to another."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        self._least = math.floor(math.log10(min(values)))
        self._most = max(self._least + 1, math.ceil(math.log10(max(values))))
        self._start, self._end = start, end

    def decades(self) -> list[float]:
        return [10.0**power for power in range(self._least, self._most + 1)]

    def at(self, value: float) -> float:
        share = (math.log10(value) - self._least) / (self._most - self._least)
        return self._start + share * (self._end - self._start)


def _line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f"<line x1='{x1:.0f}' y1='{y1:.0f}' x2='{x2:.0f}' y2='{y2:.0f}' stroke='#dde3e7'/>"


def _text(x: float, y: float, text: str, anchor: str = "start", colour: str = "#222") -> str:
    return f"<text x='{x:.0f}' y='{y:.0f}' text-anchor='{anchor}' fill='{colour}'>{escape(text)}</text>"
