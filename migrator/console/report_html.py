"""Reports as one HTML page each."""

from __future__ import annotations

import html
from collections.abc import Sequence

from .reports import WRITTEN_BY, Cell, Report, cell_text
from .safe_text import visible, visible_lines

STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem}"
    "table{border-collapse:collapse;margin:1rem 0}th,td{padding:.2rem .7rem;border-bottom:1px solid #ddd}"
    "th{text-align:left}td.number{text-align:right;font-variant-numeric:tabular-nums}"
    "tfoot td{font-weight:600}footer{color:#666}"
)


def to_html(report: Report) -> str:
    """Format the report, with its preface, as one HTML page that needs no other file."""
    title = html.escape(visible(report.title.split("\n")[0]))
    parts = [part for shown in (report.preface, report) if shown for part in _html_parts(shown)]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style></head><body>{''.join(parts)}<footer>{WRITTEN_BY}</footer></body></html>\n"
    )


def _html_parts(report: Report) -> list[str]:
    def cells(row: Sequence[Cell]) -> str:
        return "".join(
            f'<td class="number">{cell_text(value)}</td>'
            if isinstance(value, int | float)
            else f"<td>{html.escape(cell_text(value))}</td>"
            for value in row
        )

    title, *rest = map(html.escape, visible_lines(report.title).split("\n"))
    parts = [f"<h1>{title}</h1>", *(f"<p>{line}</p>" for line in rest if line.strip())]
    for grid in report.grids:
        heads = "".join(f"<th>{html.escape(head)}</th>" for head in grid.headers)
        rows = "".join(f"<tr>{cells(row)}</tr>" for row in grid.rows)
        foot = f"<tfoot><tr>{cells(grid.footer)}</tr></tfoot>" if grid.footer else ""
        parts.append(f"<h2>{html.escape(grid.title)}</h2><table><thead><tr>{heads}</tr></thead>")
        parts.append(f"<tbody>{rows}</tbody>{foot}</table>")
    parts += [f"<p>{html.escape(visible(line))}</p>" for line in report.lines]
    return parts
