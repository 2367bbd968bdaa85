"""A horizontal bar chart of rows per second, as one self-contained SVG file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

WIDTH, LEFT, RIGHT, BAR, GAP = 900, 190, 110, 16, 20
SERIES = (
    ("migrator", "ours", "#1b6ca8"),
    ("the best other tool", "peer", "#e09f3e"),
    ("a loop of save()", "naive", "#9e2a2b"),
    ("the destination's own limit", "limit", "#b8c4cc"),
)
FONT = "font-family='system-ui,sans-serif' font-size='13'"


def draw(routes: Sequence[dict[str, Any]], names: Mapping[str, str], title: str) -> str:
    """Return the chart of rates (:meth:`bench.rows_figures.Figures.document`); ``names`` are the engines' names."""
    groups = [
        (" → ".join(names[engine] for engine in route["route"].split("-")), _bars(route["ways"])) for route in routes
    ]
    most = max((rate for _, bars in groups for _, rate, _ in bars), default=1.0)
    parts, y = [], 62
    for name, bars in groups:
        parts.append(_text(LEFT - 12, y + len(bars) * BAR / 2 + 4, name, "end"))
        for label, rate, colour in bars:
            length = max(1.0, (WIDTH - LEFT - RIGHT) * rate / most)
            shape = f"<rect x='{LEFT}' y='{y}' width='{length:.1f}' height='{BAR - 3}' fill='{colour}'>"
            parts.append(f"{shape}<title>{escape(name)}: {escape(label)}</title></rect>")
            parts.append(_text(LEFT + length + 6, y + BAR - 5, f"{rate:,.0f}"))
            y += BAR
        y += GAP
    head = f"<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{y}' viewBox='0 0 {WIDTH} {y}' {FONT}>"
    paper = f"<rect width='{WIDTH}' height='{y}' fill='#fff'/>"
    return "".join([head, paper, _text(12, 22, f"Rows per second, {title}"), *_legend(), *parts, "</svg>\n"])


def _bars(ways: Sequence[dict[str, Any]]) -> list[tuple[str, float, str]]:
    bars = []
    for label, role, colour in SERIES:
        rates = [way["rate"] for way in ways if way["role"] == role]
        if rates:
            rate = rates[0] if role == "ours" else max(rates)  # migrator with one process comes first
            bars.append((label, rate, colour))
    return bars


def _legend() -> list[str]:
    parts, x = [], 12
    for label, _, colour in SERIES:
        parts += [f"<rect x='{x}' y='34' width='12' height='12' fill='{colour}'/>", _text(x + 18, 45, label)]
        x += 40 + 7 * len(label)
    return parts


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f"<text x='{x:.0f}' y='{y:.0f}' text-anchor='{anchor}' fill='#222'>{escape(text)}</text>"
